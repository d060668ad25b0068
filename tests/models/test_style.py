from ssd_jax.models.style import Style


def test_channels_are_multiples_of_eight():
    assert Style().channels(512) == 512
    assert Style(width=0.25).channels(512) == 128
    assert Style(width=0.1).channels(64) == 8  # 6.4 is nearest to 8
    assert Style(width=0.01).channels(8) == 8
    # 1.0 leaves a count alone that is no multiple of 8.
    assert Style().channels(30) == 30
    # 8.8 is nearest to 8, which takes away 9.1%; 16 * 1.1 / 2 = 8.8; 11.9 would lose a third.
    assert Style(width=0.55).channels(16) == 8
    assert Style(width=0.74).channels(16) == 16  # 11.84: 8 is less than nine tenths of it


def test_added_layers_begin_smaller():
    style = Style(width=0.5, batch_norm=True)
    assert style.added() == Style(width=0.5, batch_norm=True, initial_deviation=0.01)
