"""The sharded evaluation: every image of a data set through the detector, scored at the end."""

import time
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax.agreement import on_first_process
from ssd_jax.data import pipeline, records
from ssd_jax.detectors import Detector
from ssd_jax.evaluate import metrics
from ssd_jax.evaluate.evaluation import Evaluation
from ssd_jax.evaluate.gathering import gather
from ssd_jax.evaluate.ground_truth import of_record, tabulate_objects
from ssd_jax.evaluate.voc_ap import Curve
from ssd_jax.inference import ImageDetections, in_pixels, make_detect_step
from ssd_jax.sharding import check_batch_size, data_mesh, put_batch, take_local


class Evaluator:
    """Evaluates a detector's variables on a split, as often as asked, with one compiled step."""

    def __init__(
        self,
        experiment: config.Experiment,
        detector: Detector,
        mesh: Mesh | None = None,
        *,
        source: str = "",
    ) -> None:
        """Opens the data.

        Args:
            experiment: with the classes filled in.
            detector: built from it.
            mesh: default all devices.
            source: NAME:SPLIT; default the config's `data.eval`.

        Raises:
            ValueError: where the data set is not there, has other classes than the experiment or
                objects that cannot be scored, or the batch does not fit the devices.
        """
        self._mesh = data_mesh() if mesh is None else mesh
        self._spec = experiment.evaluate
        self._canvas = experiment.data.canvas
        self._num_workers = experiment.data.num_workers
        check_batch_size(self._mesh, self._spec.batch_size, "config.evaluate.batch_size")
        name = source or experiment.data.eval
        self.source = records.open_source(name, experiment.data.data_dir)
        config.with_classes(experiment, self.source.class_names, name)
        self._ground_truths = [of_record(record) for record in self.source]
        try:  # before an hour of training, not after it
            tabulate_objects(self._ground_truths, num_classes=len(self.source.class_names) + 1)
        except ValueError as error:
            raise ValueError(f"{name} cannot be evaluated: {error}") from None
        self._detect = make_detect_step(detector, self._mesh)

    def run(self, variables: PyTree) -> Evaluation:
        """Returns the scores of a detector's variables.

        The metrics are the same on every process; the curves and the detections are on the first
        one, which scores them.
        """
        began = time.monotonic()
        found = gather(self._detect_own(variables))
        seconds = time.monotonic() - began
        detections = [found[i] for i in sorted(found)]
        curves: tuple[Curve, ...] = ()

        def score() -> dict[str, Any]:
            nonlocal curves
            scored, curves = metrics.evaluate(
                self._ground_truths,
                detections,
                self.source.class_names,
                iou_thresholds=self._spec.iou_thresholds,
            )
            return {**scored, "seconds": round(seconds, 3)}

        scores = on_first_process(score)
        return Evaluation(scores, curves, detections, self._ground_truths, self.source)

    def _detect_own(self, variables: PyTree) -> dict[int, ImageDetections]:
        """Returns what is in this process's part of the images, by their number."""
        by_index = {}
        batches = pipeline.eval_batches(
            self.source,
            batch_size=self._spec.batch_size,
            canvas_size=self._canvas,
            max_objects=0,  # scoring takes the objects from the records
            num_workers=self._num_workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        with batches:
            for batch in batches:
                canvas, size = put_batch(self._mesh, (batch.canvas, batch.size))
                found = take_local(self._detect(variables, canvas, size))
                for slot, i in enumerate(batch.index.tolist()):
                    if i >= 0:
                        truth = self._ground_truths[i]
                        one = jax.tree.map(lambda x, slot=slot: x[slot], found)
                        by_index[i] = in_pixels(one, truth.image_id, truth.height, truth.width)
        return by_index
