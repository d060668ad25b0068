"""A run as a value: everything that a config decides about a training, put together once."""

import dataclasses
import functools
from typing import Self

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, PyTree

from ssd_jax import config, detectors, sharding
from ssd_jax.data import pipeline, records
from ssd_jax.data.augment import AugmentSpec
from ssd_jax.evaluate.evaluator import Evaluator
from ssd_jax.train import optimizer as optimizers
from ssd_jax.train.gradient import Exchange
from ssd_jax.train.state import TrainState
from ssd_jax.train.step import TrainStep, make_train_step


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of a training; see `from_experiment`.

    Attributes:
        experiment: the resolved config, with the classes filled in.
        mesh: the devices.
        detector: what is trained.
    """

    experiment: config.Experiment
    mesh: Mesh
    detector: detectors.Detector

    @classmethod
    def from_experiment(
        cls, experiment: config.Experiment, devices: list[jax.Device] | None = None
    ) -> Self:
        """Returns the run that a config describes; nothing is read but the classes of its data.

        Args:
            experiment: the resolved config. Where it has a number of classes and no names, as for
                a benchmark, its data set need not be there.
            devices: those of the mesh; all by default.

        Raises:
            ValueError: where the config does not fit its data or the devices.
        """
        if experiment.decoder.unreported:
            # Labels count the classes of a data set, and would name other logits.
            raise ValueError(
                f"config.decoder.unreported: {experiment.decoder.unreported}, but only imported "
                "weights have logits that are no class; leave it away"
            )
        mesh = sharding.data_mesh(devices)
        train, group = experiment.train, experiment.model.batch_norm_group
        sharding.check_batch_size(
            mesh, train.batch_size, "config.train.batch_size", parts=train.accumulation
        )
        if group and mesh.size % group:
            raise ValueError(
                f"config.model.batch_norm_group: {mesh.size} devices do not divide into groups of "
                f"{group}; give 0 for one group of all, 1 for none, or a divisor of {mesh.size}"
            )
        if not experiment.model.num_classes or experiment.class_names:
            name = experiment.data.train
            source = records.open_source(name, experiment.data.data_dir)
            experiment = config.with_classes(
                experiment, source.class_names, name, source.category_ids
            )
        return cls(experiment, mesh, detectors.build(experiment))

    @functools.cached_property
    def source(self) -> records.Source:
        """The records that are trained on."""
        return records.open_source(self.experiment.data.train, self.experiment.data.data_dir)

    @property
    def key(self) -> PRNGKeyArray:
        """The run's random key, from which all others are derived."""
        return jax.random.key(self.experiment.train.seed)

    @functools.cached_property
    def _optimizer(self) -> config.Optimizer:
        return optimizers.for_batch(self.experiment.optimizer, self.experiment.train.batch_size)

    @functools.cached_property
    def schedule(self) -> optax.Schedule:
        """The learning rate by step."""
        return optimizers.learning_rate(self._optimizer, self.experiment.train.steps)

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The update rule."""
        return optimizers.update_rule(self._optimizer, self.experiment.train.steps)

    @functools.cached_property
    def augmentation(self) -> AugmentSpec:
        """The augmentation; it fills with the mean that the input subtracts."""
        return AugmentSpec(
            image_size=self.experiment.model.image_size,
            fill=self.experiment.input.mean,
            **dataclasses.asdict(self.experiment.augment),
        )

    @functools.cached_property
    def step(self) -> TrainStep:
        """The jitted (state, batch, key) -> (state, metrics); see `make_train_step`."""
        return make_train_step(
            self.detector,
            self.optimizer,
            self.schedule,
            self.augmentation,
            self.mesh,
            exchange=Exchange(
                dtype=self.experiment.train.gradient_dtype,
                parts=self.experiment.train.accumulation,
                average_statistics=self.experiment.model.batch_norm_group != 0,
            ),
            ema_decay=self.experiment.train.ema_decay,
            frozen=self.experiment.optimizer.frozen,
        )

    def init(self) -> TrainState:
        """Returns the state before the first step, replicated over the mesh."""

        def create(key: PRNGKeyArray) -> TrainState:
            ema = self.experiment.train.ema_decay > 0
            return TrainState.create(self.detector.init(key), self.optimizer, ema=ema)

        return jax.jit(create, out_shardings=sharding.replicated(self.mesh))(self.key)

    def begin_with(self, state: TrainState, variables: PyTree) -> TrainState:
        """Returns a state from `init` with other variables in the place of its random ones."""
        variables = jax.device_put(variables, sharding.replicated(self.mesh))
        # A copy, as in TrainState.create: the step donates its state.
        averages = jax.tree.map(jnp.copy, variables) if state.ema else {}
        return state.replace(**variables, ema=averages)

    def batches(self) -> pipeline.BatchIterator:
        """Returns this process's part of the batches, from the run's first one on."""
        data, train = self.experiment.data, self.experiment.train
        return pipeline.train_batches(
            self.source,
            batch_size=train.batch_size,
            canvas_size=data.canvas,
            max_objects=data.max_objects,
            seed=train.seed,
            num_workers=data.num_workers,
            use_difficult=data.use_difficult,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def evaluator(self) -> Evaluator | None:
        """Returns the evaluator of `config.data.eval`, or None where that is empty."""
        if not self.experiment.data.eval:
            return None
        return Evaluator(self.experiment, self.detector, self.mesh)
