import numpy as np

from omnimouse_widgets import palette


def test_states_have_a_colour_and_a_word_each() -> None:
    assert len(palette.STATE_COLOURS) == len(palette.STATE_WORDS) == 4
    assert len(set(palette.STATE_COLOURS)) == 4


def test_the_state_table_holds_the_colours_by_code() -> None:
    table = palette.state_table((1, 2, 3, 4))
    assert tuple(table[1]) == (*palette.rgb(palette.VISIBLE), 2)
    assert tuple(table[2]) == (*palette.rgb(palette.TARGET), 3)


def test_viridis_runs_from_purple_to_yellow_and_grows_brighter() -> None:
    table = palette.viridis_table().astype(float)
    assert table.shape == (256, 3)
    assert tuple(table[0]) == (0x44, 0x01, 0x54)
    assert tuple(table[-1]) == (0xFD, 0xE7, 0x25)
    assert (np.diff(table[::5] @ (0.2126, 0.7152, 0.0722)) > 0).all()


def test_residuals_are_dark_at_zero() -> None:
    table = palette.residual_table()
    assert tuple(table[0]) == palette.rgb(palette.VISIBLE)
    assert tuple(table[-1]) == palette.rgb(palette.TARGET)
    assert table[128].max() < 60


def test_every_test_tier_is_a_test_tier() -> None:
    assert palette.tier_kind("final_test_2") == "test"
    assert palette.tier_kind("live_test_bonus") == "test"
    assert palette.tier_kind("oracle") == "oracle"
    assert palette.tier_kind("blank") == "none"
