"""Imaging planes: one or all, flat or in 3-D."""

from contextlib import closing

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import AnalysisFileError
from omnimouse_model.live.analysis_file import Analysis
from omnimouse_model.live.controller import Controller

PLANE = np.array([0, 2, 2, 5, 0, -1, 5, 2])
DEPTHS = np.array([100.0, 200, 210, 300, 104, 150, np.nan, 220])


def arrays(**others: np.ndarray) -> dict[str, object]:
    rates = np.random.default_rng(0).gamma(1.0, 2.0, (900, len(PLANE)))
    return {"responses": rates, "rate_hz": 30.0, **others}


def places() -> np.ndarray:
    draw = np.random.default_rng(1)
    return np.column_stack([draw.uniform(0, 600, (len(PLANE), 2)), DEPTHS])


@pytest.fixture
def controller(tmp_path):
    memory = tmp_path / "live.json"
    with closing(Controller(synchronous=True, session_file=memory)) as made:
        made.loader.open_now(om.open_session(arrays(plane=PLANE, xyz_um=places())))
        yield made


def test_painting_is_limited_to_the_plane_shown(controller):
    controller.planes.show(2)
    assert controller.planes.number == 2
    np.testing.assert_array_equal(controller.planes.is_visible, PLANE == 2)
    np.testing.assert_array_equal(controller.planes.visible_among(np.array([7, 0, 1, 5])), [7, 1])
    with pytest.raises(ValueError, match=r"The planes are 0, 2, 5, not 1\."):
        controller.planes.show(1)


def test_a_new_session_is_shown_flat_with_all_planes(controller):
    controller.planes.show(5)
    controller.planes.show_in_space(True)
    assert controller.state.in_space
    controller.loader.open_now(om.open_session(arrays(plane=np.full(8, 3))))
    assert (controller.planes.numbers, controller.planes.number) == ((), None)
    assert not controller.state.in_space
    controller.planes.step(1)
    assert controller.planes.number is None


def test_plane_and_areas_are_saved_and_restored(controller, tmp_path):
    area = np.where(PLANE == 2, "LM", "V1")
    np.savez(tmp_path / "mouse.npz", **arrays(plane=PLANE, area=area))
    controller.loader.open_now(tmp_path / "mouse.npz")
    controller.planes.show(5)
    controller.colouring.outline_areas(True)
    assert controller.project.save(tmp_path / "a.omnimouse.json")
    controller.close()
    again = Controller(synchronous=True, session_file=tmp_path / "live.json")
    assert again.project.restore()
    other = Controller(synchronous=True, session_file=tmp_path / "other.json")
    other.project.open(tmp_path / "a.omnimouse.json")
    for second in (again, other):
        assert second.planes.number == 5
        assert second.state.areas_shown
        second.close()


def test_the_default_view_is_not_written_to_the_file():
    view = Analysis().to_dict()["view"]
    assert "plane_shown" not in view
    assert "areas_shown" not in view
    for name, wrong in (("plane_shown", -2), ("plane_shown", 1.5), ("areas_shown", 1)):
        facts = Analysis().to_dict()
        facts["view"][name] = wrong
        with pytest.raises(AnalysisFileError, match=name):
            Analysis.from_dict(facts)
