"""Trains torchvision's SSD300 as a config says, for a row beside ours in launch.compare.

    python -m launch.torchvision_ssd300 --config configs/photographs.py:ssd300 --workdir runs/peer \
      --config.init_from=vgg16_conv_fp16_bgr.npz

Data, initial weights, optimizer, schedule, steps and batch are the config's; the network, the
augmentation (torchvision's reference for SSD), the matching and the loss are torchvision's. Scored
by our rules. Needs torch and torchvision; it does not resume.
"""

import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from launch import cli
from ssd_jax import config
from ssd_jax.data import images, records
from ssd_jax.evaluate import metrics
from ssd_jax.evaluate.evaluator import Evaluation, ground_truth
from ssd_jax.evaluate.ground_truth import ImageDetections
from ssd_jax.pretrained import files, known, ssd

CONFIG = cli.define_config(required=True)
WORKDIR = cli.define_workdir()

log = logging.getLogger("ssd_jax")


def main() -> int:
    """Runs the command."""
    try:
        import torch
        import torchvision
    except ImportError as error:
        raise ValueError(f"launch.torchvision_ssd300: {error}; pip install torchvision") from None
    workdir = pathlib.Path(WORKDIR.value)
    if (workdir / "evaluation" / "metrics.json").exists():
        log.info("%s is finished", workdir)
        return 0
    experiment = config.resolve(CONFIG.value)
    if experiment.model.backbone != "vgg16" or experiment.model.image_size != (300, 300):
        raise ValueError(
            "--config: expected an SSD300, such as configs/photographs.py:ssd300; got "
            f"{experiment.model.backbone} at {experiment.model.image_size}"
        )
    source = records.open_source(experiment.data.train, experiment.data.data_dir)
    experiment = config.with_classes(
        experiment, source.class_names, experiment.data.train, source.category_ids
    )
    experiment = dataclasses.replace(
        experiment, name=f"torchvision {torchvision.__version__} ssd300_vgg16"
    )
    torch.manual_seed(experiment.train.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=experiment.model.num_classes
    )
    if experiment.init_from:
        load_backbone(model, pathlib.Path(experiment.init_from))
    model.to(device)
    began = time.monotonic()
    train(model, experiment, source, device)
    seconds = time.monotonic() - began
    evaluation = evaluate(model, experiment, device)
    workdir.mkdir(parents=True, exist_ok=True)
    config.save(experiment, workdir / config.FILE)
    evaluation.write(workdir / "evaluation")
    log.info("%s  %.0f s of training on %s", evaluation.summary(), seconds, device)
    return 0


def load_backbone(model: Any, path: pathlib.Path) -> None:
    """Puts a file's VGG16 in the place of torchvision's, as far as the file goes."""
    import torch

    arrays = files.read(path)
    family = known.find(arrays)
    if family is None:
        raise ValueError(f"config.init_from: {path} is no file that is known here")
    state = model.state_dict()
    loaded = 0
    for ours, value in family.convert(arrays, ssd.TORCHVISION.input).items():
        if ours not in ssd.TORCHVISION.table:
            continue
        theirs = ssd.TORCHVISION.table[ours].theirs
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        state[theirs] = torch.from_numpy(np.ascontiguousarray(value))
        loaded += 1
    model.load_state_dict(state)
    log.info("Loaded %d arrays of %s", loaded, path)


def train(model: Any, experiment: config.Experiment, source: records.Source, device: Any) -> None:
    """Trains for the config's steps, with its optimizer."""
    import torch

    spec, rate = experiment.optimizer, experiment.optimizer.learning_rate
    if spec.name != "sgd" or spec.schedule != "step":
        raise ValueError("config.optimizer: expected sgd with a schedule of steps")
    named = list(model.named_parameters())
    optimizer = torch.optim.SGD(
        [
            {"params": [p for n, p in named if not n.endswith("bias")]},
            {
                "params": [p for n, p in named if n.endswith("bias")],
                "lr": rate * spec.bias_multiplier,
                "weight_decay": 0.0,
            },
        ],
        rate,
        spec.momentum,
        weight_decay=spec.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, list(spec.boundaries), spec.decay_factor
    )
    model.train()
    batches = augmented(source, experiment)
    for step in range(1, experiment.train.steps + 1):
        pictures, targets = next(batches)
        pictures = [x.to(device) for x in pictures]
        targets = [{k: v.to(device) for k, v in one.items()} for one in targets]
        optimizer.zero_grad()
        loss = sum(model(pictures, targets).values())
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % experiment.train.log_every == 0 or step == experiment.train.steps:
            log.info("step %d/%d  total %.3f", step, experiment.train.steps, loss.item())


def augmented(source: records.Source, experiment: config.Experiment) -> Iterator[tuple]:
    """Yields batches through torchvision's reference augmentation for SSD."""
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill={tv_tensors.Image: (123, 117, 104), "others": 0}),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(),
            v2.SanitizeBoundingBoxes(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    size = experiment.train.batch_size
    if size > len(source):
        raise ValueError(f"config.train.batch_size: {size}, but there are {len(source)} pictures")
    rng = np.random.default_rng(experiment.train.seed)
    while True:
        order = rng.permutation(len(source))
        # What does not fill a last batch waits for another epoch.
        for start in range(0, len(order) - size + 1, size):
            batch = []
            for i in order[start : start + size]:
                record = source[int(i)]
                image = images.decode(record.image)
                boxes = torch.from_numpy(record.boxes_in_pixels().astype(np.float32))[~record.crowd]
                sample = {
                    "image": tv_tensors.Image(torch.from_numpy(image.copy()).permute(2, 0, 1)),
                    "boxes": tv_tensors.BoundingBoxes(
                        boxes, format="XYXY", canvas_size=image.shape[:2]
                    ),
                    "labels": torch.from_numpy(record.labels.astype(np.int64))[~record.crowd],
                }
                batch.append(transform(sample))
            yield (
                [x["image"] for x in batch],
                [{"boxes": x["boxes"], "labels": x["labels"]} for x in batch],
            )


def evaluate(model: Any, experiment: config.Experiment, device: Any) -> Evaluation:
    """Returns the scores on the config's data.eval, by our rules."""
    import torch

    model.eval()
    source = records.open_source(experiment.data.eval, experiment.data.data_dir)
    truths, detections = [], []
    began = time.monotonic()
    for i in range(len(source)):
        record = source[i]
        picture = torch.from_numpy(images.decode(record.image).copy()).permute(2, 0, 1)
        with torch.inference_mode():
            [found] = model([picture.to(device, torch.float32) / 255])
        values = {k: v.cpu().numpy() for k, v in found.items()}
        truths.append(ground_truth(record))
        detections.append(
            ImageDetections(
                image_id=record.image_id,
                boxes_xyxy=values["boxes"].astype(np.float64),
                scores=values["scores"],
                labels=values["labels"].astype(np.int32),
            )
        )
    seconds = round(time.monotonic() - began, 3)
    scored = metrics.evaluate(
        truths,
        detections,
        source.class_names,
        iou_thresholds=experiment.evaluate.iou_thresholds,
    )
    return Evaluation(
        {**scored.metrics, "seconds": seconds}, scored.curves, detections, truths, source
    )


if __name__ == "__main__":
    cli.run(main)
