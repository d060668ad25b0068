import numpy as np
import pytest

from configs import mobilenet_ssd
from ssd_jax import config, detectors
from ssd_jax.detectors.anchor_rules import ANCHOR_RULES, ExplicitSizes, LinearScales, Preset
from ssd_jax.ops import anchors
from ssd_jax.settings import to_dict

MAPS = [(4, 4), (2, 2)]


def test_scales_rise_from_the_first_to_the_last():
    rule = LinearScales(s_min=0.2, s_max=0.8, ratios=((2.0,), (2.0, 3.0)))
    spec = rule.spec((100, 100), MAPS)
    assert [entry.min_size for entry in spec.maps] == pytest.approx([20, 80])
    assert spec.per_cell == rule.per_cell(2) == (4, 6)
    # A scale of its own for the first map, and s_min for the second, which is the last, too.
    spec = LinearScales(s_min=0.2, s_max=0.8, first_scale=0.1, ratios=((), (), ())).spec(
        (100, 100), [*MAPS, (1, 1)]
    )
    assert [entry.min_size for entry in spec.maps] == pytest.approx([10, 20, 80])


def test_sizes_are_taken_as_they_are():
    rule = ExplicitSizes(
        min_sizes=(10.0, 40.0),
        max_sizes=(40.0, 0.0),
        more_sizes=((), ((60.0, 0.0), (70.0, 90.0))),
        ratios=((2.0,), ()),
        steps=(25.0, 50.0),
        clip="corners",
    )
    first, second = rule.spec((100, 100), MAPS).maps
    assert (first.min_size, first.max_size, first.ratios) == (10, 40, (2.0, 0.5))
    assert (first.step, second.step) == ((25, 25), (50, 50))
    assert (second.min_size, second.max_size) == (40, None)
    assert second.more_sizes == ((60, None), (70, 90))
    assert rule.spec((100, 100), MAPS).clip == "corners"
    # Two squares and 2:1 both ways; squares of 40, of 60, and two of 70 and 90.
    assert rule.per_cell(2) == (4, 4)


def test_every_published_set_is_a_preset():
    for name in anchors.PRESETS:
        published = anchors.preset(name)
        sizes = [entry.map_size for entry in published.maps]
        assert Preset(name).spec(published.image_size, sizes) == published
        assert Preset(name).per_cell(len(sizes)) == published.per_cell


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (LinearScales(), r"anchors\.ratios: expected one value for each of the 2 maps, got 0"),
        (LinearScales(ratios=((), ()), steps=(1.0,)), r"anchors\.steps: expected one value"),
        (LinearScales(s_min=0.9, s_max=0.2, ratios=((), ())), "s_min"),
        (ExplicitSizes(ratios=((), ())), r"anchors\.min_sizes: expected one value"),
        (
            ExplicitSizes(min_sizes=(1.0, 2.0), max_sizes=(2.0,), ratios=((), ())),
            r"anchors\.max_sizes: expected one value for each of the 2 maps, got 1",
        ),
        (Preset("ssd300_voc"), r"anchors\.preset: 'ssd300_voc' is for an input of \(300, 300\)"),
        (Preset("ssd300"), "ssd300_"),
    ],
)
def test_a_rule_that_does_not_fit_names_its_field(rule, message):
    with pytest.raises(ValueError, match=message):
        rule.spec((100, 100), MAPS)


def test_rules_are_registered_and_hash_by_their_fields():
    assert [ANCHOR_RULES.name_of(x) for x in (LinearScales(), ExplicitSizes(), Preset())] == [
        *("linear", "sizes", "preset")
    ]
    # What coverage is kept by: equal anchors are one key.
    assert len({LinearScales(s_min=0.2), LinearScales(), LinearScales(s_min=0.3)}) == 2
    assert to_dict(Preset())["preset"] == "ssd300_voc"


@pytest.mark.parametrize(
    ("variant", "maps"),
    [("300,voc", (19, 10, 5, 3, 2, 1)), ("lite,voc", (19, 10, 5, 3, 2, 1))],
)
def test_mobilenet_ssd_has_1917_boxes(variant, maps):
    values = mobilenet_ssd.get_config(variant)
    values.model.num_classes = 21
    detector = detectors.build(config.resolve(values))
    assert detector.anchors.shape == (1917, 4)
    assert tuple(m.map_size for m in detector.anchor_spec.maps) == tuple((n, n) for n in maps)
    # One square of 60 pixels and 2:1 both ways on the first map: 60 * sqrt(2) = 84.85.
    np.testing.assert_allclose(
        detector.anchors[:3, 2:] * 300,
        [[60, 60], [84.85281, 42.42641], [42.42641, 84.85281]],
        rtol=1e-5,
    )
    # 19 cells without a fixed step: the first centre is at half a cell.
    np.testing.assert_allclose(detector.anchors[0, :2], 0.5 / 19, rtol=1e-6)
