import dataclasses
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.ops import anchors
from ssd_jax.ops.anchors import AnchorMap, AnchorSpec, both_orientations

SSD300 = anchors.preset("ssd300_voc")
SSD512 = anchors.preset("ssd512_voc")


def square_maps(sides, **fields):
    return tuple(AnchorMap((side, side), **fields) for side in sides)


# Rows of the released models by hand: (cx, cy, w, h) in pixels, over the image size.
SSD300_ROWS = {
    # Map 1, cells of 8 pixels: centre .5 * 8 = 4. Sides 30; sqrt(30 * 60) = 42.42641;
    # 30 * sqrt(2) = 42.42641 by 30 / sqrt(2) = 21.21320, and the other way round.
    0: (4, 4, 30, 30),
    1: (4, 4, 42.42641, 42.42641),
    2: (4, 4, 42.42641, 21.21320),
    3: (4, 4, 21.21320, 42.42641),
    # One cell to the right is 4 rows on, one down 38 * 4 = 152.
    4: (12, 4, 30, 30),
    152: (4, 12, 30, 30),
    # The last cell of map 1 is row 38 * 38 * 4 - 4 = 5772; its centre, 37.5 * 8, is on the border.
    5772: (300, 300, 30, 30),
    # Map 2, cells of 16 pixels. Sides 60; sqrt(60 * 111) = 81.60882; 60 * sqrt(2) = 84.85281 and
    # 60 / sqrt(2) = 42.42641; 60 * sqrt(3) = 103.92305 and 60 / sqrt(3) = 34.64102.
    5776: (8, 8, 60, 60),
    5777: (8, 8, 81.60882, 81.60882),
    5778: (8, 8, 84.85281, 42.42641),
    5779: (8, 8, 42.42641, 84.85281),
    5780: (8, 8, 103.92305, 34.64102),
    5781: (8, 8, 34.64102, 103.92305),
    # Map 5 begins at 5776 + 2166 + 600 + 150 = 8692; cells of 100; sides 213, sqrt(213 * 264).
    8692: (50, 50, 213, 213),
    8693: (50, 50, 237.13287, 237.13287),
    # Map 6 is one cell of 300: sides 264; sqrt(264 * 315) = 288.37475; 264 * sqrt(2) = 373.35238.
    8728: (150, 150, 264, 264),
    8729: (150, 150, 288.37475, 288.37475),
    8730: (150, 150, 373.35238, 186.67619),
    8731: (150, 150, 186.67619, 373.35238),
}


def test_ssd300_rows_by_hand():
    made = anchors.generate(SSD300)
    assert made.dtype == np.float32
    expected = np.array(list(SSD300_ROWS.values())) / 300
    np.testing.assert_allclose(made[list(SSD300_ROWS)], expected, rtol=1e-6)


def test_ssd300_coco_begins_with_smaller_boxes():
    # Sides 21 and sqrt(21 * 45) = 30.74085; the last second square sqrt(261 * 315) = 286.73158.
    made = anchors.generate(anchors.preset("ssd300_coco")) * 300
    np.testing.assert_allclose(made[0], (4, 4, 21, 21), rtol=1e-6)
    np.testing.assert_allclose(made[1], (4, 4, 30.74085, 30.74085), rtol=1e-6)
    np.testing.assert_allclose(made[8729], (150, 150, 286.73158, 286.73158), rtol=1e-6)


def test_ssd512_drops_the_fractions_of_both_sizes():
    # 35.84 and 76.8 are used as 35 and 76: the second square is sqrt(35 * 76) = 51.57519.
    made = anchors.generate(SSD512) * 512
    np.testing.assert_allclose(made[0], (4, 4, 35, 35), rtol=1e-6)
    np.testing.assert_allclose(made[1], (4, 4, 51.57519, 51.57519), rtol=1e-6)
    # The last one: sqrt(460 * 537) = 497.01107.
    np.testing.assert_allclose(made[-3], (256, 256, 497.01107, 497.01107), rtol=1e-6)


def test_exact_sizes_keep_them():
    exact = AnchorSpec(SSD512.image_size, SSD512.maps, whole_pixels=False)
    # sqrt(35.84 * 76.8) = 52.46439.
    made = anchors.generate(exact) * 512
    np.testing.assert_allclose(made[0], (4, 4, 35.84, 35.84), rtol=1e-6)
    np.testing.assert_allclose(made[1], (4, 4, 52.46439, 52.46439), rtol=1e-6)


def test_ssd512_coco_sizes():
    # 20.48 -> 20 and 51.2 -> 51, sqrt(20 * 51) = 31.93744; sqrt(460 * 542) = 499.31953.
    made = anchors.generate(anchors.preset("ssd512_coco")) * 512
    np.testing.assert_allclose(made[0], (4, 4, 20, 20), rtol=1e-6)
    np.testing.assert_allclose(made[1], (4, 4, 31.93744, 31.93744), rtol=1e-6)
    np.testing.assert_allclose(made[-3], (256, 256, 499.31953, 499.31953), rtol=1e-6)


def test_a_product_just_below_a_whole_number_is_that_number():
    assert 0.29 * 100 < 29  # in float64; float32, which Caffe reads sizes as, has 29
    spec = AnchorSpec((100, 100), square_maps([1], min_size=0.29 * 100), whole_pixels=True)
    np.testing.assert_allclose(anchors.generate(spec)[0, 2:], 0.29, rtol=1e-6)


def test_centres_without_a_step_divide_the_image_evenly():
    # The paper's (i + .5) / |f_k|: .5 / 38 and 37.5 / 38, where steps of 8 give 4 / 300 and 1.
    made = anchors.generate(AnchorSpec((300, 300), square_maps([38], min_size=30)))
    np.testing.assert_allclose(made[0, :2], 0.5 / 38, rtol=1e-6)
    np.testing.assert_allclose(made[-1, :2], 37.5 / 38, rtol=1e-6)


def test_offset_moves_centres_in_cells():
    spec = AnchorSpec((8, 8), square_maps([2], min_size=4, offset=0.25))
    # Cells of 4 pixels: centres at 1 and 5.
    np.testing.assert_allclose(anchors.generate(spec)[:, 0] * 8, [1, 5, 1, 5])


def test_rectangular_images_keep_boxes_in_pixels():
    # 200 x 400 pixels, 2 x 4 cells of 100: the first centre is at (50, 50), the sixth at (150, 150)
    # as (x, y). A square of 40 pixels is 40 / 400 wide and 40 / 200 high; ratio 4 is 80 by 20.
    spec = AnchorSpec((200, 400), (AnchorMap((2, 4), 40, ratios=(4,)),))
    made = anchors.generate(spec)
    assert len(made) == spec.num_anchors == 16
    np.testing.assert_allclose(made[0], (50 / 400, 50 / 200, 0.1, 0.2), rtol=1e-6)
    np.testing.assert_allclose(made[1], (50 / 400, 50 / 200, 0.2, 0.1), rtol=1e-6)
    np.testing.assert_allclose(made[10, :2], (150 / 400, 150 / 200), rtol=1e-6)


def test_steps_are_rows_then_columns():
    spec = AnchorSpec((100, 100), (AnchorMap((2, 2), 10, step=(10, 40)),))
    np.testing.assert_allclose(
        anchors.generate(spec)[:, :2] * 100, [(20, 5), (60, 5), (20, 15), (60, 15)], rtol=1e-6
    )


def test_clip_moves_corners_to_the_border():
    spec = AnchorSpec((300, 300), SSD300.maps, clip="corners", whole_pixels=True)
    # Centre (4, 4), side 30: corners -11 and 19, clipped to 0 and 19: centre 9.5, side 19.
    np.testing.assert_allclose(anchors.generate(spec)[0] * 300, (9.5, 9.5, 19, 19), rtol=1e-6)
    # An anchor inside the image does not change: cell (2, 2), centre 20, side 30, is row 312.
    np.testing.assert_allclose(anchors.generate(spec)[312], anchors.generate(SSD300)[312])


def test_clip_shortens_sides_about_the_same_centre():
    spec = AnchorSpec((100, 100), (AnchorMap((2, 2), 90, ratios=(4.0,)),), clip="sides")
    # Cell (0, 0), centre 25. A square of 90 stays, though its corner is at -20; 90 * 2 = 180 by
    # 90 / 2 = 45 becomes 100 by 45.
    np.testing.assert_allclose(
        anchors.generate(spec)[:2] * 100, [(25, 25, 90, 90), (25, 25, 100, 45)], rtol=1e-6
    )


def test_clip_of_every_number():
    spec = AnchorSpec((100, 100), (AnchorMap((2, 2), 90, step=(80, 80), ratios=(4.0,)),))
    # Centres 40 and 120, the second moved to 100; sides as above.
    clipped = anchors.generate(dataclasses.replace(spec, clip="cxcywh")) * 100
    np.testing.assert_allclose(clipped[-1], (100, 100, 100, 45), rtol=1e-6)
    shortened = anchors.generate(dataclasses.replace(spec, clip="sides")) * 100
    np.testing.assert_allclose(shortened[-1], (120, 120, 100, 45), rtol=1e-6)


def test_an_unknown_clip_is_refused():
    with pytest.raises(ValueError, match="expected clip to be one of"):
        AnchorSpec((300, 300), SSD300.maps, clip="border")


@pytest.mark.parametrize(
    ("name", "per_cell", "count"),
    [
        ("ssd300_voc", (4, 6, 6, 6, 4, 4), 8732),
        ("ssd300_coco", (4, 6, 6, 6, 4, 4), 8732),
        ("ssd512_voc", (4, 6, 6, 6, 6, 4, 4), 24564),
        ("ssd512_coco", (4, 6, 6, 6, 6, 4, 4), 24564),
    ],
)
def test_presets_count(name, per_cell, count):
    spec = anchors.preset(name)
    assert spec.per_cell == per_cell
    assert spec.num_anchors == sum(spec.per_map) == len(anchors.generate(spec)) == count
    assert hash(spec) == hash(anchors.PRESETS[name])


EIGHT = both_orientations(1.6, 2, 3)  # DSSD
OTHERS = {  # maps of the other systems, from their publications
    "DSSD321": (
        square_maps((40, 20, 10, 5, 3, 1), min_size=32.1, max_size=64.2, ratios=EIGHT),
        17080,
    ),
    "DSSD513": (
        square_maps((64, 32, 16, 8, 4, 2, 1), min_size=20, max_size=51, ratios=EIGHT),
        43688,
    ),
    "RefineDet320": (square_maps((40, 20, 10, 5), min_size=32, ratios=(2, 1 / 2)), 6375),
    "RefineDet512": (square_maps((64, 32, 16, 8), min_size=32, ratios=(2, 1 / 2)), 16320),
    "MobileNet-SSD": (
        square_maps((19,), min_size=60, ratios=(2, 1 / 2))
        + square_maps((10, 5, 3, 2, 1), min_size=105, max_size=150, ratios=(2, 1 / 2, 3, 1 / 3)),
        1917,
    ),
}


@pytest.mark.parametrize(("maps", "count"), OTHERS.values(), ids=OTHERS)
def test_a_spec_can_express_the_other_systems(maps, count):
    spec = AnchorSpec((300, 300), maps)
    assert spec.num_anchors == len(anchors.generate(spec)) == count


def test_without_a_second_square_the_ratios_follow_the_first():
    # 32 * sqrt(2) = 45.25483 by 32 / sqrt(2) = 22.62742.
    made = anchors.generate(AnchorSpec((64, 64), square_maps([1], min_size=32, ratios=(2, 1 / 2))))
    expected = [(32, 32), (45.25483, 22.62742), (22.62742, 45.25483)]
    np.testing.assert_allclose(made[:, 2:] * 64, expected, rtol=1e-6)


def test_scales_stacked_on_one_map():
    # 10, sqrt(10 * 40) = 20, then 10 * sqrt(2) = 14.14214 by 7.07107 and the same standing; then 40
    # without a second square, and 40 * sqrt(2) = 56.56854 by 28.28427.
    ratios = both_orientations(2)
    maps = square_maps([1], min_size=10, max_size=40, ratios=ratios, more_sizes=((40, None),))
    spec = AnchorSpec((100, 100), maps)
    assert spec.per_cell == (7,)
    expected = [
        *[(10, 10), (20, 20), (14.14214, 7.07107), (7.07107, 14.14214)],
        *[(40, 40), (56.56854, 28.28427), (28.28427, 56.56854)],
    ]
    np.testing.assert_allclose(anchors.generate(spec)[:, 2:] * 100, expected, rtol=1e-6)


def test_crossing_the_border():
    boxes = [
        (0.5, 0.5, 1.0, 1.0),  # exactly the image
        (0.3, 0.5, 0.6, 0.2),  # from 0, which float32 rounds
        (0.3, 0.5, 0.601, 0.2),
        (0.5, 0.95, 0.1, 0.11),
    ]
    crossing = anchors.crossing(np.array(boxes, np.float32))
    np.testing.assert_array_equal(crossing, [False, False, True, True])


map_fields = st.fixed_dictionaries(
    {
        "map_size": st.tuples(st.integers(1, 5), st.integers(1, 5)),
        "min_size": st.floats(1, 100),
        "max_size": st.none() | st.floats(101, 300),
        "ratios": st.lists(st.floats(0.1, 10).filter(lambda r: r != 1), max_size=4).map(tuple),
        "step": st.none() | st.tuples(st.floats(1, 100), st.floats(1, 100)),
        "offset": st.floats(0, 1),
        "more_sizes": st.lists(
            st.tuples(st.floats(1, 100), st.none() | st.floats(101, 300)), max_size=2
        ).map(tuple),
    }
)


@given(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.lists(map_fields, min_size=1, max_size=3),
)
def test_any_spec_equals_a_loop_over_cells(image_size, fields):
    height, width = image_size
    expected = []
    for entry in fields:
        rows, columns = entry["map_size"]
        step_y, step_x = entry["step"] or (height / rows, width / columns)
        sizes = []
        for low, high in [(entry["min_size"], entry["max_size"]), *entry["more_sizes"]]:
            sizes.append((low, 1))
            if high:
                sizes.append((np.sqrt(low * high), 1))
            sizes += [(low, ratio) for ratio in entry["ratios"]]
        for row in range(rows):
            for column in range(columns):
                for size, ratio in sizes:
                    x, y = (column + entry["offset"]) * step_x, (row + entry["offset"]) * step_y
                    w, h = size * np.sqrt(ratio), size / np.sqrt(ratio)
                    expected.append((x / width, y / height, w / width, h / height))
    spec = AnchorSpec(image_size, tuple(AnchorMap(**entry) for entry in fields))
    assert spec.num_anchors == len(expected)
    np.testing.assert_allclose(anchors.generate(spec), expected, rtol=1e-5, atol=1e-7)


def test_linear_scales_by_hand():
    # .7 / 5 = .14 between six maps, and one step more; with a first scale, .7 / 4 = .175.
    np.testing.assert_allclose(
        anchors.linear_scales(6), (0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.04), rtol=1e-12
    )
    np.testing.assert_allclose(
        anchors.linear_scales(6, first=0.1), (0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.075), rtol=1e-12
    )
    np.testing.assert_allclose(
        anchors.linear_scales(3, s_min=0.1, s_max=0.5), (0.1, 0.3, 0.5, 0.7), rtol=1e-12
    )
    assert anchors.linear_scales(1, s_min=0.25, s_max=0.75) == (0.25, 0.75)


@given(st.integers(2, 8), st.floats(0.06, 0.4), st.floats(0.41, 1), st.none() | st.just(0.05))
def test_linear_scales_rise_and_make_a_spec(num_maps, s_min, s_max, first):
    scales = anchors.linear_scales(num_maps, s_min=s_min, s_max=s_max, first=first)
    assert scales[0] == (s_min if first is None else first)
    assert scales[-2] == pytest.approx(s_max if num_maps > 2 or first is None else s_min)
    assert (np.diff(scales) > 0).all()
    spec = AnchorSpec.from_scales((96, 64), [(3, 2)] * num_maps, scales, [(2,)] * num_maps)
    made = anchors.generate(spec).reshape(num_maps, 3, 2, 3, 4)
    # A scale is of the shorter side, 64 pixels, which is the width; the height is 96.
    np.testing.assert_allclose(made[:, 0, 0, 0, 2], scales[:-1], rtol=1e-6)
    np.testing.assert_allclose(made[:, 0, 0, 0, 3], np.array(scales[:-1]) * 64 / 96, rtol=1e-6)
    second_squares = np.sqrt(np.array(scales[:-1]) * scales[1:])
    np.testing.assert_allclose(made[:, 0, 0, 1, 2], second_squares, rtol=1e-6)


def test_from_scales_can_write_a_preset():
    two, three = both_orientations(2), both_orientations(2, 3)
    spec = AnchorSpec.from_scales(
        (300, 300),
        [(side, side) for side in (38, 19, 10, 5, 3, 1)],
        [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05],
        [two, three, three, three, two, two],
        steps=[(step, step) for step in (8, 16, 32, 64, 100, 300)],
        whole_pixels=True,
    )
    np.testing.assert_array_equal(anchors.generate(spec), anchors.generate(SSD300))


def test_both_orientations():
    assert both_orientations(2, 3) == (2, 1 / 2, 3, 1 / 3)
    assert both_orientations() == ()
    with pytest.raises(ValueError, match=r"anchors\.both_orientations: expected ratios > 0"):
        both_orientations(2, 0)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match=r"got 'ssd300voc'; nearest is 'ssd300_voc'"):
        anchors.preset("ssd300voc")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"map_size": (0, 3)}, "map_size"),
        ({"map_size": (3.0, 3.0)}, "map_size"),
        ({"map_size": [3, 3]}, "map_size"),
        ({"step": (8, -8)}, "step"),
        ({"step": (8, 8, 8)}, "step"),
        ({"min_size": 0}, "min_size > 0"),
        ({"min_size": float("nan")}, "min_size > 0"),
        ({"max_size": 30}, "max_size > min_size 30"),
        ({"max_size": 20}, "max_size > min_size 30"),
        ({"more_sizes": ((40, 0),)}, "max_size > min_size 40"),
        ({"more_sizes": ((-1, None),)}, "min_size > 0"),
        ({"ratios": (2, -1)}, "ratios > 0"),
        ({"ratios": (2, 0)}, "ratios > 0"),
        ({"ratios": (1, 2)}, "other than 1"),
        ({"ratios": [2]}, "tuple of ratios"),
    ],
)
def test_impossible_maps_are_refused(fields, message):
    entry = {"map_size": (3, 3), "min_size": 30, **fields}
    made = object.__new__(AnchorMap)
    with pytest.raises(ValueError, match=rf"anchors\.AnchorMap: expected .*{message}.*got"):
        inspect.unwrap(AnchorMap.__init__)(made, **entry)  # without type checks


def test_impossible_specs_are_refused():
    with pytest.raises(ValueError, match="at least one map"):
        AnchorSpec((300, 300), ())
    with pytest.raises(ValueError, match="expected image_size"):
        AnchorSpec((300, 0), SSD300.maps)
    with pytest.raises(ValueError, match="min_size >= 1 where whole_pixels"):
        AnchorSpec((8, 8), square_maps([2], min_size=0.5), whole_pixels=True)


@pytest.mark.parametrize(
    ("num_scales", "num_ratios", "num_steps"), [(2, 2, 2), (4, 2, 2), (3, 1, 2), (3, 2, 3)]
)
def test_lists_of_unequal_length_are_refused(num_scales, num_ratios, num_steps):
    with pytest.raises(ValueError, match="expected 3 scales, 2 ratios and 2 steps for 2 maps"):
        AnchorSpec.from_scales(
            (64, 64),
            [(4, 4), (2, 2)],
            np.linspace(0.2, 0.9, num_scales).tolist(),
            [(2,)] * num_ratios,
            steps=[(8, 8)] * num_steps,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_maps": 0}, "at least 1 maps, got 0"),
        ({"num_maps": 1, "first": 0.1}, "at least 2 maps, got 1"),
        ({"num_maps": 6, "s_min": 0.9, "s_max": 0.2}, "0 < s_min < s_max"),
        ({"num_maps": 6, "s_min": 0.5, "s_max": 0.5}, "0 < s_min < s_max"),
        ({"num_maps": 6, "s_min": 0.0}, "0 < s_min < s_max"),
        ({"num_maps": 6, "first": 0.2}, "0 < first < s_min"),
    ],
)
def test_impossible_scales_are_refused(arguments, message):
    with pytest.raises(ValueError, match=rf"anchors\.linear_scales: expected {message}"):
        anchors.linear_scales(**arguments)
