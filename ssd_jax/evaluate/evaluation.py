"""The result of an evaluation: scores, and the files and pictures that are made of them."""

import math
import pathlib
from typing import Any, NamedTuple

import numpy as np
import rich.console
from PIL import Image

from ssd_jax import draw
from ssd_jax.data import records
from ssd_jax.evaluate import coco_results, metrics, plots, voc_ap
from ssd_jax.evaluate.ground_truth import GroundTruth
from ssd_jax.inference import ImageDetections

# A picture shows the detections that a user would act on, not the tail that the metrics need.
SHOWN_SCORE = 0.4


class Evaluation(NamedTuple):
    """The scores of one evaluation, and what they were computed from.

    Of several processes the first one alone has the curves and the detections.
    """

    metrics: dict[str, Any]  # what metrics.json holds
    curves: tuple[voc_ap.Curve, ...]
    detections: list[ImageDetections]  # in the order of the source
    ground_truths: list[GroundTruth]
    source: records.Source

    def summary(self) -> str:
        """Returns the main scores in a line."""
        names = ("mAP", "AP", "AP50", "APs", "APm", "APl")
        values = {name: self.metrics[name] for name in names}
        return "  ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in values.items())

    def print_table(self) -> None:
        """Prints the table of the classes."""
        rich.console.Console().print(metrics.metrics_table(self.metrics))

    def write(self, folder: pathlib.Path, metrics_path: pathlib.Path | None = None) -> None:
        """Makes a folder, and writes metrics.json (or `metrics_path`) and detections.json to it."""
        folder.mkdir(parents=True, exist_ok=True)
        metrics.write_metrics(metrics_path or folder / "metrics.json", self.metrics)
        coco_results.write_coco_results(
            folder / "detections.json", self.detections, category_ids=self.source.category_ids
        )

    def write_plots(self, folder: pathlib.Path) -> None:
        """Writes the precision-recall curves: an overview, and a page for each class."""
        plots.write_plots(folder, self.curves, self.source.class_names)

    def contact_sheet(self, count: int) -> Image.Image:
        """Returns `count` pictures, spread over the source, with their objects and detections."""
        chosen = np.linspace(0, len(self.source) - 1, min(count, len(self.source))).astype(int)
        names = self.source.class_names
        pictures = []
        for i in chosen:
            truth, found = self.ground_truths[i], self.detections[i]
            shown = found.scores >= SHOWN_SCORE
            pixels = self.source[int(i)].decode()
            picture = draw.draw_ground_truth(pixels, truth.boxes_xyxy, truth.labels, names)
            kept = (found.boxes_xyxy[shown], found.labels[shown], found.scores[shown])
            pictures.append(draw.draw_detections(picture, *kept, names))
        return draw.contact_sheet(pictures, columns=math.ceil(math.sqrt(len(pictures))))
