"""Informants: planted drivers, the curve against their number, and files."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sources import informants
from omnimouse_model.analysis.sources.informants import find_informants
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.progress import QUIET, CallbackJob
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from tests.acceptance.sources import auroc


@pytest.fixture(scope="module")
def found(session):
    return om.informants("linear-gaussian", session, [0], k=5, n_random=2)


def test_planted_drivers_add_most():
    """With 1,000 neurons and more targets: `python -m tests.acceptance.sources`."""
    world = simulate_coupled(CoupledSpec(n_neurons=60, minutes=6.0, n_driven=2, seed=3))
    session = om.open_session(world.arrays)
    spec = om.OMNIMOUSE
    for target in range(2):
        adds, order = find_informants(session, np.array([target]), 8, spec, QUIET)
        assert np.isnan(adds[target])
        assert auroc(adds, world.drivers[target]) >= 0.9
        assert len({*order.tolist()}) == 8
        assert target not in order


def test_a_curve_has_informants_beside_nested_random_neurons(session, found):
    assert found.counts == (1, 2, 4, 5)
    curve, random = found.curve(), found.random_curve()
    assert len(curve) == len(random) == 4
    assert all(np.isfinite(one.low) for one in curve)
    assert found.is_complete
    text = str(found)
    assert "informants (unit ids)" in text
    assert "  1 neuron: " in text
    rows = found.curve_table()
    assert [row["choice"] for row in rows] == ["informants"] * 4 + ["random"] * 4 + ["all"]
    assert rows[-1]["n_visible"] == session.n_neurons - 1
    ranks = [row["rank"] for row in found.table()]
    assert sorted(rank for rank in ranks if rank) == [1, 2, 3, 4, 5]


def test_a_draw_of_the_targets_says_why_it_is_one(session, found, tmp_path):
    assert found.targets_text == "1 target"
    many = om.informants("linear-gaussian", session, np.arange(20), k=2, n_random=1)
    n = len(many.targets)
    assert f"{n:,} of 20 targets, drawn: at most a tenth of an area" in str(many)
    path = many.save(tmp_path / "many.informants.jsonl")
    assert om.Informants.open(path).targets_text == many.targets_text


def test_values_come_from_windows_that_did_not_choose(session, found):
    """The order depends on the train tier alone."""
    responses = np.array(session.origin["responses"])
    test = np.repeat(session.origin["trial_tier"] == "test", 80)
    responses[: len(test)][test[: len(responses)]] *= 0.5
    changed = om.open_session({**session.origin, "responses": responses, "id": "changed"})
    again = find_informants(changed, np.array([0]), 5, om.OMNIMOUSE, QUIET)[1]
    assert again.tolist() == found.order.tolist()


def test_of_many_neurons_those_with_the_largest_correlation_are_in_the_regression(
    session, monkeypatch
):
    monkeypatch.setattr(informants, "MAX_REGRESSED", 12)
    adds, order = find_informants(session, np.array([0]), 3, om.OMNIMOUSE, QUIET)
    assert np.isfinite(adds).sum() == 12
    assert np.isfinite(adds[order]).all()


def test_of_many_targets_none_is_an_informant(session, monkeypatch, tmp_path):
    monkeypatch.setattr(informants, "MAX_TARGETS", 2)
    targets = np.arange(0, 20, 2)
    adds, order = find_informants(session, targets, 30, om.OMNIMOUSE, QUIET)
    assert np.isnan(adds[targets]).all()
    assert sorted(order) == np.setdiff1d(np.arange(40), targets).tolist()
    # A file of an earlier version, which had them among the candidates, is not continued.
    ask = partial(om.informants, "linear-gaussian", session, [0, 1], k=2, n_random=1, max_windows=4)
    path = ask().save(tmp_path / "a.informants.jsonl")
    found = om.Informants.open(path)
    target, adds = found.targets[0], found.adds.copy()
    adds[target] = 0.1
    for number, fields in enumerate(
        ({"order": np.array([target, *found.order[1:]])}, {"adds": adds})
    ):
        path = replace(found, **fields).save(tmp_path / f"{number}.informants.jsonl")
        with pytest.raises(ValueError, match="Targets are among the candidates"):
            om.Informants.open(path)


def test_a_search_begins_with_a_part_of_the_neurons(session, monkeypatch):
    monkeypatch.setattr(informants, "FIRST_REGRESSED", 12)
    parts = []
    ask = partial(om.informants, "linear-gaussian", session, [0], k=3, n_random=1, max_windows=4)
    found = ask(on_part=parts.append)
    assert [int(np.isfinite(part.adds).sum()) for part in parts[:2]] == [12, 39]
    assert [part.n_windows for part in parts[:2]] == [0, 0]
    assert not np.isfinite(parts[0].curve()[0].value)
    assert len(parts[0].order) == 3
    assert parts[-1].n_windows == found.n_windows == 4
    # What was shown before has no part in the result.
    monkeypatch.setattr(informants, "FIRST_REGRESSED", 39)
    assert ask().table() == found.table()


def test_of_an_area_a_tenth_is_hidden_together(session):
    found = om.informants("linear-gaussian", session, "LM", k=2, n_random=1, max_windows=4)
    assert len(found.targets) == 2
    assert not np.isin(found.order, found.targets).any()


def test_a_result_opens_as_it_was(session, found, tmp_path):
    opened = om.Informants.open(found.save(tmp_path / "found.informants.jsonl"))
    assert opened.table() == found.table()
    assert opened.curve_table() == found.curve_table()
    path = tmp_path / "run.informants.jsonl"
    one = om.informants("linear-gaussian", session, [0], k=5, n_random=2, results=path)
    again = om.informants("linear-gaussian", session, [0], k=5, n_random=2, results=path)
    assert one.curve_table() == again.curve_table() == found.curve_table()


def test_a_stopped_search_of_informants_continues_without_another_search(
    session, found, tmp_path, monkeypatch
):
    path, done = tmp_path / "run.informants.jsonl", []
    ask = partial(om.informants, "linear-gaussian", session, [0], k=5, n_random=2, results=path)
    part = ask(job=CallbackJob(cancelled=lambda: bool(done)), on_part=done.append)
    assert not part.is_complete
    monkeypatch.setattr(informants, "find_informants", None)
    again = ask()
    assert again.is_complete
    assert again.table() == found.table()
    assert again.curve_table() == found.curve_table()
    with pytest.raises(TypeError):  # other informants are searched
        ask(seed=1)


def test_a_search_stops_between_two_choices(session):
    steps = []
    job = CallbackJob(
        lambda done, total, step: steps.append(step),
        lambda: steps[-1:] == ["greedy selection"] and steps.count(steps[-1]) > 2,
    )
    with pytest.raises(StoppedError):
        find_informants(session, np.array([0]), 8, om.OMNIMOUSE, job)
    assert steps.count("greedy selection") == 3


def test_a_file_of_other_sums_is_refused(found, tmp_path):
    path = found.save(tmp_path / "found.informants.jsonl")
    path.write_text(path.read_text().replace('"n_random": 2', '"n_random": 3'))
    with pytest.raises(ValueError, match="other questions or targets"):
        om.Informants.open(path)


def test_of_fewer_neurons_all_others_are_informants_by_default():
    world = simulate_coupled(CoupledSpec(n_neurons=12, minutes=2.0))
    session = om.open_session(world.arrays)
    found = om.informants("linear-gaussian", session, [0], n_random=1, max_windows=4)
    assert sorted(found.order.tolist()) == list(range(1, 12))
    assert found.counts == (1, 2, 4, 8, 11)


def test_wrong_requests_say_what_is_possible(session):
    with pytest.raises(ValueError, match="k is from 1 to 39"):
        om.informants("linear-gaussian", session, [0], k=40)
    with pytest.raises(UnsupportedRequestError, match="does not see responses"):
        om.informants("mean", session, [0], k=2)
