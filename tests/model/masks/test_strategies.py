"""Strategies: names, rules, adaptation to small populations, realised cells."""

import numpy as np
import pytest

from omnimouse_model.analysis.evaluate import evaluate
from omnimouse_model.analysis.predictions import predict_session
from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session
from omnimouse_model.errors import EmptyMaskError, MaskError
from omnimouse_model.families.omnimouse.token_layout import token_starts
from omnimouse_model.families.omnimouse.tokens import layout_from_mask, query_starts
from omnimouse_model.masks import input_cells, scored_cells
from omnimouse_model.masks.mask import Mask
from omnimouse_model.masks.selection import half_population_mask
from omnimouse_model.masks.strategies import Strategy, find_strategy, full_name, strategy_names
from tests.model.plain_masks import official_rows, plain_mask, scaled_counts
from tests.predictors import EchoPredictor


def test_all_official_names_are_there_and_two_of_them_differ():
    names = strategy_names()
    groups = [name.split("/")[0] for name in names]
    expected = {"train": 120, "validation": 8, "test": 21, "test_additional": 25}
    assert {g: groups.count(g) for g in set(groups)} == expected
    for group, first in (("test", 0), ("test_additional", 15)):
        mask = Mask.from_strategy(f"{group}/causal_response_10_behavior", 4096)
        shown = np.flatnonzero(mask.visible.any(axis=1))
        assert shown.tolist() == list(range(first, first + 10))


def test_a_bare_name_means_test_then_test_additional():
    groups = {"causal_response_10_behavior": "test"}
    groups |= {"population_256_response_behavior": "test_additional"}
    for name, group in groups.items():
        assert full_name(name) == f"{group}/{name}"
    near = "no strategy 'populaton_64'; the nearest are test/population_64_response"
    with pytest.raises(MaskError, match=near):
        find_strategy("populaton_64")
    with pytest.raises(MaskError, match="no strategy 'aaa") as caught:
        full_name("a" * 5000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("count", "first", "step"),
    [
        *((count, 0, 1) for count in (1, 2, 3, 10, 100)),
        *(
            pytest.param(count, first, step, marks=pytest.mark.slow)
            for counts, step in (((999, 3499), 2), ((3500, 4096, 8000), 3))
            for first, count in enumerate(counts)
        ),
    ],
)
def test_every_strategy_is_what_the_specification_says(count, first, step):
    rows = official_rows()
    assert tuple(rows) == strategy_names()
    for name, row in list(rows.items())[first::step]:
        try:
            plain = plain_mask(scaled_counts(row, count), count)
        except ValueError:
            assert count == 1, name
            with pytest.raises(MaskError, match="no target neuron is left"):
                Mask.from_strategy(name, count)
            continue
        mask = Mask.from_strategy(name, count)
        tokens = token_starts(mask.visible, mask.attachment.cuts)
        assert np.array_equal(tokens, plain.tokens[: len(tokens)]), name
        assert not plain.tokens[len(tokens) :].any()
        assert np.array_equal(query_starts(mask), plain.queries), name
        assert np.array_equal(scored_cells(mask), mask.target), name
        assert np.array_equal(input_cells(mask), mask.visible), name
        steps = layout_from_mask(mask).video_steps.tolist()
        found = (steps, mask.attachment.context_span, mask.behavior)
        assert found == (plain.video_steps, plain.context, plain.behavior), name
        assert mask.attachment.order.tolist() == list(range(count))
        assert (mask.note != "") == (scaled_counts(row, count) != row), name


@pytest.mark.parametrize("count", [24, 5000])
def test_a_seed_permutes_what_a_strategy_is(count):
    for name in strategy_names()[::7]:
        drawn = Mask.from_strategy(name, count, seed=5)
        stored = Mask.from_strategy(name, len(drawn.attachment.order))
        assert len(drawn.attachment.order) == min(count, 4096)
        order = drawn.attachment.order
        assert np.array_equal(drawn.cells[:, order], stored.cells), name
        assert drawn.cells.astype(bool).sum() == stored.cells.astype(bool).sum()
        assert np.array_equal(drawn.frames, stored.frames)


def test_a_note_says_how_a_small_population_shrinks_a_strategy():
    mask = Mask.from_strategy("population_1024_response_video_behavior", 1000)
    assert "1024 → 250" in mask.note


def test_a_seed_draws_order_and_subset():
    drawn = Mask.from_strategy("test/video_behavior", 5000, seed=3)
    again = Mask.from_strategy("test/video_behavior", 5000, seed=3)
    assert drawn == again
    assert drawn != Mask.from_strategy("test/video_behavior", 5000, seed=4)
    left_out = np.setdiff1d(np.arange(5000), drawn.attachment.order)
    assert not drawn.cells[:, left_out].any()


def test_contradictions_are_refused_with_the_rule():
    with pytest.raises(MaskError, match="both visible and a target"):
        Strategy(behavior_encoded=True, behavior_reconstructed=True)
    with pytest.raises(MaskError, match="weight"):
        Strategy(weight=0.0)
    with pytest.raises(MaskError, match="full_population_prefix_len 30 is longer"):
        Strategy(n_visible_neurons=5, prefix_len=20, full_population_prefix_len=30)
    with pytest.raises(MaskError, match="first 5 samples"):
        Strategy(n_visible_neurons=16).mask_fields(40)
    for name in ("suffix_len", "n_visible_frames", "max_n_reconstructed_neurons"):
        with pytest.raises(EmptyMaskError, match=f"{name} is -1"):
            # mypy: one name stands for fields of several types
            Strategy(**{name: -1}, prefix_len=30).mask_fields(40)
    whole = {"prefix_len": 60, "max_response_context_samples": 60}
    nothing = Strategy(prefix_start_idx=0, max_n_reconstructed_neurons=0, **whole)
    with pytest.raises(EmptyMaskError, match="has no target"):
        nothing.mask_fields(40)


def test_half_of_the_population_is_a_fixed_random_half():
    mask = half_population_mask(101, seed=1)
    seen, asked = mask.visible.any(axis=0), mask.target.any(axis=0)
    assert (seen ^ asked).all()
    assert seen.sum() == 50
    assert mask == half_population_mask(101, seed=1)
    assert mask != half_population_mask(101, seed=2)


def test_half_of_the_population_asks_those_it_is_told_to_and_stays_a_half():
    plain = half_population_mask(101, seed=1)
    wanted = np.flatnonzero(plain.visible.any(axis=0))[:4]
    mask = half_population_mask(101, seed=1, targets=wanted)
    assert mask.target[30:, wanted].all()
    assert mask.visible.any(axis=0).sum() == 50
    assert (mask.visible.any(axis=0) ^ mask.target.any(axis=0)).all()
    changed = (mask.cells != plain.cells).any(axis=0).sum()
    assert changed <= 8  # they, and those who stand in for them
    asked = np.flatnonzero(mask.target.any(axis=0))
    assert half_population_mask(101, seed=1, targets=asked) == mask
    everybody = half_population_mask(101, seed=1, targets=np.arange(101))
    assert everybody.target[30:, :51].all()
    assert everybody.visible.any(axis=0).sum() == 50


# -- recordings stored below 12 Hz ---------------------------------------------------
def _stored_at(rate_hz: float, n: int = 20) -> Session:
    draw = np.random.default_rng(0).gamma(1.0, 1.0, (int(60 * rate_hz), n))
    return open_session({"responses": draw.astype("f4"), "rate_hz": rate_hz})


@pytest.mark.parametrize(("rate_hz", "guard"), [(2.0, 30), (3.0, 20), (6.3, 10), (11.9, 6)])
def test_slow_recordings_leave_out_targets_that_interpolation_reveals(rate_hz, guard):
    mask = Mask.from_strategy("test/causal_response_25", _stored_at(rate_hz))
    first = np.flatnonzero(mask.target.any(axis=1))[0]
    assert first == 25 + guard
    assert "adapted" in mask.note
    assert mask.name == "test/causal_response_25"
    official = Mask.from_strategy("test/causal_response_25", 20)
    assert (mask.visible == official.visible).all()


def test_a_recording_stored_at_12_hz_keeps_the_official_mask():
    stored = Mask.from_strategy("test/causal_response_25", _stored_at(12.0))
    assert stored.cells.tolist() == (
        Mask.from_strategy("test/causal_response_25", 20).cells.tolist()
    )


def test_a_forecast_at_1_hz_has_no_target_and_no_score():
    session = _stored_at(1.0)
    mask = Mask.from_strategy("test/causal_response_25", session)
    assert not scored_cells(mask).any()
    (score,) = evaluate("last", session, "test/causal_response_25").scores
    assert np.isnan(score.value)
    assert "1 Hz" in score.refusal


@pytest.mark.parametrize(
    "name", ["mean", "last", pytest.param("video-ridge", marks=pytest.mark.slow)]
)
def test_a_task_from_video_alone_has_no_score_without_video(name):
    (score,) = evaluate(name, _stored_at(15.0), "test/video_only").scores
    assert np.isnan(score.value)
    assert "no video" in score.refusal


def test_without_a_target_nothing_is_fitted_or_written(tmp_path):
    session = _stored_at(1.0)

    class Unprepared(EchoPredictor):
        def prepare(self, session: Session) -> None:
            raise AssertionError("a fit can take minutes")

    (score,) = evaluate(Unprepared(), session, "test/causal_response_25").scores
    assert "1 Hz" in score.refusal
    out = tmp_path / "predictions.zarr"
    with pytest.raises(MaskError, match="adapted to a recording at 1 Hz"):
        predict_session("last", session, "test/causal_response_25", out)
    assert not out.exists()
