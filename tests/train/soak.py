"""Kills a tiny run again and again, and compares what is left with a run that was not disturbed.

By hand, from the root of the checkout, in the background; the same command goes on after a stop:

    python tests/train/soak.py --folder /tmp/soak --kills 100
    python tests/train/soak.py --folder /tmp/soak --kills 30 --processes 2

Each kill is SIGKILL or SIGTERM (SIGHUP now and then), aimed at a training step, a checkpoint, the
best one, the detection of an evaluation, its files, its pictures, or at nothing. Of the runs that
come to their end it asserts: parameters and the best bit for bit, the metrics of the best, the
lines of metrics.jsonl without a gap or a double, and TensorBoard's steps. What it does is in
FOLDER/soak.log.
`test_faults.py` and `test_processes.py` do the same a few times.
"""

import argparse
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "train")]

log = logging.getLogger("soak")

TINY = (
    "--config=configs/quickstart.py",
    "--config.model.image_size=(64, 64)",
    "--config.model.width=0.02",
    "--config.data.canvas=(64, 64)",
    "--config.train.batch_size=4",
    "--config.train.steps=24",
    "--config.train.eval_every=6",
    "--config.train.checkpoint_every=4",
    "--config.train.log_every=3",
    "--config.train.num_pictures=1",
    "--config.train.keep_best=2",
    "--config.evaluate.batch_size=2",
)

CACHE = f"--compilation_cache={ROOT / '.pytest_cache' / 'xla'}"

# What a kill waits for: a name below the workdir that appears.
NAMES = {
    "step": "metrics.jsonl",
    "checkpoint": "checkpoints/.writing-*",
    "best": "best/.writing-*",
    "evaluation": "evaluation/detections.json",
    "pictures": "pictures/*",
}

# The last line before an evaluation, which begins when it is written.
DETECTION = "detection"
LAST_LINE = re.compile(r'"step": (?:6|12|18|24), "group": "train"')

# A moment that is drawn.
ANYTHING = "anything"

# A process that is not heard of for this long counts as dead, and one whose peer is dead ends.
HEARTBEAT_SECONDS = 20
PATIENCE_SECONDS = 150


class Run:
    """The processes of one run, or what is left of it."""

    def __init__(
        self,
        workdir: pathlib.Path,
        data: pathlib.Path,
        processes: int = 1,
        devices: int = 1,
        *,
        optimised: bool = False,
    ) -> None:
        """Plans a run.

        Args:
            workdir: of the run.
            data: the data_dir.
            processes: how many.
            devices: of each process.
            optimised: compile as users' programs are, which takes longer.
        """
        self.workdir = workdir
        self._data = data
        self._processes = processes
        self._devices = devices
        self._optimised = optimised
        self.log = workdir.with_suffix(".log")

    def start(self, *arguments: str, command: Sequence[str] = ()) -> list[subprocess.Popen]:
        """Starts the command that trains, or another one."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        started = []
        for number in range(self._processes):
            several = (
                "--distributed",
                f"--coordinator_address={address}",
                f"--num_processes={self._processes}",
                f"--process_id={number}",
                f"--heartbeat_timeout={HEARTBEAT_SECONDS}",
            )
            words = (
                *(sys.executable, "-m", *(command or ("launch.train", *self.config()))),
                f"--workdir={self.workdir}",
                CACHE,
                *(several if self._processes > 1 else ()),
                *arguments,
            )
            with self.log.open("ab") as output:
                started.append(
                    subprocess.Popen(
                        words, cwd=ROOT, env=self.environment(), stdout=output, stderr=output
                    )
                )
        return started

    def config(self) -> tuple[str, ...]:
        """Returns the flags of the run's config."""
        return (*TINY, f"--config.data.data_dir={self._data}")

    def environment(self) -> dict[str, str]:
        """Returns the environment of its processes."""
        badly = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        return {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(self._devices),
            "XLA_FLAGS": "" if self._optimised else badly,
        }

    def finish(self, *arguments: str, command: Sequence[str] = ()) -> None:
        """Runs to the end, undisturbed."""
        statuses = [process.wait(600) for process in self.start(*arguments, command=command)]
        assert statuses == [0] * self._processes, (statuses, self.said())

    def said(self) -> str:
        """Returns the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def disturb(self, rng: random.Random) -> tuple[str, list[int]]:
        """Starts the run, kills it at a chosen moment, and returns what was done and the end."""
        aim = rng.choice([*NAMES, DETECTION, ANYTHING])
        number = rng.choice([signal.SIGKILL] * 4 + [signal.SIGTERM] * 3 + [signal.SIGHUP])
        return f"{signal.Signals(number).name} at {aim}", self.kill(aim, number, rng)

    def kill(
        self,
        aim: str,
        number: int,
        rng: random.Random,
        *arguments: str,
        delay: float | None = None,
    ) -> list[int]:
        """Starts the run, sends a signal after what it aims at, and returns the end.

        The delay is in seconds; without one it is drawn, and the run may end before the signal.
        """
        before = self._seen(aim)
        began = time.monotonic()
        running = self.start(*arguments)
        # The beginning is import and compilation; whatever happens, happens after it.
        limit = rng.uniform(0.0, 12.0) if aim == ANYTHING else 60.0
        while time.monotonic() - began < limit and all(p.poll() is None for p in running):
            if self._seen(aim) - before:
                break
            time.sleep(0.002)
        if delay is None:
            delay = rng.choice((0.0, rng.uniform(0.0, 0.1), rng.uniform(0.0, 1.0)))
        time.sleep(delay)
        victims = running if rng.random() < 0.3 else [rng.choice(running)]
        for process in victims:
            if process.poll() is None:
                process.send_signal(number)
        return [process.wait(PATIENCE_SECONDS) for process in running]

    def _seen(self, aim: str) -> set:
        if aim == DETECTION:
            path = self.workdir / "metrics.jsonl"
            return set(LAST_LINE.findall(path.read_text())) if path.exists() else set()
        if aim not in NAMES:
            return set()
        found = set()
        for path in self.workdir.glob(NAMES[aim]):
            try:
                found.add((path.name, path.stat().st_mtime_ns))
            except FileNotFoundError:
                continue
        return found


def assert_same(whole: pathlib.Path, other: pathlib.Path) -> None:
    """Compares everything that a run leaves with that of an undisturbed one."""
    import jax

    from ssd_jax.checkpoints.folders import load_variables, read_arrays

    for which in ("latest", "best"):
        jax.tree.map(
            np.testing.assert_array_equal,
            load_variables(whole, which=which),
            load_variables(other, which=which),
        )
    assert best(whole) == best(other)
    last = max(int(p.name) for p in (whole / "checkpoints").iterdir() if p.name.isdigit())
    for item in ("variables", "progress"):
        jax.tree.map(
            np.testing.assert_array_equal,
            *(read_arrays(w / "checkpoints" / str(last), item) for w in (whole, other)),
        )
    assert lines(whole) == lines(other)
    assert tensorboard(whole) == tensorboard(other)
    pictures = [{path.name for path in w.glob("pictures/*")} for w in (whole, other)]
    assert pictures[0] == pictures[1]
    saved = [json.loads((w / "evaluation" / "metrics.json").read_text()) for w in (whole, other)]
    assert saved[0]["mAP"] == saved[1]["mAP"]


def best(workdir: pathlib.Path) -> dict[int, float]:
    """Returns the metrics of the best checkpoints, by step."""
    from ssd_jax.checkpoints.folders import metrics_in

    return metrics_in(workdir / "best")


def lines(workdir: pathlib.Path) -> list[dict]:
    """Returns a run's metrics.jsonl, without the times."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if k not in ("images_per_second", "seconds")} for row in rows
    ]


def tensorboard(workdir: pathlib.Path) -> list[tuple[int, str]]:
    """Returns the step and the tag of every value in a run's event files."""
    from ssd_jax.train import events

    found = []
    for path in (workdir / "tensorboard").iterdir():
        for record in events._records(path.read_bytes()):
            found += events._tags(record)
    # The rate of a line is missing where the line's first step is the first of its process.
    return sorted(value for value in found if not value[1].endswith("images_per_second"))


def prepare(folder: pathlib.Path) -> pathlib.Path:
    """Returns a data_dir of 20 and 10 small scenes below a folder."""
    from ssd_jax.data import preparation, shapes

    data = folder / "data"
    if not data.exists():
        scenes = shapes.ShapeScenes(num_train=20, num_val=10, image_size=64, max_objects=4)
        preparation.prepare(scenes, name="shapes", data_dir=data)
    return data


def main() -> None:
    """Kills, until there were as many kills as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        format="%(asctime)s %(message)s",
        handlers=[
            logging.FileHandler(options.folder / "soak.log"),
            logging.StreamHandler(),
        ],
    )
    log.setLevel(logging.INFO)
    data = prepare(options.folder)
    record = options.folder / f"kills-{options.processes}.json"
    kills = Counter(json.loads(record.read_text()) if record.exists() else {})
    whole = Run(options.folder / f"whole-{options.processes}", data, options.processes)
    whole.finish()
    give_up = time.monotonic() + 60 * options.minutes
    while kills.total() < options.kills and time.monotonic() < give_up:
        rng = random.Random(time.time_ns())
        run = Run(options.folder / f"run-{options.processes}", data, options.processes)
        for _ in range(200):
            done, statuses = run.disturb(rng)
            log.info("%d: %s, exit %s", kills.total(), done, statuses)
            kills[done] += int(any(statuses))
            record.write_text(json.dumps(kills, indent=1))
            if not any(statuses):
                break
        assert_same(whole.workdir, run.workdir)
        log.info("The run is as if it had not been disturbed")
        shutil.rmtree(run.workdir)
        run.log.rename(run.log.with_suffix(".previous.log"))
    log.info("%d kills: %s", kills.total(), dict(kills))


if __name__ == "__main__":
    main()
