import math
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ssd_jax.evaluate import plots
from ssd_jax.evaluate.voc_ap import Curve, area_ap, eleven_point_ap

EMPTY = Curve(np.zeros(0), np.zeros(0), np.zeros(0), 0)
MISSED = EMPTY._replace(num_objects=7)
FALSE_ONLY = Curve(np.array([0.9, 0.2]), np.zeros(2), np.zeros(2), 0)


def make_curve(seed, n, num_objects):
    rng = np.random.default_rng(seed)
    true = np.cumsum(rng.random(n) < np.linspace(0.95, 0.1, n))
    true = np.minimum(true, num_objects)
    scores = np.linspace(0.99, 0.01, n)
    return Curve(scores, true / num_objects, true / np.arange(1, n + 1), num_objects)


def lines_named(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def test_overview_orders_the_classes_by_ap():
    curves = [make_curve(0, 20, 60), make_curve(1, 200, 60), MISSED, EMPTY, FALSE_ONLY]
    names = ["low", "high", "missed", "empty", "false"]
    figure = plots.precision_recall_overview(curves, names)
    cells = [cell for cell in figure.axes if cell.get_visible()]
    titles = [cell.get_title("left") for cell in cells]
    assert titles == ["high", "low", "missed", "empty", "false"]
    aps = [eleven_point_ap(curve) for curve in (curves[1], curves[0])]
    assert [cell.get_title("right") for cell in cells] == [
        *(f"{ap:.3f}" for ap in aps),
        "0.000",
        "-",
        "-",
    ]
    # The mean of those with objects: two curves and a class that was missed.
    assert f"mAP {sum(aps) / 3:.3f}" in figure.get_suptitle()


def test_overview_covers_the_area_that_is_the_ap():
    curve = make_curve(3, 200, 60)
    figure = plots.precision_recall_overview([curve], ["a"])
    (cell,) = figure.axes
    outline = cell.collections[0].get_paths()[0].vertices
    x, y = outline[:, 0], outline[:, 1]
    covered = abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2  # the shoelace formula
    assert covered == pytest.approx(area_ap(curve), abs=1e-9)


def test_class_page_marks_the_best_f1():
    # Two objects. After each detection: precision 1, 1/2, 2/3, 1/2; recall 1/2, 1/2, 1, 1.
    # F1 = 2 p r / (p + r): 2/3, 1/2, 4/5, 2/3.
    curve = Curve(
        np.array([0.9, 0.7, 0.4, 0.3]),
        recall=np.array([0.5, 0.5, 1, 1]),
        precision=np.array([1, 0.5, 2 / 3, 0.5]),
        num_objects=2,
    )
    right = plots.class_page(curve, "a").axes[1]
    np.testing.assert_allclose(lines_named(right, "F1").get_ydata(), [2 / 3, 0.5, 0.8, 2 / 3])
    assert right.get_title() == "best F1 0.800 at score 0.400: precision 0.667, recall 1.000"


def test_scores_that_are_not_probabilities_have_their_own_axis():
    curve = make_curve(0, 50, 20)
    assert plots.class_page(curve, "a").axes[1].get_xlim() == (0, 1)
    curve = curve._replace(scores=curve.scores * 20 - 10)
    assert plots.class_page(curve, "a").axes[1].get_xlim() == pytest.approx((-9.8, 9.8))


def test_long_curves_are_thinned_to_both_ends():
    curve = make_curve(0, 100_000, 20_000)
    right = plots.class_page(curve, "a").axes[1]
    drawn = lines_named(right, "recall").get_xdata()
    assert len(drawn) <= 2000
    assert (drawn[0], drawn[-1]) == (curve.scores[0], curve.scores[-1])


def test_files(tmp_path):
    curves = [make_curve(0, 40, 10), EMPTY, MISSED, FALSE_ONLY]
    names = ["cat", "血小板 $x_$", "a/b", "a b"]  # neither a folder, nor mathematics, nor one name
    paths = plots.write_plots(tmp_path / "new", curves, names)
    assert [str(path.relative_to(tmp_path / "new")) for path in paths] == [
        "precision_recall.png",
        "precision_recall/01_cat.png",
        "precision_recall/02__x_.png",
        "precision_recall/03_a_b.png",
        "precision_recall/04_a_b.png",
    ]
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 200
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    pyplot = sys.modules.get("matplotlib.pyplot")  # another test may have imported it
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("count", [1, 3, 20, 80])
def test_overview_of_any_number_of_classes(count):
    curves = [make_curve(i, 10, 5) for i in range(count)]
    figure = plots.precision_recall_overview(curves, [f"class {i}" for i in range(count)])
    assert isinstance(figure, Figure)
    assert sum(cell.get_visible() for cell in figure.axes) == count
    width, height = figure.get_size_inches()
    assert 0.4 < height / width < 1.2


def test_no_class_with_objects():
    figure = plots.precision_recall_overview([EMPTY], ["a"])
    assert "no objects" in figure.get_suptitle()
    assert math.isnan(eleven_point_ap(EMPTY))


def test_names_must_fit_the_curves(tmp_path):
    with pytest.raises(ValueError, match="got 1 curves and 2 names"):
        plots.precision_recall_overview([EMPTY], ["a", "b"])
    with pytest.raises(ValueError, match="got 0 curves"):
        plots.write_plots(tmp_path, [], [])
