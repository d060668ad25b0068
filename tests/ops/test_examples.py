"""The examples in the docstrings of the ops."""

import doctest
import inspect

import pytest

from ssd_jax import ops

# Draws, and what is made for other functions.
WITHOUT = {"boxes.require_boxes", "crop.whole", "crop.expand", "crop.sample", "crop.clip"}
WITHOUT |= {"crop.keep_centred", "losses.multibox", "losses.normalize", "nms.soften"}
WITHOUT |= {"photometric.adjust_saturation_and_hue", "photometric.distort", "resample.weights"}


@pytest.mark.parametrize("name", ops.__all__)
def test_the_examples_say_what_happens(name):
    module = getattr(ops, name)
    runner = doctest.DocTestRunner()
    finder = doctest.DocTestFinder()
    for own, function in public(module).items():
        # The checker of types has wrapped it, so that doctest would take it for another module's.
        for test in finder.find(inspect.unwrap(function), own, globs=vars(module).copy()):
            runner.run(test)
    assert runner.summarize(verbose=False).attempted >= 2
    assert runner.summarize(verbose=False).failed == 0


def test_public_ops_have_an_example():
    missing = {
        f"{name}.{own}"
        for name in ops.__all__
        for own, function in public(getattr(ops, name)).items()
        if ">>>" not in (function.__doc__ or "")
    }
    assert missing == WITHOUT


def public(module):
    found = inspect.getmembers(module, inspect.isfunction)
    return {
        name: function
        for name, function in found
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
