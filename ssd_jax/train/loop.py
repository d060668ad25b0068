"""The run: load, step, report, save, evaluate; the same call again resumes it."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import rich.console

from ssd_jax import config, sharding
from ssd_jax.agreement import on_first_process
from ssd_jax.checkpoints.folders import DATA, METRIC, NOTES, RECENT
from ssd_jax.checkpoints.manager import Checkpoints
from ssd_jax.data import records
from ssd_jax.evaluate.evaluator import Evaluator
from ssd_jax.pretrained import initialize as pretrained
from ssd_jax.train import freezing, resumption
from ssd_jax.train.interruption import StopSignal
from ssd_jax.train.lock import LOCK, only_run
from ssd_jax.train.metrics import EVALUATION, LINES, MetricsWriter, read_line
from ssd_jax.train.report import Report
from ssd_jax.train.run import Run
from ssd_jax.train.state import TrainState

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """How a call of `train` ended."""

    step: int
    finished: bool  # False: stopped by a signal; the same call goes on from here
    metrics: dict[str, Any] | None  # of this call's last evaluation


def train(
    experiment: config.Experiment,
    workdir: pathlib.Path,
    *,
    devices: list[jax.Device] | None = None,
) -> Result:
    """Trains a detector, or goes on where an earlier call with this workdir was stopped.

    Args:
        experiment: the resolved config.
        workdir: receives config.json, checkpoints/, best/, metrics.jsonl, tensorboard/, pictures/
            and evaluation/. One run at a time.
        devices: of the mesh; default all.

    Raises:
        ValueError: where the config does not fit the data, the devices or the workdir; where
            another run is at work there; or where none of its checkpoints is whole. The workdir is
            then as it was.
        OSError: where the workdir cannot be written; the same call goes on once it can.
        NonFiniteLossError: with the step, the parts of the loss and the images of the batch.
    """
    config.check_format(workdir / config.FILE)
    run = Run.from_experiment(experiment, devices)
    experiment, spec, source = run.experiment, run.experiment.train, run.source
    _check_objects(source, experiment)
    state = run.init()
    if experiment.optimizer.frozen and jax.process_index() == 0:
        mask = freezing.is_frozen(state.params, experiment.optimizer.frozen)
        rich.console.Console(stderr=True).print(freezing.summary(state.params, mask))
    iterator, evaluator, key = run.batches(), run.evaluator(), run.key
    data = resumption.fingerprints(experiment)

    result = None
    with (
        _naming(workdir),
        only_run(workdir / RECENT / LOCK),
        iterator,
        Checkpoints(workdir, keep_recent=spec.keep_recent, keep_best=spec.keep_best) as checkpoints,
        StopSignal() as stop,
    ):
        start, window = checkpoints.latest_step(), ()
        if start:
            notes = checkpoints.read(start, NOTES)
            resumption.check(notes, experiment, data, workdir)
            if start > spec.steps:
                log.warning(
                    "Nothing is left to do: this run has done %d steps, and config.train.steps is "
                    "%d",
                    start,
                    spec.steps,
                )
                return Result(start, True, None)
            iterator.set_state(checkpoints.read(start, DATA), any_batch_size=True)
            state = state.with_items(checkpoints.restore(state.items(), start))
            window = notes["window"]
            log.info("Resumed at step %d of %d in %s", start, spec.steps, workdir)
        elif experiment.init_from:
            state = _begin_with(run, state)
        # From here on the workdir is this run's. Nothing before this line has changed it.
        on_first_process(lambda: config.save(experiment, workdir / config.FILE))

        with MetricsWriter(workdir, first_step=start, enabled=jax.process_index() == 0) as writer:
            report = Report(spec, writer, lambda i: source[i].image_id, window=window)

            def evaluate(step: int) -> dict[str, Any]:
                metrics = _evaluate(evaluator, state, step, workdir, writer, spec)
                checkpoints.save_best(step, state.items(), metrics[METRIC] or 0.0)
                return metrics

            if start and evaluator and _evaluation_is_due(spec, start):
                # A run may have been stopped between its checkpoint and the end of its evaluation,
                # or between that and the checkpoint of the best.
                line = on_first_process(lambda: read_line(workdir / LINES, start, EVALUATION))
                if line is None:
                    log.info("Evaluating step %d, which was stopped before it was", start)
                    result = evaluate(start)
                else:
                    checkpoints.save_best(start, state.items(), line[METRIC] or 0.0)

            for step in range(start + 1, spec.steps + 1):
                batch = next(iterator)
                state, metrics = run.step(state, sharding.put_batch(run.mesh, batch), key)
                report.add(step, metrics, batch.index)

                last, stopping = step == spec.steps, stop.requested(step)
                if last or stopping or step % spec.checkpoint_every == 0:
                    report.flush()  # raises before a state that is not finite is saved
                    writer.flush()  # a resumed run writes nothing of this step again
                    with report.paused():
                        notes = resumption.notes(experiment, data, report.window())
                        checkpoints.save(step, state.items(), iterator.get_state(), notes)
                if stopping and not last:
                    log.warning("Stopped at step %d; the same command goes on", step)
                    return Result(step, False, result)
                if evaluator and _evaluation_is_due(spec, step):
                    report.flush()
                    with report.paused():
                        result = evaluate(step)
    return Result(spec.steps, True, result)


def _begin_with(run: Run, state: TrainState) -> TrainState:
    """Returns the state with what fits of `config.init_from` in place of its random values."""
    source = run.experiment.init_from
    fresh = {"params": state.params, "batch_stats": state.batch_stats}
    variables, fit = pretrained.initialize(fresh, source, run.experiment)
    pretrained.report(fit, source)
    return run.begin_with(state, variables)


def _evaluate(
    evaluator: Evaluator,
    state: TrainState,
    step: int,
    workdir: pathlib.Path,
    writer: MetricsWriter,
    spec: config.Train,
) -> dict[str, Any]:
    evaluation = evaluator.run(state.variables())
    metrics = evaluation.metrics
    figures = {k: v for k, v in metrics.items() if isinstance(v, int | float | None)}
    if jax.process_index() == 0:
        log.info("step %d/%d  %s", step, spec.steps, evaluation.summary())
        evaluation.write(workdir / "evaluation")
        if spec.num_pictures:
            writer.picture(step, "validation", evaluation.contact_sheet(spec.num_pictures))
    writer.scalars(step, EVALUATION, figures)  # last: this line says that all of it is there
    return metrics


@contextlib.contextmanager
def _naming(workdir: pathlib.Path) -> Iterator[None]:
    """Names the workdir in what a full disk raises, which names no file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(
            f"{workdir}: {error.strerror}. What was saved before is whole: once that is mended, "
            "the same command goes on"
        ) from error


def _evaluation_is_due(spec: config.Train, step: int) -> bool:
    """Returns whether a run evaluates after this step."""
    return step == spec.steps or (spec.eval_every > 0 and step % spec.eval_every == 0)


def _check_objects(source: records.Source, experiment: config.Experiment) -> None:
    """Raises a ValueError where no record has an object to learn from."""
    for record in source:
        taken = (
            ~record.crowd if experiment.data.use_difficult else ~(record.crowd | record.difficult)
        )
        if taken.any():
            return
    raise ValueError(
        f"config.data.train: none of the {len(source)} records of {experiment.data.train} has an "
        "object to learn from (crowds do not count, nor difficult ones without "
        "config.data.use_difficult); prepare pictures that are annotated"
    )
