"""The same timings of torchvision's detectors: SSD300 on VGG16 and SSDLite320."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from ssd_jax import config
from ssd_jax.models.vgg import VGG16


def time_torchvision(
    experiment: config.Experiment,
    timed: Callable[[str, Callable[[], Any], int], Any],
    suites: Sequence[str],
    batch_size: int,
    num_objects: int,
) -> list[Any]:
    """Times torchvision's nearest detector, its training step and its inference.

    Args:
        experiment: decides which: SSD300 for VGG16, SSDLite320 for a MobileNet.
        timed: (name, function, images) -> timing.
        suites: "train", "infer" and "data" have a counterpart.
        batch_size: of the training step.
        num_objects: on each picture.

    Returns:
        The timings; none, with a message, where torchvision is not installed.
    """
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError) as error:  # the latter: builds that do not fit together
        print(f"--peer torchvision is left out: {error}. pip install torchvision", file=sys.stderr)
        return []
    num_classes = experiment.model.num_classes
    options = {"weights": None, "weights_backbone": None, "num_classes": num_classes}
    if isinstance(experiment.model.backbone, VGG16):
        name, size = "ssd300_vgg16", 300
    else:
        name, size = "ssdlite320_mobilenet_v3_large", 320
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = getattr(torchvision.models.detection, name)(**options).to(device)
    label = f"torchvision {torchvision.__version__} {name}"
    images = [torch.rand(3, size, size, device=device) for _ in range(batch_size)]
    corner = torch.rand(batch_size, num_objects, 2, device=device) * 0.6
    extent = torch.rand(batch_size, num_objects, 2, device=device) * 0.3 + 0.1
    boxes = torch.cat((corner, corner + extent), dim=-1) * size
    labels = torch.randint(1, num_classes, (batch_size, num_objects), device=device)
    targets = [{"boxes": b, "labels": n} for b, n in zip(boxes, labels, strict=True)]

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    timings = []
    if "train" in suites:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 1e-3, 0.9, weight_decay=5e-4)

        def train() -> None:
            optimizer.zero_grad()
            sum(model(images, targets).values()).backward()
            optimizer.step()
            wait()

        timings.append(timed(f"{label}: training step", train, batch_size))
    if "infer" in suites:
        model.eval()

        def infer() -> None:
            with torch.inference_mode():
                model(images[:1])
            wait()

        timings.append(timed(f"{label}: inference", infer, 1))
    if "data" in suites:
        from benchmarks import torch_loader

        batches, endless = 20, torch_loader.endless(torch_loader.loader(experiment))

        def read() -> None:
            for _ in range(batches):
                next(endless)

        name = f"torch {torch.__version__} DataLoader"
        timings.append(timed(name, read, experiment.train.batch_size * batches))
    return timings
