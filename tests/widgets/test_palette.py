import numpy as np

from omnimouse_widgets import palette


def test_the_state_table_holds_the_colours_by_code():
    table = palette.state_table((1, 2, 3, 4))
    assert tuple(table[1]) == (*palette.rgb(palette.VISIBLE), 2)
    assert tuple(table[2]) == (*palette.rgb(palette.TARGET), 3)


def test_viridis_runs_from_purple_to_yellow_and_grows_brighter():
    table = palette.viridis_table().astype(float)
    assert table.shape == (256, 3)
    assert tuple(table[0]) == (0x44, 0x01, 0x54)
    assert tuple(table[-1]) == (0xFD, 0xE7, 0x25)
    assert (np.diff(table[::5] @ (0.2126, 0.7152, 0.0722)) > 0).all()


def test_residuals_are_dark_at_zero():
    table = palette.residual_table()
    assert tuple(table[0]) == palette.rgb(palette.VISIBLE)
    assert tuple(table[-1]) == palette.rgb(palette.TARGET)
    assert table[128].max() < 60


def test_every_test_tier_is_a_test_tier():
    assert palette.tier_kind("final_test_2") == "test"
    assert palette.tier_kind("live_test_bonus") == "test"
    assert palette.tier_kind("oracle") == "oracle"
    assert palette.tier_kind("blank") == "none"


CONFUSED = {
    "none": np.eye(3),
    "red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""Machado et al. 2009: what people without one kind of cones see, in linear RGB."""
TO_XYZ = np.array(
    ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
)


def perceived_lab(colour: str, kind: str) -> np.ndarray:
    """CIE Lab of a colour as somebody sees it."""
    share = np.array(palette.rgb(colour)) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(CONFUSED[kind]) @ linear, 0, 1)
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ linear / (0.9505, 1.0, 1.089), 1e-3))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_curves_are_told_apart_with_any_colour_vision():
    colours = (palette.HELD, palette.PREDICTED, *palette.PINS)
    for kind in CONFUSED:
        lab = [perceived_lab(colour, kind) for colour in colours]
        for one in range(len(lab)):
            for other in range(one):
                assert np.linalg.norm(lab[one] - lab[other]) > 15, (kind, one, other)
