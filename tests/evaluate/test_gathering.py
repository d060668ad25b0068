import numpy as np

from ssd_jax.evaluate.gathering import pack, unpack
from ssd_jax.inference import ImageDetections


def test_detections_travel_bit_for_bit():
    rng = np.random.default_rng(0)
    found = {
        index: ImageDetections(
            f"bild {index} ü",
            rng.uniform(0, 500, (count, 4)),
            rng.uniform(size=count).astype(np.float32),
            rng.integers(1, 4, count, np.int32),
        )
        for index, count in ((3, 2), (0, 0), (7, 5), (4, 0))
    }
    moved = unpack(pack(found))
    assert list(moved) == list(found)
    for index, one in found.items():
        assert moved[index].image_id == one.image_id
        for sent, received in zip(one[1:], moved[index][1:], strict=True):
            assert received.dtype == sent.dtype
            np.testing.assert_array_equal(received, sent)


def test_a_process_whose_slots_are_all_padding_sends_nothing():
    assert unpack(pack({})) == {}
