"""One imaging plane or all of them, and whether the neurons have places in space."""

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
    with closing(Controller(synchronous=True, memory=memory)) as made:
        made.open_session(om.open_session(arrays(plane=PLANE, xyz_um=places())))
        yield made


def test_planes_have_the_numbers_and_depths_of_the_recording(controller):
    planes = controller.planes
    assert planes.numbers == (0, 2, 5)
    assert [planes.depth_of(n) for n in planes.numbers] == [102, 210, 300]
    assert (planes.words_of(2), planes.shown) == ("plane 2 · 210 µm", None)
    assert planes.looked_at is None
    everybody = np.arange(len(PLANE))
    np.testing.assert_array_equal(planes.among(everybody), everybody)


def test_one_plane_leaves_the_neurons_of_the_others_alone(controller):
    controller.planes.show(2)
    assert controller.planes.shown == 2
    np.testing.assert_array_equal(controller.planes.looked_at, PLANE == 2)
    np.testing.assert_array_equal(
        controller.planes.among(np.array([7, 0, 1, 5])), [7, 1]
    )
    with pytest.raises(ValueError, match=r"The planes are 0, 2, 5, not 1\."):
        controller.planes.show(1)


def test_steps_go_round_by_way_of_all(controller):
    seen = []
    for _ in range(4):
        controller.planes.step(1)
        seen.append(controller.planes.shown)
    assert seen == [0, 2, 5, None]
    controller.planes.step(-1)
    assert controller.planes.shown == 5


def test_another_session_is_shown_whole_and_flat(controller):
    controller.planes.show(5)
    controller.planes.show_in_space(True)
    assert controller.state.in_space
    controller.open_session(om.open_session(arrays(plane=np.full(8, 3))))
    assert (controller.planes.numbers, controller.planes.shown) == ((), None)
    assert not controller.state.in_space
    controller.planes.step(1)
    assert controller.planes.shown is None


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "no positions with depth"),
        ({"xyz_um": np.column_stack([np.zeros((8, 2)), DEPTHS])}, "across"),
    ],
)
def test_why_there_is_no_space_is_said(controller, known, words):
    assert controller.planes.why_flat == ""
    controller.open_session(om.open_session(arrays(**known)))
    assert words in controller.planes.why_flat
    controller.planes.show_in_space(True)
    assert not controller.state.in_space


def test_plane_and_areas_are_kept_in_an_analysis_and_over_a_restart(
    controller, tmp_path
):
    area = np.where(PLANE == 2, "LM", "V1")
    np.savez(tmp_path / "mouse.npz", **arrays(plane=PLANE, area=area))
    controller.open_session(tmp_path / "mouse.npz")
    controller.planes.show(5)
    controller.colouring.outline_areas(True)
    assert controller.analyses.save(tmp_path / "a.omnimouse.json")
    controller.close()
    again = Controller(synchronous=True, memory=tmp_path / "live.json")
    assert again.restore()
    other = Controller(synchronous=True, memory=tmp_path / "other.json")
    other.analyses.open(tmp_path / "a.omnimouse.json")
    for second in (again, other):
        assert second.planes.shown == 5
        assert second.state.areas_shown
        second.close()


def test_a_view_of_the_usual_kind_says_nothing_of_planes():
    view = Analysis().to_dict()["view"]
    assert "plane_shown" not in view
    assert "areas_shown" not in view
    for name, wrong in (("plane_shown", -2), ("plane_shown", 1.5), ("areas_shown", 1)):
        facts = Analysis().to_dict()
        facts["view"][name] = wrong
        with pytest.raises(AnalysisFileError, match=name):
            Analysis.from_dict(facts)


def test_a_plane_that_is_not_there_any_more_is_passed_over(controller, tmp_path):
    np.savez(tmp_path / "mouse.npz", **arrays(plane=PLANE))
    controller.open_session(tmp_path / "mouse.npz")
    controller.planes.show(5)
    controller.analyses.save(tmp_path / "a.omnimouse.json")
    np.savez(tmp_path / "mouse.npz", **arrays(plane=PLANE % 4))
    controller.analyses.open(tmp_path / "a.omnimouse.json")
    assert (controller.planes.numbers, controller.planes.shown) == ((0, 1, 2, 3), None)
