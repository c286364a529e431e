"""Sources: definitions, groups that never tell each other, files, and refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.sources.errors import Errors, Samples, target_groups
from omnimouse_model.analysis.sources.sources import PERMUTATIONS, SourcesPlan, ask_sources
from omnimouse_model.errors import MaskError, ResultsFileError, UnsupportedRequestError
from omnimouse_model.evaluation.tier_windows import mean_rates, scored_starts
from omnimouse_model.families.parts.linear_gaussian.fit import MOST_S, train_series
from omnimouse_model.families.parts.linear_gaussian.predictor import LinearGaussian
from omnimouse_model.masks import Mask
from omnimouse_model.masks.selection import NeuronGroup
from omnimouse_model.predict.predictor import Subset, predict_subsets_of, predicted_subsets
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, shifted, simulate_coupled
from tests.acceptance.sources import (
    TRAIN_WINDOWS,
    area_rows,
    pooled,
    ridge_inputs,
    shifted_rows,
    single_rows,
)

NAMES = ("behavior", "history", "same area", "other areas")


@pytest.fixture(scope="module")
def found(session):
    return om.sources("linear-gaussian", session, targets="V1")


def test_shares_sum_to_the_value_of_all_sources(found):
    shares = np.sum([found.of("share", name).value for name in found.names], axis=0)
    assert found.names == NAMES
    np.testing.assert_allclose(shares, found.total().value, atol=1e-6)
    mean = sum(found.mean_of("share", name).value for name in found.names)
    assert mean == pytest.approx(found.mean_total().value, abs=1e-6)


def test_behavior_that_tells_nothing_takes_no_factors_from_the_neurons():
    """Hidden behaviour is a column of the model: to show it must not help the others."""
    spec = CoupledSpec(seed=101, n_neurons=60, minutes=8.0, driven_by_running=0.1)
    session = om.open_session(shifted(simulate_coupled(spec), "behavior"))
    found = om.sources("linear-gaussian", session, ["behavior", "same area"], max_windows=60)
    assert found.mean_of("unique", "behavior").value < 1e-3


def test_values_are_those_of_masks_made_by_hand(session, found):
    """Alone and unique of a source, from predictions of one mask after the other."""
    predictor = om.load_predictor("linear-gaussian")
    spec = predictor.needs.spec
    group = target_groups(session.units.area, om.select_areas(session, "V1"), 0)[0]
    neuron = int(group[0])
    samples = Samples.of(session, spec)
    others = np.setdiff1d(om.select_areas(session, "V1"), group)
    lateral = np.setdiff1d(np.arange(session.n_neurons), om.select_areas(session, "V1"))
    past = Mask.nothing(session, spec).ask([neuron], samples.scored).show([neuron], samples.own)
    masks = {
        "history": past,
        "rest": past.hide([neuron], samples.own)
        .ask([neuron], samples.scored)
        .show(np.union1d(others, lateral))
        .with_behavior(True),
    }
    masks["all"] = masks["rest"].show([neuron], samples.own)
    errors, base = dict.fromkeys(masks, 0.0), 0.0
    mean = mean_rates(session, spec)[neuron]
    starts = scored_starts(session, "test", None, spec)
    for start in starts:
        window = session.window(float(start), spec)
        for name, mask in masks.items():
            one = predictor.predict(window, mask, np.array([neuron])).responses[:, 0]
            scored = np.isfinite(one)
            assert scored.sum() == samples.scored[1] - samples.scored[0]
            response = window.responses[scored, neuron]
            errors[name] += float(((one[scored] - response) ** 2).sum())
        base += float(((response - mean) ** 2).sum())
    at = found.neurons.tolist().index(neuron)
    value = {name: 1 - error / base for name, error in errors.items()}
    assert found.of("alone", "history").value[at] == pytest.approx(value["history"], abs=1e-5)
    assert found.total().value[at] == pytest.approx(value["all"], abs=1e-5)
    unique = found.of("unique", "history").value[at]
    assert unique == pytest.approx(value["all"] - value["rest"], abs=1e-5)


def test_members_of_a_group_are_hidden_together_and_never_a_source(session):
    areas = session.units.area
    groups = target_groups(areas, np.arange(session.n_neurons), seed=0)
    assert sorted(np.concatenate(groups)) == list(range(session.n_neurons))
    for group in groups:
        for area in np.unique(areas):
            assert (areas[group] == area).sum() <= max((areas == area).sum() // 10, 1)
    predictor = om.load_predictor("linear-gaussian")
    plan = SourcesPlan.of(NAMES, 0)
    for asked in ask_sources(plan, session, groups[0], predictor.needs.spec):
        if asked.subset is not None:
            assert not asked.subset.mask.visible[:, groups[0]].any()
            own = asked.subset.own
            assert (own[1] > 0) == (1 in plan.subsets[asked.question])


def test_own_past_of_a_target_does_not_reach_another_target(session):
    predictor = om.load_predictor("linear-gaussian")
    spec = predictor.needs.spec
    samples = Samples.of(session, spec)
    targets = np.array([2, 5])
    mask = Mask.nothing(session, spec).ask(targets, samples.scored).show([7, 9])
    both = Subset(mask, targets, samples.own)
    one = Subset(mask.hide([5]), targets[:1], samples.own)
    windows = [session.window(20.0, spec)]
    together, alone = predicted_subsets(predictor, windows, [both, one])[0]
    np.testing.assert_allclose(together[:, :1], alone, atol=1e-5)
    by_masks = predict_subsets_of(predictor, windows, [both])[0][0]
    np.testing.assert_allclose(together, by_masks, atol=1e-4)


class MaskByMask(LinearGaussian):
    """The baseline without sums of its own for many subsets."""

    @property
    def needs(self):
        return replace(super().needs, methods=frozenset())


def test_any_predictor_answers_mask_by_mask(session):
    names = ["behavior", "history", "same area"]
    choice = {"targets": [3, 8, 30], "max_windows": 3}
    one = om.sources(MaskByMask(), session, names, **choice)
    other = om.sources("linear-gaussian", session, names, **choice)
    np.testing.assert_allclose(one.errors.squared, other.errors.squared, rtol=1e-3)


class Late(MaskByMask):
    """Cannot predict some samples, and says so."""

    def decode(self, encoded, neurons=None, cancelled=lambda: False):
        found = super().decode(encoded, neurons, cancelled)
        return replace(found, valid=np.arange(60) >= 45)


def test_samples_that_a_model_calls_invalid_are_not_scored(session):
    choice = {"targets": [3], "max_windows": 2}
    found = om.sources(Late(), session, ["behavior", "history"], **choice)
    assert found.errors.count.sum() == 2 * 15


def test_sources_that_a_model_cannot_see_are_left_out_with_the_reason(session):
    found = om.sources("linear-gaussian", session, ["video", "history"], [3], max_windows=2)
    assert found.names == ("history",)
    assert found.refused == {"video": "the recording has no video"}
    with pytest.raises(UnsupportedRequestError, match="has no source: the model does not see"):
        om.sources("last", session, ["behavior"])


def test_a_source_with_a_typing_error_is_refused_with_all_that_there_are(session):
    words = "no source 'vidoe'; there are behavior, .*running.*, history, same area, "
    words += "other areas, other neurons, and the areas LM, V1"
    with pytest.raises(MaskError, match=words):
        om.sources("linear-gaussian", session, ["vidoe"])


def test_one_target_is_a_number(session):
    ask = {"sources": ["history"], "max_windows": 2}
    assert om.sources("linear-gaussian", session, targets=3, **ask).neurons.tolist() == [3]
    one = om.informants("linear-gaussian", session, np.int64(3), k=1, n_random=1, max_windows=2)
    assert one.targets.tolist() == [3]
    for wrong in (session.n_neurons, True):
        with pytest.raises(ValueError, match="indices from 0 to"):
            om.sources("linear-gaussian", session, targets=wrong, **ask)


def test_intervals_end_at_the_largest_possible_value():
    """Blocks that differ much: half of the interval of 0.9 is longer than 0.1."""
    baseline = np.ones((8, 1))
    squared = np.array([[0.8, *[0.0] * 7], [1.8, *[0.0] * 7]])[:, :, None]
    errors = replace(
        Errors.none(np.array([0]), 2, 8), count=baseline, baseline=baseline, squared=squared
    )
    alone, unique = np.array([1.0, 0.0]), np.array([1.0, -1.0])
    assert errors.values(alone).high.tolist() == [1.0]
    assert errors.mean(alone).high == 1.0
    assert errors.values(alone).low[0] < 0.9
    # A difference has no such limit: what is left may be worse than the mean.
    assert errors.values(np.array([10.0, -10.0])).high[0] > 1
    assert errors.mean(unique).high == pytest.approx(errors.values(unique).high[0])


def test_a_value_of_several_held_out_parts_is_one_ratio_of_sums():
    """The second neuron is silent in the second part: what is wrong there hardly counts."""
    errors = np.array([[4.0, 10.0], [6.0, 0.01]])
    squared = np.array([[3.0, 8.0], [3.0, 0.02]])
    # One method, block and source of each.
    parts = [
        (part[None, None, :, None], whole[None])
        for part, whole in zip(squared, errors, strict=True)
    ]
    expected = 1 - squared.sum(axis=0) / errors.sum(axis=0)
    np.testing.assert_allclose(pooled(parts)[0, :, 0], expected)
    # The mean of the ratios would be -0.4.
    assert expected[1] > 0.19
    # Without any error in a part, the value is that of the others.
    silent = (np.array([2.4, 0.0])[None, None, :, None], np.array([[6.0, 0.0]]))
    np.testing.assert_allclose(pooled([parts[0], silent])[0, :, 0], [0.46, 0.2])


def test_values_of_other_windows_share_none():
    """Blocks in turn: each half has the windows that the other has not."""
    squared, errors = np.array([1.0, 0.5, 3.0, 0.5]), np.array([2.0, 1.0, 2.0, 1.0])
    part = (squared[None, :, None, None], errors[:, None])
    assert pooled([part], slice(0, None, 2)).item() == 0.0
    assert pooled([part], slice(1, None, 2)).item() == 0.5


def test_ridges_of_sources_read_as_much_of_a_long_recording_as_the_model():
    """Of windows that overlap by half, each adds its second half: 600 were 10 minutes."""
    spec = CoupledSpec(n_neurons=20, minutes=40.0)
    session = om.open_session(simulate_coupled(spec).arrays)
    read = ridge_inputs(session, "train", TRAIN_WINDOWS, np.zeros(20, np.float32))
    n_read = len(train_series(session, om.OMNIMOUSE, most_s=MOST_S).run)
    assert len(read["responses"]) == pytest.approx(n_read, rel=0.15)


def test_groups_of_neurons_and_channels_are_sources(session):
    group = NeuronGroup.of(session, "pair", [3, 4])
    names = ["running", group, "history"]
    found = om.sources("linear-gaussian", session, names, targets=[3, 20], max_windows=9)
    assert found.names == ("running", "pair", "history")
    assert np.isfinite(found.of("share", "pair").value).all()


def test_of_many_sources_orders_are_sampled_with_their_error(session):
    names = ["history", "running", "pupil_x", "pupil_y", "pupil_size", "V1", "LM"]
    plan = SourcesPlan.of(names, seed=1)
    assert len(plan.orders) == PERMUTATIONS
    assert plan.subsets[-1] == tuple(range(7))
    assert len(plan.subsets) < 2**7 - 1
    total = sum(plan.weights("share", k) for k in range(7))
    np.testing.assert_allclose(total, np.eye(len(plan.subsets))[-1], atol=1e-12)
    found = om.sources("linear-gaussian", session, names, targets=[3, 20], max_windows=9)
    shares = sum(found.of("share", name).value for name in found.names)
    np.testing.assert_allclose(shares, found.total().value, atol=1e-6)
    assert (found.sampling_error("history") > 0).all()


def test_a_stopped_analysis_continues_with_the_same_result(session, found, tmp_path):
    path = tmp_path / "v1.sources.jsonl"
    done = []
    job = CallbackJob(lambda *_: None, lambda: len(done) > 1)
    part = om.sources(
        "linear-gaussian", session, targets="V1", results=path, job=job, on_part=done.append
    )
    assert not part.is_complete
    assert len(om.SourceScores.open(path).neurons) == len(part.neurons)
    again = om.sources("linear-gaussian", session, targets="V1", results=path)
    assert again.is_complete
    np.testing.assert_array_equal(again.errors.squared, found.errors.squared)
    opened = om.SourceScores.open(path)
    assert opened.table() == again.table()
    with pytest.raises(ResultsFileError, match="another sources"):
        om.sources("linear-gaussian", session, targets="LM", results=path)


def test_a_saved_result_opens_as_it_was(found, tmp_path):
    opened = om.SourceScores.open(found.save(tmp_path / "found.sources.jsonl"))
    assert opened.table() == found.table()
    assert repr(opened) == repr(found)
    table = found.write_csv(tmp_path / "found.csv").read_text()
    assert "unique_low" in table.splitlines()[0]


def test_a_saved_file_is_not_taken_for_that_of_another_result(found, tmp_path):
    path = found.save(tmp_path / "found.sources.jsonl")
    assert found.save(path) == path
    errors = replace(found.errors, squared=2 * found.errors.squared)
    with pytest.raises(ResultsFileError, match="holds another result"):
        replace(found, errors=errors).save(path)
    assert om.SourceScores.open(path).table() == found.table()


def test_a_file_of_other_sums_or_of_too_many_subsets_is_refused(found, tmp_path):
    path = found.save(tmp_path / "found.sources.jsonl")
    header, row = path.read_text().splitlines()
    facts = json.loads(header)
    facts["definition"]["sources"] = [f"source {k}" for k in range(40)]
    path.write_text(f"{json.dumps(facts)}\n{row}\n")
    with pytest.raises(ValueError, match="All subsets of 40 sources are too many"):
        om.SourceScores.open(path)
    facts["definition"]["sources"] = ["history"]
    path.write_text(f"{json.dumps(facts)}\n{row}\n")
    with pytest.raises(ValueError, match="other questions or targets"):
        om.SourceScores.open(path)
    facts["definition"] = json.loads(header)["definition"] | {"neurons": [0, 1]}
    path.write_text(f"{json.dumps(facts)}\n{row}\n")
    with pytest.raises(ValueError, match="other questions or targets"):
        om.SourceScores.open(path)


def test_cells_that_one_question_cannot_predict_count_for_none():
    errors = Errors.none(np.array([4]), 2, 1)
    response = np.array([[1.0], [2.0], [np.nan]])
    found = np.array([[[1.0], [2.0], [3.0]], [[0.0], [np.nan], [3.0]]])
    errors.add(0, response, np.zeros(1), found)
    assert errors.count.tolist() == [[1.0]]
    assert errors.squared[:, 0, 0].tolist() == [0.0, 1.0]


def test_a_target_without_any_cell_does_not_change_a_mean_gain():
    random = np.random.default_rng(0)
    errors = Errors.none(np.array([4, 7]), 2, 9, by_block=True)
    for block in range(9):
        response = random.normal(size=(20, 2))
        found = np.stack([random.normal(size=(20, 2)), response + random.normal(size=(20, 2))])
        response[:, 1] = np.nan
        errors.add(block, response, np.zeros(2), found)
    both, alone = (errors.mean_gain(1, 0, np.arange(n)) for n in (2, 1))
    assert alone.value > 0.2
    assert (both.value, both.low) == (alone.value, alone.low)
    assert np.isnan(errors.mean_gain(1, 0, np.array([1])).value)


@pytest.mark.slow
def test_a_single_source_has_the_share_and_a_shifted_one_tells_nothing():
    """A sample of `python -m tests.acceptance.sources`."""
    kinds = ("behavior", "history", "same area", "other areas")
    assert min(row.value for row in single_rows(1, 4.0, kinds)) > 0.6
    behavior, lateral = shifted_rows(1, n_neurons=30, minutes=4.0)
    assert behavior.n == 30
    assert lateral.value <= 0.1
    (areas,) = area_rows(1, minutes=4.0)
    assert areas.value <= 0.25


def test_a_target_with_most_variance_in_one_block_is_said_to_be_uncertain(found):
    assert "unsure" not in found._facts()
    baseline = found.errors.baseline.copy()
    baseline[3, 0] = 2 * baseline[:, 0].sum()
    one = replace(found, errors=replace(found.errors, baseline=baseline))
    assert one.errors.is_one_event.tolist() == [True] + [False] * (len(found.neurons) - 1)
    assert "one block of time has most of the variance of 1 target: its intervals" in str(one)
