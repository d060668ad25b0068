"""The run: load, step, report, save, evaluate; the same call again resumes it."""

import logging
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import rich.console
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from ssd_jax import config, detectors, sharding
from ssd_jax.data import pipeline, records
from ssd_jax.evaluate.evaluator import Evaluator
from ssd_jax.pretrained import initialize as pretrained
from ssd_jax.train import freezing
from ssd_jax.train import optimizer as optimizers
from ssd_jax.train.checkpoint import METRIC, Checkpoints
from ssd_jax.train.interruption import StopSignal
from ssd_jax.train.metrics import LINES, MetricsWriter, last_step
from ssd_jax.train.report import Report
from ssd_jax.train.state import TrainState
from ssd_jax.train.step import augment_spec, make_train_step

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
        and evaluation/.
      devices: of the mesh; default all.

    Raises:
      ValueError: where the config does not fit the data, the devices or the workdir.
      NonFiniteLossError: with the step, the parts of the loss and the images of the batch.
    """
    spec = experiment.train
    mesh = sharding.data_mesh(devices)
    sharding.check_batch_size(mesh, spec.batch_size, "config.train.batch_size")
    source = records.open_source(experiment.data.train, experiment.data.data_dir)
    experiment = config.with_classes(
        experiment, source.class_names, experiment.data.train, source.category_ids
    )
    detector = detectors.build(experiment)
    optimizer = optimizers.build(experiment.optimizer, spec.steps)
    train_step = make_train_step(
        detector,
        optimizer,
        optimizers.learning_rate(experiment.optimizer, spec.steps),
        augment_spec(experiment),
        mesh,
        ema_decay=spec.ema_decay,
        frozen=experiment.optimizer.frozen,
    )
    key = jax.random.key(spec.seed)
    state = initial_state(detector, optimizer, key, mesh, ema=spec.ema_decay > 0)
    if experiment.optimizer.frozen and jax.process_index() == 0:
        mask = freezing.is_frozen(state.params, experiment.optimizer.frozen)
        rich.console.Console(stderr=True).print(freezing.summary(state.params, mask))
    iterator = pipeline.train_batches(
        source,
        batch_size=spec.batch_size,
        canvas_size=experiment.data.canvas,
        max_objects=experiment.data.max_objects,
        seed=spec.seed,
        num_workers=experiment.data.num_workers,
        use_difficult=experiment.data.use_difficult,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    evaluator = Evaluator(experiment, detector, mesh) if experiment.data.eval else None
    _save_config(experiment, workdir)

    result = None
    with (
        iterator,
        Checkpoints(workdir, keep_recent=spec.keep_recent, keep_best=spec.keep_best) as checkpoints,
        StopSignal() as stop,
    ):
        start = checkpoints.latest_step() or 0
        if not start and experiment.init_from:
            state = _begin_with(experiment, state, mesh)
        if start:
            state = checkpoints.restore(state, iterator, start)
            log.info("Resumed at step %d of %d in %s", start, spec.steps, workdir)
        # Killed between its last checkpoint and its last evaluation. Several processes might see
        # the file at different moments, and have to agree.
        unscored = jax.process_count() == 1 and 0 < spec.steps == start
        unscored = unscored and last_step(workdir / LINES, "evaluation") < start
        with MetricsWriter(workdir, first_step=start, enabled=jax.process_index() == 0) as writer:
            report = Report(spec, writer, lambda i: source[i].image_id)
            for step in range(start + 1, spec.steps + 1):
                batch = next(iterator)
                state, metrics = train_step(state, sharding.put_batch(mesh, batch), key)
                report.add(step, metrics, batch.index)

                last, stopping = step == spec.steps, stop.requested(step)
                if last or stopping or step % spec.checkpoint_every == 0:
                    report.flush()  # raises before a state that is not finite is saved
                    with report.paused():
                        checkpoints.save(step, state, iterator)
                if stopping and not last:
                    log.warning("Stopped at step %d; the same command goes on", step)
                    return Result(step, False, result)
                if evaluator and (last or (spec.eval_every and step % spec.eval_every == 0)):
                    report.flush()
                    with report.paused():
                        result = _evaluate(evaluator, state, step, workdir, writer, spec)
                        checkpoints.save_best(step, state, result[METRIC] or 0.0)
            if evaluator and unscored:
                result = _evaluate(evaluator, state, start, workdir, writer, spec)
                checkpoints.save_best(start, state, result[METRIC] or 0.0)
    return Result(spec.steps, True, result)


def initial_state(
    detector: detectors.Detector,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    mesh: Mesh,
    *,
    ema: bool,
) -> TrainState:
    """Returns the state before the first step, replicated over the mesh."""

    def create(key: PRNGKeyArray) -> TrainState:
        return TrainState.create(detector.init(key), optimizer, ema=ema)

    return jax.jit(create, out_shardings=sharding.replicated(mesh))(key)


def _begin_with(experiment: config.Experiment, state: TrainState, mesh: Mesh) -> TrainState:
    """Returns the state with what fits of `config.init_from` in place of its random values."""
    fresh = {"params": state.params, "batch_stats": state.batch_stats}
    variables, fit = pretrained.initialize(fresh, experiment.init_from, experiment)
    pretrained.report(fit, experiment.init_from)
    variables = jax.device_put(variables, sharding.replicated(mesh))
    # A copy, as in TrainState.create: the step donates its state.
    ema_params = jax.tree.map(jnp.copy, variables["params"]) if state.ema_params else {}
    return state.replace(**variables, ema_params=ema_params)


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
    writer.scalars(step, "evaluation", figures)  # last: this line says that all of it is there
    return metrics


def _save_config(experiment: config.Experiment, workdir: pathlib.Path) -> None:
    """Writes config.json, unless the workdir holds the run of another network.

    Raises:
      ValueError: where the workdir's run has another network, input or classes.
    """
    path = workdir / config.FILE
    if path.exists():
        changes = config.differences(config.load(path), experiment)
        lines = {name: f"config.{name}: {old!r} -> {new!r}" for name, (old, new) in changes.items()}
        fixed = [x for name, x in lines.items() if name.split(".")[0] in config.FIXED_IN_A_RUN]
        if fixed:
            raise ValueError(
                f"{workdir} holds a run of another network; take another workdir, or undo "
                + "; ".join(fixed)
            )
        for line in lines.values():
            log.warning("Changed since this run began: %s", line)
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        config.save(experiment, path)
