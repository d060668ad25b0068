import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssd_jax import draw

NAMES = ("cat", "dog", "traffic light")
WHITE = np.full((200, 300, 3), 255, np.uint8)
BLACK = np.zeros((200, 300, 3), np.uint8)
BOX = (100, 80, 220, 180)


def pixels(picture):
    return np.asarray(picture).astype(int)


def of_color(picture, color):
    return (pixels(picture) == color).all(axis=-1)


@pytest.mark.parametrize("background", [WHITE, BLACK])
def test_a_box_is_a_line_of_its_color_with_dark_edges(background):
    before = background.copy()
    picture = draw.draw_detections(background, [BOX], [2], [0.5], NAMES)
    np.testing.assert_array_equal(background, before)
    assert (picture.mode, picture.size) == ("RGB", (300, 200))
    # The line is 2 pixels wide, inside the box, with an edge of 1 pixel on both sides.
    row = pixels(picture)[130]
    color = list(draw.class_color(2))
    for line, edges in (((100, 101), (99, 102)), ((218, 219), (217, 220))):
        assert all(row[x].tolist() == color for x in line)
        assert all(row[x].max() < 50 for x in edges)
    untouched = np.ones(300, bool)
    untouched[99:103] = untouched[217:221] = False
    np.testing.assert_array_equal(row[untouched], before[130][untouched])


def test_the_tag_stands_above_the_box_and_holds_readable_text():
    picture = draw.draw_detections(WHITE, [BOX], [2], [0.5], NAMES)
    with_other_text = draw.draw_detections(WHITE, [BOX], [2], None, NAMES)
    tag = of_color(picture, draw.class_color(2))[:79]
    rows, columns = np.nonzero(tag)
    assert rows.max() <= 79
    assert 60 <= rows.min() < 70
    assert columns.min() == 101  # behind the tag's own edge
    assert columns.max() < 220
    # "dog 0.50" is longer than "dog", and text covers a part of either tag.
    assert columns.max() > np.nonzero(of_color(with_other_text, draw.class_color(2))[:79])[1].max()
    assert 0.4 < tag[rows.min() : rows.max(), 101 : columns.max()].mean() < 0.95


def contrast(a, b):
    """WCAG's contrast ratio, written out."""

    def luminance(color):
        parts = [v / 255 for v in color]
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_colors_are_stable_different_and_carry_text():
    colors = [draw.class_color(label) for label in range(1, 97)]
    assert len(set(colors)) == 96
    assert draw.class_color(97) == colors[0]
    # Any two of the first 20 differ by 90 of 765 or more over the three channels.
    gaps = [np.abs(np.subtract(a, b)).sum() for a, b in itertools.combinations(colors[:20], 2)]
    assert min(gaps) >= 90
    image, box = np.full((600, 900, 3), 128, np.uint8), (300, 240, 660, 540)
    for label, color in enumerate(colors, start=1):
        tag = pixels(draw.draw_detections(image, [box], [label], None, ["HHH"] * 96))[205:238, 302:]
        text = max(((0, 0, 0), (255, 255, 255)), key=lambda ink: contrast(ink, color))
        assert contrast(text, color) >= 4.5
        assert (tag[:, :60] == color).all(axis=-1).sum() > 200
        assert (tag[:, :60] == text).all(axis=-1).sum() > 100


def test_the_best_detection_is_on_top():
    for scores in ([0.9, 0.1], [0.1, 0.9]):
        picture = draw.draw_detections(WHITE, [BOX, BOX], [1, 2], scores, NAMES)
        best = 1 + int(np.argmax(scores))
        assert pixels(picture)[130, 100].tolist() == list(draw.class_color(best))


def test_tags_avoid_each_other():
    both = draw.draw_detections(WHITE, [BOX, BOX], [1, 2], [0.9, 0.8], NAMES)
    for label in (1, 2):
        alone = draw.draw_detections(WHITE, [BOX], [label], [1 - label / 10], NAMES)
        tag = np.sum(of_color(alone, draw.class_color(label))[:79])
        # As many pixels of the tag's color as when it has the place for itself.
        assert np.sum(of_color(both, draw.class_color(label))) >= tag > 200


@pytest.mark.parametrize("low", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_tags_stay_inside_the_picture_and_take_free_places(low, seed):
    rng = np.random.default_rng(seed)
    taken = []
    for _ in range(6):
        corners = np.sort(rng.uniform(0, 100, (2, 2)), axis=0)
        place = draw._free_place((*corners[0], *corners[1]), (20, 10), taken, (100, 100), low=low)
        assert min(place) >= 0
        assert max(place) <= 100
        assert (place[2] - place[0], place[3] - place[1]) == pytest.approx((20, 10))
        taken.append(place)
    # Where nothing is taken, it is the place next to the upper (lower) left corner.
    box = (30.0, 40.0, 60.0, 70.0)
    expected = (30, 70, 50, 80) if low else (30, 30, 50, 40)
    assert draw._free_place(box, (20, 10), [], (100, 100), low=low) == expected


def test_boxes_outside_the_picture_are_not_drawn():
    outside = [(-50, 10, -1, 60), (300, 10, 350, 60), (10, -40, 90, -1), (10, 200, 90, 260)]
    picture = draw.draw_detections(WHITE, outside, [1] * 4, [0.9] * 4, NAMES)
    np.testing.assert_array_equal(pixels(picture), WHITE)


def test_boxes_that_leave_the_picture_end_at_its_border():
    picture = draw.draw_detections(BLACK, [(-50, -50, 400, 400)], [1], [0.9], NAMES)
    color = list(draw.class_color(1))
    for row, column in ((100, 0), (100, 299), (199, 150), (0, 250)):
        assert pixels(picture)[row, column].tolist() == color


@pytest.mark.parametrize("box", [(50, 60, 50, 60), (50, 60, 90, 60), (299.9, 60, 299.9, 90)])
def test_boxes_without_area_are_marked(box):
    picture = draw.draw_detections(WHITE, [box], [1], None, NAMES)
    assert of_color(picture, draw.class_color(1)).sum() > 100
    draw.draw_ground_truth(WHITE, [box], [1], NAMES)


def test_no_boxes_leave_the_picture_as_it_is():
    for boxes in (np.zeros((0, 4)), []):
        picture = draw.draw_detections(WHITE, boxes, [], [], NAMES)
        np.testing.assert_array_equal(pixels(picture), WHITE)
        np.testing.assert_array_equal(pixels(draw.draw_ground_truth(WHITE, boxes, [], ())), WHITE)


@pytest.mark.parametrize(
    "name",
    ["Blutplättchen", "血小板", "cell 🩸", "\u202bתא", "two\nlines\tand a tab", "", "x" * 500],
)
@pytest.mark.parametrize("side", [8, 32, 150, 700])
def test_any_name_on_any_size(name, side):
    image = np.zeros((side, side, 3), np.uint8)
    box = np.array([0.2, 0.5, 0.7, 0.9]) * side
    drawn = draw.draw_detections(image, [box], [1], [0.5], [name])
    assert drawn.size == (side, side)
    assert of_color(drawn, draw.class_color(1)).any()
    draw.draw_ground_truth(image, [box], [1], [name])


def test_lines_and_text_grow_with_the_picture():
    def line_and_tag(width, height):
        box = np.array([0.3, 0.4, 0.6, 0.8]) * (width, height, width, height)
        image = Image.new("RGB", (width, height))
        drawn = of_color(draw.draw_detections(image, [box], [1], None, NAMES), draw.class_color(1))
        line = drawn[int(0.6 * height), : width // 2].sum()
        return line, np.ptp(np.nonzero(drawn[: int(box[1])].any(axis=1))[0])

    (thin, low), (thick, high) = line_and_tag(400, 300), line_and_tag(4000, 3000)
    assert (thin, thick) == (2, 16)  # sqrt(12e6) / 220 = 15.7
    assert 8 < high / low < 12


def test_ground_truth_is_dashed_in_black_and_white():
    for background in (WHITE, BLACK):
        picture = pixels(draw.draw_ground_truth(background, [BOX], [1], NAMES))
        left = picture[82:150, 100]
        assert 0.3 < (left.min(axis=1) > 240).mean() < 0.7
        assert 0.3 < (left.max(axis=1) < 30).mean() < 0.7


def test_detections_over_ground_truth_take_arrays_and_pictures():
    array = np.asarray(draw.draw_ground_truth(WHITE, [BOX], [1], NAMES))
    for first in (array, Image.fromarray(array), Image.fromarray(array).convert("RGBA")):
        both = draw.draw_detections(first, [(20, 40, 90, 90)], [2], [0.5], NAMES)
        assert pixels(both)[60, 20].tolist() == list(draw.class_color(2))
        np.testing.assert_array_equal(pixels(both)[100:, 95:], array[100:, 95:])


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match=r"labels in 1 \.\. 3 \(0 is background\), got \[0\]"):
        draw.draw_detections(WHITE, [BOX], [0], [0.5], NAMES)
    with pytest.raises(ValueError, match=r"got \[4\]"):
        draw.draw_ground_truth(WHITE, [BOX], [4], NAMES)
    with pytest.raises(ValueError, match="finite box for each of 2 labels"):
        draw.draw_detections(WHITE, [BOX], [1, 2], [0.5, 0.5], NAMES)
    with pytest.raises(ValueError, match="finite box"):
        draw.draw_detections(WHITE, [(0, 0, np.nan, 5)], [1], [0.5], NAMES)
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\], got float32 \(5, 5, 3\)"):
        draw.draw_detections(np.zeros((5, 5, 3), np.float32), [], [], [], NAMES)
    with pytest.raises(ValueError, match=r"got uint8 \(5, 5\)"):
        draw.contact_sheet([np.zeros((5, 5), np.uint8)], 2)
    with pytest.raises(ValueError, match="at least one picture and one column"):
        draw.contact_sheet([], 2)
    with pytest.raises(ValueError, match="at least one picture and one column"):
        draw.contact_sheet([WHITE], 0)


def test_contact_sheet():
    red = np.full((50, 100, 3), (255, 0, 0), np.uint8)
    green = Image.new("RGB", (400, 800), (0, 255, 0))
    sheet = pixels(draw.contact_sheet([red, green, red], 2, tile=200, gap=10))
    # 400 x 800 becomes 100 x 200: cells of 100 x 200, two rows of two, gaps of 10 around.
    assert sheet.shape == (2 * 210 + 10, 2 * 110 + 10, 3)
    expected = np.full(sheet.shape, 48)
    expected[85:135, 10:110] = (255, 0, 0)  # 50 rows in the middle of 200
    expected[10:210, 120:220] = (0, 255, 0)
    expected[295:345, 10:110] = (255, 0, 0)
    np.testing.assert_array_equal(sheet, expected)
    assert green.size == (400, 800)
    # No more columns than pictures.
    assert draw.contact_sheet([red], 5, gap=10).size == (120, 70)
