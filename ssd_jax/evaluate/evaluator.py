"""The sharded evaluation: every image of a data set through the detector, scored at the end."""

import math
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.console
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from PIL import Image

from ssd_jax import config, draw
from ssd_jax.data import images, pipeline, records
from ssd_jax.data.augment import warp
from ssd_jax.detectors import Detector
from ssd_jax.evaluate import coco_results, metrics, plots, voc_ap
from ssd_jax.evaluate.ground_truth import GroundTruth, ImageDetections, tabulate_objects
from ssd_jax.sharding import batch_split, check_batch_size, data_mesh, put_batch, replicated
from ssd_jax.types import Detections

DetectStep = Callable[[PyTree, Array, Array], Detections]

# A picture shows the detections that a user would act on, not the tail that the metrics need.
SHOWN_SCORE = 0.4

# Pixels. A box narrower than detections.json can write has no area.
LEAST_SIDE = 1e-3


def make_detect_step(detector: Detector, mesh: Mesh) -> DetectStep:
    """Returns the jitted (variables, canvas uint8[B, H, W, 3], size int[B, 2]) -> Detections.

    Warps to the input size, predicts and suppresses. The batch is split over the mesh and every
    device receives all detections, so that each process can score the whole data set.
    """

    def detect(variables: PyTree, canvas: Array, size: Array) -> Detections:
        def to_input(canvas: Array, size: Array) -> Array:
            return warp(canvas, size, image_size=detector.image_size)

        predictions, _ = detector.apply(variables, jax.vmap(to_input)(canvas, size), train=False)
        return detector.detect(predictions)

    batch = batch_split(mesh)
    return jax.jit(
        detect, in_shardings=(replicated(mesh), batch, batch), out_shardings=replicated(mesh)
    )


def in_pixels(found: Detections, image_id: str, height: int, width: int) -> ImageDetections:
    """Returns one image's valid detections in pixels of its original picture, clipped to it.

    A box of which nothing is left inside the picture is dropped.
    """
    unit = np.array((width, height) * 2, np.float64)
    boxes = np.clip(found.boxes_xyxy.astype(np.float64), 0, 1) * unit
    is_empty = (boxes[:, 2:] - boxes[:, :2] < LEAST_SIDE).any(axis=1)  # not so for a NaN
    kept = found.valid & ~is_empty
    return ImageDetections(image_id, boxes[kept], found.scores[kept], found.labels[kept])


def ground_truth(record: records.Record) -> GroundTruth:
    """Returns what a record says of its picture, in pixels, nothing dropped."""
    return GroundTruth(
        image_id=record.image_id,
        height=record.height,
        width=record.width,
        boxes_xyxy=record.boxes_in_pixels(),
        labels=record.labels,
        difficult=record.difficult,
        crowd=record.crowd,
        area=record.area.astype(np.float64),
    )


class Evaluation(NamedTuple):
    """The scores of one evaluation, and what they were computed from."""

    metrics: dict[str, Any]  # what metrics.json holds
    curves: tuple[voc_ap.Curve, ...]
    detections: list[ImageDetections]  # in the order of the source
    ground_truths: list[GroundTruth]
    source: records.Source

    def summary(self) -> str:
        """Returns the scores that matter, in a line."""
        names = ("mAP", "AP", "AP50", "APs", "APm", "APl")
        values = {name: self.metrics[name] for name in names}
        return "  ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in values.items())

    def print_table(self) -> None:
        """Prints the table of the classes."""
        rich.console.Console().print(metrics.metrics_table(self.metrics))

    def write(self, folder: pathlib.Path, metrics_path: pathlib.Path | None = None) -> None:
        """Writes metrics.json and detections.json to a folder.

        Args:
          folder: made where it does not exist.
          metrics_path: another place for metrics.json.
        """
        folder.mkdir(parents=True, exist_ok=True)
        metrics.write_metrics(metrics_path or folder / "metrics.json", self.metrics)
        coco_results.write_coco_results(
            folder / "detections.json", self.detections, category_ids=self.source.category_ids
        )

    def write_plots(self, folder: pathlib.Path) -> None:
        """Writes the precision-recall curves, an overview and a page for each class."""
        plots.write_plots(folder, self.curves, self.source.class_names)

    def contact_sheet(self, count: int) -> Image.Image:
        """Returns `count` pictures, spread over the source, with their objects and detections."""
        chosen = np.linspace(0, len(self.source) - 1, min(count, len(self.source))).astype(int)
        names = self.source.class_names
        pictures = []
        for i in chosen:
            truth, found = self.ground_truths[i], self.detections[i]
            shown = found.scores >= SHOWN_SCORE
            with images.memory_limit(None):  # it was decoded when the data set was prepared
                pixels = images.decode(self.source[int(i)].image)
            picture = draw.draw_ground_truth(pixels, truth.boxes_xyxy, truth.labels, names)
            pictures.append(
                draw.draw_detections(
                    picture,
                    found.boxes_xyxy[shown],
                    found.labels[shown],
                    found.scores[shown],
                    names,
                )
            )
        return draw.contact_sheet(pictures, columns=math.ceil(math.sqrt(len(pictures))))


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
        self._ground_truths = [ground_truth(record) for record in self.source]
        try:  # before an hour of training, not after it
            tabulate_objects(self._ground_truths, num_classes=len(self.source.class_names) + 1)
        except ValueError as error:
            raise ValueError(f"{name} cannot be evaluated: {error}") from None
        self._detect = make_detect_step(detector, self._mesh)

    def run(self, variables: PyTree) -> Evaluation:
        """Returns the scores of a detector's variables; the same on every process."""
        began = time.monotonic()
        detections = self._detect_all(variables)
        seconds = time.monotonic() - began
        scored = metrics.evaluate(
            self._ground_truths,
            detections,
            self.source.class_names,
            iou_thresholds=self._spec.iou_thresholds,
        )
        return Evaluation(
            {**scored.metrics, "seconds": round(seconds, 3)},
            scored.curves,
            detections,
            self._ground_truths,
            self.source,
        )

    def _detect_all(self, variables: PyTree) -> list[ImageDetections]:
        gather = jax.jit(lambda index: index, out_shardings=replicated(self._mesh))
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
                moved = put_batch(self._mesh, batch)
                found = self._detect(variables, moved.canvas, moved.size)
                index, found = jax.device_get((gather(moved.index), found))
                for slot, i in enumerate(index):
                    if i >= 0:
                        truth = self._ground_truths[i]
                        one = jax.tree.map(lambda x, slot=slot: x[slot], found)
                        by_index[i] = in_pixels(one, truth.image_id, truth.height, truth.width)
        return [by_index[i] for i in range(len(self.source))]
