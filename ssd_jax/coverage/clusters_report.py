"""The clusters of a data set's boxes, 1 to many, as a table and as a page."""

import rich.table
import rich.text
from matplotlib.figure import Figure

from ssd_jax.coverage import cluster_plots, clustering
from ssd_jax.coverage.annotations import BoxSet

# At most so many boxes are clustered, drawn at random.
_MOST_BOXES = 50_000


def clusters_report(
    data: BoxSet, image_size: tuple[int, int], most: int
) -> tuple[rich.table.Table, Figure]:
    """Returns the sizes and the ratios of 1 to `most` clusters: a table, and a page of pictures.

    The boxes are clustered on a network's input of `image_size`, (height, width) in pixels. There
    are no more clusters than different boxes.

    Raises:
        ValueError: where no box has an area.
    """
    height, width = image_size
    boxes = data.sample_on(image_size, _MOST_BOXES)
    sides = boxes[:, 2:] - boxes[:, :2]
    if not len(sides):
        raise ValueError(f"--kmeans: {data.name} has no boxes")
    numbers = range(1, min(most, clustering.most(sides)) + 1)
    sizes = [clustering.by_size(sides, k) for k in numbers]
    ratios = [clustering.by_ratio(sides, k) for k in numbers]
    chosen = tuple(clustering.elbow([c.error for c in each]) for each in (sizes, ratios))
    title = rich.text.Text(f"{len(sides)} boxes of {data.name} on {height} x {width}")
    caption = "* after which a further cluster takes away less than a fifth of the error"
    table = rich.table.Table(title=title, caption=caption)
    for heading in ("k", "mean IoU", "sizes, pixels", "log distance", "ratios"):
        table.add_column(heading, justify="right" if heading != "sizes, pixels" else "left")
    for k, size, ratio in zip(numbers, sizes, ratios, strict=True):
        table.add_row(
            str(k),
            f"{1 - size.error:.3f}" + "*" * (k == chosen[0]),
            "  ".join(f"{w:.0f}x{h:.0f}" for w, h in size.centres),
            f"{ratio.error:.3f}" + "*" * (k == chosen[1]),
            "  ".join(f"{r:.2f}" for r in ratio.centres[:, 0]),
        )
    return table, cluster_plots.page(sides, image_size, sizes, ratios, chosen)
