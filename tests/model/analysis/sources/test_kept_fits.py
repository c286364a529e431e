"""Kept results of a predictor that is fitted on the spot are of one version of its fits."""

from functools import partial

import pytest

import omnimouse_model as om
from omnimouse_model.analysis.evaluate import evaluate_all
from omnimouse_model.errors import ResultsFileError
from omnimouse_model.evaluation import stored_fits
from tests.predictors import EchoPredictor

FORECAST = "test/causal_response_25_behavior"
ASK = {
    "sources": partial(om.sources, sources=["history"], targets=0, max_windows=2),
    "informants": partial(om.informants, targets=0, k=1, n_random=1, max_windows=2),
    "areas": partial(om.area_matrix, draws=1, max_windows=2),
    "sweep": partial(om.context_sweep, neurons=[4], seeds=1, max_windows=2, centred=False),
}
PREDICTORS = {
    "baseline": lambda: om.load_predictor("linear-gaussian"),
    "ensemble": lambda: om.Ensemble([EchoPredictor(), "linear-gaussian"]),
    "weights": EchoPredictor,
}


@pytest.mark.slow
@pytest.mark.parametrize("question", [*ASK, "predictions"])
@pytest.mark.parametrize("kind", PREDICTORS)
def test_files_of_other_fits_are_not_continued(question, kind, session, tmp_path, monkeypatch):
    def ask():
        predictor = PREDICTORS[kind]()
        if question == "predictions":
            om.predict_session(predictor, session, FORECAST, tmp_path / "kept.zarr", tier="test")
        else:
            ASK[question](predictor, session, results=tmp_path / "kept.jsonl")

    for _ in range(2):
        ask()
    monkeypatch.setattr(stored_fits, "LINEAR_GAUSSIAN", stored_fits.LINEAR_GAUSSIAN + 1)
    if kind == "weights":
        ask()
        return
    earlier = r"an earlier fit of linear-gaussian.*\. Choose another file, or delete this one"
    with pytest.raises(ResultsFileError, match=earlier) as refusal:
        ask()
    assert "null" not in str(refusal.value)


@pytest.mark.slow
def test_scores_of_other_fits_are_computed_again(session, tmp_path, monkeypatch):
    path, n_lines = tmp_path / "kept.jsonl", []
    for version in (1, 1, 2):
        monkeypatch.setattr(stored_fits, "LINEAR_GAUSSIAN", version)
        evaluate_all(["last", "linear-gaussian"], session, [FORECAST], max_windows=2, results=path)
        n_lines.append(len(path.read_text().splitlines()))
    assert n_lines == [3, 3, 4]


def test_stored_fits_of_other_baselines_stay(session, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_fits, "cache_dir", lambda: tmp_path)
    window, mask = session.window(20.0), om.Mask.nothing(session).ask([0])
    for version in (1, 2):
        monkeypatch.setattr(stored_fits, "LINEAR_GAUSSIAN", version)
        for name in ("mean", "linear-gaussian"):
            om.load_predictor(name).predict(window, mask)
    assert om.load_predictor("mean").needs.fits == 0
    names = sorted(path.name.removeprefix(session.fingerprint) for path in tmp_path.rglob("*.npz"))
    version = stored_fits.VERSION
    assert names == ["-linear-gaussian-v1.npz", "-linear-gaussian-v2.npz", f"-mean-v{version}.npz"]
