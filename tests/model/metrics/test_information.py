"""Bits per spike and the scores of the Neural Latents Benchmark."""

import json
import shutil

import numpy as np
import pytest

from omnimouse_model.metrics.information import nlb_scores, psth_r2
from tests import FIXTURES
from tests.conformance import bps

BPS = FIXTURES / "bps_nlb"


def test_reference_values_are_met():
    *found, scores = bps.lines(BPS)
    assert not [line.text() for line in (*found, scores) if not line.is_good]
    assert {"co-bps", "fp-bps", "vel R2", "psth R2"} <= scores.ratios.keys()
    assert "nan_spikes" in {line.name for line in found}


def test_a_wrong_value_is_found(tmp_path):
    shutil.copytree(BPS, tmp_path, dirs_exist_ok=True)
    description = json.loads((tmp_path / "cases.json").read_text("utf-8"))
    description["cases"][0]["bps"] *= 1 + 1e-7
    description["cases"][1]["n_excluded"] += 1
    (tmp_path / "cases.json").write_text(json.dumps(description), "utf-8")
    plain, second, *others = bps.lines(tmp_path)
    assert "bps: " in plain.faults[0]
    assert "excluded: " in second.faults[0]
    assert all(line.is_good for line in others)


def test_unequal_shapes_are_refused_as_by_the_benchmark():
    spikes = np.ones((3, 4, 2))
    for rates in (spikes[:1], spikes[0], spikes[..., :1]):
        assert bps.value_of(lambda rates=rates: bps.pooled(rates, spikes)) == bps.REFUSED


def test_scores_need_what_they_are_made_of():
    spikes = np.random.default_rng(0).poisson(0.4, (5, 6, 3)).astype(float)
    rates = {
        "eval_rates_heldin": np.full((5, 6, 2), 0.3),
        "eval_rates_heldout": np.full((5, 6, 3), spikes.mean()),
    }
    assert set(nlb_scores({"eval_spikes_heldout": spikes}, rates)) == {"co-bps"}
    wrong = rates | {"eval_rates_heldout": np.full((5, 6, 3), -1.0)}
    with pytest.raises(ValueError, match="negative"):
        nlb_scores({"eval_spikes_heldout": spikes}, wrong)


def test_averages_are_compared_by_condition_where_they_are_known():
    psth = np.arange(24.0).reshape(2, 4, 3)
    condition = np.array([0, 1, 0, 1])
    rates = psth[condition]
    assert psth_r2(psth, rates, condition) == pytest.approx(1)
    psth[1, 2] = np.nan
    rates[:, 2] += 5 * (condition == 1)[:, None]
    assert psth_r2(psth, rates, condition) == pytest.approx(1)
