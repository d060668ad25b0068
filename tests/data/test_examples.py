import numpy as np
import pytest
from annotated_pictures import UPRIGHT, make_example

from ssd_jax.data import examples


def test_voc_corners_are_inclusive_and_count_from_one():
    # The whole of a picture of 40 x 60 is 1 .. 60, 1 .. 40; its width is 60 - 1 + 1.
    box = examples.continuous_box((1, 1, 60, 40), (40, 60), first_pixel=1)
    np.testing.assert_array_equal(box, (0, 0, 60, 40))
    box = examples.continuous_box((38.8, 4.5, 50.25, 9), (40, 60), first_pixel=1)
    np.testing.assert_allclose(box, (37.8, 3.5, 50.25, 9), rtol=1e-15)


def test_coco_corners_are_continuous():
    box = examples.continuous_box((0.5, 1.25, 60, 40), (40, 60), first_pixel=0)
    np.testing.assert_array_equal(box, (0.5, 1.25, 60, 40))


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((20, 5, 10, 9), r"xmin > xmax in \(20, 5, 10, 9\)"),
        ((5, 20, 10, 9), "ymin > ymax"),
        ((5, 5, 5, 9), "no area: xmin = xmax"),
        ((5, 9, 10, 9), "no area: ymin = ymax"),
        ((5, 5, 62, 9), r"outside the picture of 60 x 40: \(5, 5, 62, 9\)"),
        ((5, -1, 10, 9), "outside the picture"),
        ((70, 5, 80, 9), "outside the picture"),
        ((np.nan, 5, 10, 9), "not finite"),
        ((5, 5, np.inf, 9), "not finite"),
    ],
)
def test_boxes_that_cannot_be_used(corners, reason):
    with pytest.raises(ValueError, match=reason):
        examples.continuous_box(corners, (40, 60), first_pixel=1)


def test_a_box_beyond_the_border_by_rounding_has_no_area_inside():
    with pytest.raises(ValueError, match="no area inside the picture of 60 x 40"):
        examples.continuous_box((60, 5, 60.5, 9), (40, 60), first_pixel=0)


def test_a_pixel_outside_is_moved_onto_the_border():
    # Tools that count from 0 write xmin = 0; others round up beyond the last pixel.
    box = examples.continuous_box((0, 0, 61, 41), (40, 60), first_pixel=1)
    np.testing.assert_array_equal(box, (0, 0, 60, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_pixels(orientation):
    stored = np.zeros((6, 10), bool)
    stored[1:3, 4:9] = True  # box (4, 1, 9, 3) of 10 x 6
    upright = UPRIGHT[orientation](stored)
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    expected = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    height, width = upright.shape
    turned = examples.turn_upright(np.array([(0.4, 1 / 6, 0.9, 0.5)]), orientation)
    np.testing.assert_allclose(turned * (width, height, width, height), [expected], atol=1e-12)


def test_the_size_in_the_annotation_tells_how_to_turn_it():
    stored, upright = (40, 60), (60, 40)
    assert examples.turn_of_annotations(upright, upright, 6) == 1
    assert examples.turn_of_annotations(stored, upright, 6) == 6
    # Half a turn and squares cannot be told: what viewers show is meant.
    assert examples.turn_of_annotations((40, 60), (40, 60), 3) == 1
    assert examples.turn_of_annotations((50, 50), (50, 50), 8) == 1
    with pytest.raises(ValueError, match="annotation says 60 x 40, the picture is 40 x 60"):
        examples.turn_of_annotations(stored, upright, 1)
    with pytest.raises(ValueError, match="annotation says 61 x 40, the picture is 60 x 40"):
        examples.turn_of_annotations((40, 61), (40, 60), 1)


def test_boxes_are_normalised():
    example = make_example(boxes=[(6, 4, 30, 20), (0, 0, 60, 40)], size=(40, 60))
    np.testing.assert_allclose(example.boxes_xyxy, [(0.1, 0.1, 0.5, 0.5), (0, 0, 1, 1)])


def test_an_example_without_objects_has_arrays_of_the_right_shape():
    example = make_example(boxes=[])
    assert example.boxes_xyxy.shape == (0, 4)
    assert [len(column) for column in example[6:]] == [0, 0, 0, 0]


def test_problems_are_noted_once_and_read_well():
    problems = examples.Problems()
    for _ in range(2):
        problems.add("a.xml", "xmin > xmax", "object 3 (dog)")
    problems.add("b.jpg", "missing picture")
    assert len(problems) == 2
    assert [str(p) for p in problems] == [
        "a.xml, object 3 (dog): xmin > xmax",
        "b.jpg: missing picture",
    ]


@pytest.mark.parametrize("corners", [(0.25, 0.25, 0.75, 0.75), (0, 0, 1, 1), (0, 0.5, 1.0005, 1)])
@pytest.mark.parametrize("first_pixel", [0, 1])
def test_fractions_are_no_pixels(corners, first_pixel):
    with pytest.raises(ValueError, match="expected pixels, got corners between 0 and 1"):
        examples.continuous_box(corners, (40, 60), first_pixel=first_pixel)
    whole = examples.continuous_box((0, 0, 1, 1), (1, 1), first_pixel=0)
    np.testing.assert_array_equal(whole, (0, 0, 1, 1))  # a picture of one pixel
