"""All figures of a detector's quality on a data set: metrics.json and its table."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.box
import rich.table
import rich.text

from ssd_jax.evaluate import coco_ap, voc_ap
from ssd_jax.evaluate.ground_truth import GroundTruth, tabulate
from ssd_jax.inference import ImageDetections


class Scores(NamedTuple):
    """The numbers of an evaluation, and the curves behind VOC's."""

    metrics: dict[str, Any]  # what metrics.json holds: plain numbers, None where there is none
    curves: tuple[voc_ap.Curve, ...]  # one for each class, at VOC's IoU of .5


def evaluate(
    ground_truths: Sequence[GroundTruth],
    detections: Iterable[ImageDetections],
    class_names: Sequence[str],
    *,
    iou_thresholds: Sequence[float] = (),
) -> Scores:
    """Scores a data set's detections by the rules of VOC and of COCO.

    The metrics are `mAP` (VOC07's 11-point mAP at IoU .5), `mAP_area` (VOC10-12's), COCO's twelve
    (`AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR1`, `AR10`, `AR100`, `ARs`, `ARm`, `ARl`), an
    11-point `mAP@T` for each further IoU threshold T, the counts `num_images`, `num_objects`,
    `num_uncounted` (difficult objects and crowds, not in `num_objects`), `num_detections` and
    `num_classes_scored` (classes with objects: the ones that mAP is the mean of), and `per_class`,
    which maps each name to the same for the class; its 11-point AP is called `AP_11point` there.

    Args:
        ground_truths: every image of the data set, those without objects too.
        detections: at most one entry per image, in any order.
        class_names: of labels 1 .. C-1.
        iou_thresholds: IoUs at which VOC's mAP is wanted, besides .5.

    Raises:
        ValueError: for input that cannot be scored; see `ground_truth.tabulate`.
    """
    num_classes = len(class_names) + 1
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"metrics.evaluate: expected different class names, got {class_names}")
    objects, found = tabulate(ground_truths, detections, num_classes=num_classes)
    overlaps = voc_ap.best_overlaps(objects, found)

    def curves_at(iou_threshold: float) -> tuple[voc_ap.Curve, ...]:
        return voc_ap.precision_recall(
            objects, found, overlaps, num_classes=num_classes, iou_threshold=iou_threshold
        )

    curves = curves_at(voc_ap.IOU_THRESHOLD)
    coco = coco_ap.evaluate(objects, found, num_images=len(ground_truths), num_classes=num_classes)
    per_class = {
        "AP_11point": [voc_ap.eleven_point_ap(curve) for curve in curves],
        "AP_area": [voc_ap.area_ap(curve) for curve in curves],
    }
    summary = {"mAP": _mean(per_class["AP_11point"]), "mAP_area": _mean(per_class["AP_area"])}
    for threshold in iou_thresholds:
        if threshold != voc_ap.IOU_THRESHOLD:
            aps = [voc_ap.eleven_point_ap(curve) for curve in curves_at(threshold)]
            per_class[f"AP_11point@{threshold:g}"] = aps
            summary[f"mAP@{threshold:g}"] = _mean(aps)
    per_class |= coco.per_class

    uncounted = objects.difficult | objects.crowd
    counts = {
        "num_objects": np.bincount(objects.labels[~uncounted], minlength=num_classes)[1:],
        "num_uncounted": np.bincount(objects.labels[uncounted], minlength=num_classes)[1:],
        "num_detections": np.bincount(found.labels, minlength=num_classes)[1:],
    }
    metrics = {name: _json_number(value) for name, value in (summary | coco.summary).items()}
    metrics["num_images"] = len(ground_truths)
    metrics |= {name: int(values.sum()) for name, values in counts.items()}
    metrics["num_classes_scored"] = int(np.count_nonzero(counts["num_objects"]))
    metrics["per_class"] = {
        name: {key: _json_number(values[i]) for key, values in per_class.items()}
        | {key: int(values[i]) for key, values in counts.items()}
        for i, name in enumerate(class_names)
    }
    return Scores(metrics, curves)


def write_metrics(path: pathlib.Path, metrics: Mapping[str, Any]) -> None:
    """Writes metrics as indented JSON, in UTF-8; a NaN among them is a ValueError."""
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def metrics_table(metrics: Mapping[str, Any]) -> rich.table.Table:
    """Returns the metrics as a table for the terminal: a row per class, the mean, COCO's sizes."""
    further = [name for name in metrics if name.startswith("mAP@")]
    columns = {
        "VOC07": ("AP_11point", "mAP"),
        **{name[3:]: (f"AP_11point{name[3:]}", name) for name in further},
        "VOC12": ("AP_area", "mAP_area"),
        **{name: (name, name) for name in ("AP", "AP50", "AP75")},
    }
    sizes = ("APs", "APm", "APl", "AR1", "AR10", "AR100")
    table = rich.table.Table(
        caption="  ".join(f"{name} {_show(metrics[name])}" for name in sizes),
        show_footer=True,
        pad_edge=False,
        collapse_padding=True,
        box=rich.box.SIMPLE_HEAD,
    )
    table.add_column("class", footer="all", overflow="fold")
    for header, key in (("objects", "num_objects"), ("found", "num_detections")):
        table.add_column(header, footer=str(metrics[key]), justify="right", no_wrap=True)
    for header, (_, key) in columns.items():
        table.add_column(header, footer=_show(metrics[key]), justify="right", no_wrap=True)
    for name, scores in metrics["per_class"].items():
        table.add_row(
            rich.text.Text(name),  # not a str, which would read markup in "[red] cell"
            str(scores["num_objects"]),
            str(scores["num_detections"]),
            *(_show(scores[key]) for key, _ in columns.values()),
        )
    return table


def _mean(values: Sequence[float]) -> float:
    """Returns the mean over the classes that have objects (the others are NaN), NaN without any."""
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else math.nan


def _json_number(value: float) -> float | None:
    """Returns a plain float, or None in place of NaN, which JSON lacks."""
    return None if math.isnan(value) else float(value)


def _show(value: float | None) -> str:
    """Returns a score for the table; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"
