"""Matrix of areas: equal numbers, common drive, past of the source, and files."""

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sources.areas import AreasPlan, ask_areas, neuron_labels
from omnimouse_model.errors import MaskError, ResultsFileError, UnsupportedRequestError
from omnimouse_model.masks.selection import NeuronGroup


@pytest.fixture(scope="module")
def found(session):
    return om.area_matrix("linear-gaussian", session, draws=2)


def test_all_areas_have_equal_numbers_of_visible_neurons(session, found):
    assert found.plan.labels == ("LM", "V1")
    assert found.plan.n_visible == 18
    targets = np.array([0, 30])
    asked = ask_areas(found.plan, session.units.area, (0, 0), session, targets, om.OMNIMOUSE)
    visible = [one.subset.mask.visible for one in asked]
    assert [int(one.any(axis=0).sum()) for one in visible] == [0, 18, 18, 18, 18]
    assert not any(one[:, targets].any() for one in visible)
    assert [one.subset.mask.has_visible_behavior for one in asked] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_a_common_drive_tells_much_alone_and_little_beyond_it(found):
    """Rates of false findings: `python -m tests.acceptance.sources`."""
    alone, beyond = found.matrix("alone"), found.matrix("beyond")
    assert alone.shape == beyond.shape == (3, 2, 2)
    assert (alone[0] > 0).all()
    assert (beyond[0] < alone[0]).all()
    assert found.of("alone", "V1", "LM").value == pytest.approx(alone[0, 1, 0])
    assert found.is_complete


def test_the_whole_matrix_is_printed_with_a_line_for_each_source(found):
    facts, *lines = str(found).splitlines()
    assert "values gain of the squared correlation beyond" in facts
    assert "; * the 95 % interval lies above 0, as in about 0.1 of the 4 cells by chance" in facts
    beyond = found.of("beyond", "LM", "V1")
    star = "*" if beyond.low > 0 else ""
    base, *lines = lines
    alone = found.inputs_alone("beyond", "V1")
    assert base.startswith("  behaviour alone (r²): LM ")
    assert base.endswith(f", V1 {alone.value:z.3f}")
    assert len(lines) == 2
    assert lines[0].startswith("  from LM: LM ")
    assert lines[0].endswith(f", V1 {beyond.value:z.3f}{star}")


def test_what_inputs_tell_alone_is_what_gains_add_to(found):
    base, gain = found.inputs_alone("beyond", "V1"), found.of("beyond", "LM", "V1")
    columns = np.flatnonzero(found.target_labels == "V1")
    together = (found.errors.pooled(1 + len(found.plan.labels))[columns] ** 2).mean()
    assert base.value + gain.value == pytest.approx(together)
    assert base.low <= base.value <= base.high
    alone = found.inputs_alone("alone", "V1")
    assert alone.value == pytest.approx(found.errors.values(np.eye(5)[0]).value[columns].mean())


def test_a_matrix_of_too_few_windows_says_why_it_has_no_intervals(session):
    few = str(om.area_matrix("linear-gaussian", session, draws=1, max_windows=3))
    assert "; no 95 % intervals over 3 windows: at least 8 are needed" in few
    assert "*" not in few


def test_the_past_of_a_source_alone(session):
    plan = AreasPlan(("LM", "V1"), 5, (), is_lagged=True)
    asked = ask_areas(plan, session.units.area, (0, 0), session, np.array([0]), om.OMNIMOUSE)
    assert asked[0].subset is None
    visible = asked[1].subset.mask.visible
    assert visible[:25].any(axis=0).sum() == 5
    assert not visible[25:].any()


def test_sets_are_planes_depths_and_groups(session):
    depths = neuron_labels(session, "depth")
    assert depths[0].endswith("µm")
    groups = [NeuronGroup.of(session, "a", range(10)), NeuronGroup.of(session, "b", range(10, 30))]
    found = om.area_matrix("linear-gaussian", session, by=groups, neurons=4, draws=1, max_windows=3)
    assert found.plan.labels == ("a", "b")
    with pytest.raises(MaskError, match="is in another group"):
        neuron_labels(session, [groups[0], NeuronGroup.of(session, "c", [9])])
    with pytest.raises(MaskError, match="0 sets of neurons"):
        om.area_matrix("linear-gaussian", session, by="plane")


def test_a_result_opens_as_it_was(session, found, tmp_path):
    opened = om.AreaMatrix.open(found.save(tmp_path / "found.areas.jsonl"))
    assert opened.table() == found.table()
    path = tmp_path / "run.areas.jsonl"
    om.area_matrix("linear-gaussian", session, draws=2, results=path)
    assert om.AreaMatrix.open(path).table() == found.table()
    table = found.to_dataframe()
    assert len(table) == 8
    inputs = table.groupby("kind")["inputs"].unique()
    assert [*inputs["alone"], *inputs["beyond"]] == ["", "behavior"]


def test_a_file_of_other_sets_with_the_same_targets_is_refused(session, tmp_path):
    """Which neurons may be visible is part of what a result is."""
    path = tmp_path / "run.areas.jsonl"

    def ask(members):
        groups = [NeuronGroup.of(session, "a", members), NeuronGroup.of(session, "b", [38, 39])]
        choice = {"by": groups, "neurons": 1, "draws": 1, "max_windows": 2, "results": path}
        return om.area_matrix("linear-gaussian", session, **choice)

    found = ask(range(38))
    others = np.setdiff1d(np.arange(38), found.errors.neurons)
    with pytest.raises(ResultsFileError, match="holds another areas"):
        ask(np.setdiff1d(np.arange(38), others[:1]))
    assert om.AreaMatrix.open(path).table() == found.table()


def test_a_file_of_other_sums_is_refused(found, tmp_path):
    path = found.save(tmp_path / "found.areas.jsonl")
    path.write_text(path.read_text().replace('["LM", "V1"]', '["LM", "RL", "V1"]'))
    with pytest.raises(ValueError, match="other questions or targets"):
        om.AreaMatrix.open(path)


def test_wrong_requests_say_what_is_possible(session):
    with pytest.raises(MaskError, match="From 1 to 18 neurons"):
        om.area_matrix("linear-gaussian", session, neurons=30)
    with pytest.raises(UnsupportedRequestError, match="does not see responses"):
        om.area_matrix("mean", session)
