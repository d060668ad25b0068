"""Running a Python file that a user names: a config, or a sweep."""

import importlib.util
import pathlib
import sys
import types


def load(name: str, flag: str) -> types.ModuleType:
    """Runs the file that a flag names and returns it as a module.

    A file in a package is imported as a part of it, so that it may import its neighbours. A file of
    `configs` that is not there is taken from those that come with this library.

    Raises:
        ValueError: where there is no such file, or it raises an exception.
    """
    path = pathlib.Path(name)
    if not path.is_file() and path.parts[:1] == ("configs",):
        # Of the installed package, or of the checkout.
        own = (pathlib.Path(__file__).parents[i] / path for i in (0, 1))
        path = next((file for file in own if file.is_file()), path)
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{flag}: expected a Python file, and there is none called {name}")
    try:
        return _import(path.resolve())
    except Exception as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error


def _import(path: pathlib.Path) -> types.ModuleType:
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    dotted = ".".join(names)
    known = sys.modules.get(names[0])
    if len(names) > 1 and (known is None or _is_in(known, folder / names[0])):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        return importlib.import_module(dotted)
    spec = importlib.util.spec_from_file_location(f"_{'_'.join(names)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_in(package: types.ModuleType, folder: pathlib.Path) -> bool:
    return str(folder) in [str(pathlib.Path(x).resolve()) for x in getattr(package, "__path__", [])]
