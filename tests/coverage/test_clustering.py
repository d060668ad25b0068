import itertools

import numpy as np
import pytest

from ssd_jax.coverage import cluster_plots, clustering


def boxes_around(centres, count=200, spread=0.03, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.asarray(centres, float)
    noise = np.exp(spread * rng.standard_normal((len(centres), count, 2)))
    return (centres[:, None] * noise).reshape(-1, 2)


def test_sizes_are_found_and_come_by_area():
    centres = [(200, 180), (20, 30), (120, 40)]
    sides = boxes_around(centres)
    found = clustering.by_size(sides, 3, seed=1)
    np.testing.assert_allclose(found.centres, [(20, 30), (120, 40), (200, 180)], rtol=0.02)
    assert np.bincount(found.assignment).tolist() == [200, 200, 200]
    assert (found.assignment[:200] == 2).all()


def test_ratios_are_folded_and_come_by_size():
    sides = boxes_around([(100, 100 * r) for r in (1 / 3, 3, 1.6, 1 / 1.6)])
    found = clustering.by_ratio(sides, 2)
    np.testing.assert_allclose(found.centres[:, 0], [1.6, 3], rtol=0.02)
    assert np.bincount(found.assignment).tolist() == [400, 400]


def iou_by_hand(a, b):
    shared = min(a[0], b[0]) * min(a[1], b[1])
    return shared / (a[0] * a[1] + b[0] * b[1] - shared)


def test_the_error_is_the_mean_distance_and_each_box_has_its_nearest():
    rng = np.random.default_rng(0)
    sides = rng.uniform(5, 100, (60, 2))
    found = clustering.by_size(sides, 4)
    distances = np.array([[1 - iou_by_hand(a, b) for b in found.centres] for a in sides])
    np.testing.assert_array_equal(found.assignment, distances.argmin(axis=1))
    assert found.error == pytest.approx(distances.min(axis=1).mean())


def test_more_clusters_fit_better_and_one_is_the_mean():
    sides = boxes_around([(10, 20), (40, 30), (90, 90)], spread=0.4)
    errors = [clustering.by_size(sides, k).error for k in (1, 2, 3, 4)]
    assert all(a > b for a, b in itertools.pairwise(errors))
    np.testing.assert_allclose(clustering.by_size(sides, 1).centres[0], sides.mean(axis=0))


def test_the_elbow_is_where_a_cluster_takes_less_than_a_fifth():
    # .5 -> .3 takes two fifths; .3 -> .25 a sixth.
    assert clustering.elbow([1.0, 0.5, 0.3, 0.25, 0.1]) == 3
    assert clustering.elbow([1.0, 0.9]) == 1
    assert clustering.elbow([1.0, 0.5]) == 2


def test_there_are_no_more_clusters_than_different_boxes_and_ratios():
    assert clustering.most(np.array([(1, 2), (1, 2), (2, 4), (3, 3)])) == 2  # 2 and 1
    assert clustering.most(np.array([(1, 2), (3, 3), (1, 2)])) == 2


def test_too_many_clusters():
    with pytest.raises(ValueError, match="number of different boxes, got k 3 and 4 boxes"):
        clustering.by_size(np.array([(1, 2), (1, 2), (3, 4), (3, 4)]), 3)


def test_the_page_shows_what_was_chosen():
    sides = boxes_around([(40, 60), (100, 90)])
    sizes = [clustering.by_size(sides, k) for k in (1, 2, 3)]
    ratios = [clustering.by_ratio(sides, k) for k in (1, 2, 3)]
    figure = cluster_plots.page(sides, (150, 150), sizes, ratios, (2, 1))
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles[0] == "400 boxes on 150 x 150, 2 sizes"
    assert titles[2] == "1 ratios"
    assert len(figure.axes[2].lines) == 1
