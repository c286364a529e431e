import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.analysis.predictions import predict_session, prediction_starts
from omnimouse_model.errors import (
    PredictionsFileError,
    ResultsFileError,
    StoppedError,
    UnsupportedRequestError,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.prediction_file import unfinished_path
from omnimouse_model.progress import CallbackJob
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_model.storage.journal import JOURNAL
from omnimouse_model.storage.write import locked
from tests.predictors import EchoPredictor, RefusingPredictor
from tests.toy_predictors import COUNTS, CountPredictor

pytestmark = pytest.mark.slow  # a whole tier is predicted

FORECAST, DECODE = "test/causal_response_25_behavior", "test/all_response_only"


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """The disk is not waited for."""
    monkeypatch.setattr("os.sync", lambda: None)


def values(stored):
    return stored.file.responses.values.read(0, stored.file.responses.shape[0])


def stop_after(n_windows):
    """A job that ends the work after some windows."""
    done = [0]

    def report(now, total, step):
        done[0] = now

    return {"job": CallbackJob(report, lambda: done[0] >= n_windows)}


@pytest.mark.parametrize("suffix", [".zarr", ".nwb"])
def test_the_scores_of_a_tier_are_those_of_the_model(session, tmp_path, suffix):
    echo = EchoPredictor()
    both = om.Mask.from_strategy(FORECAST, session).with_behavior("target")
    for number, mask in enumerate((both, DECODE)):
        path = tmp_path / f"{number}{suffix}"
        stored = predict_session(echo, session, mask, path, tier="test")
        found, expected = (
            om.evaluate(predictor, session, mask, tier="test")
            for predictor in (om.load_predictor(path), echo)
        )
        assert [s.value for s in found.scores] == [s.value for s in expected.scores]
        # The file has the windows of the train tier that centred scores need.
        for one, other in zip(found.scores, expected.scores, strict=True):
            assert one.is_centred
            assert one.value == other.value
            np.testing.assert_array_equal(one.train_left_out, other.train_left_out)
        assert [s.value for s in found.behavior] == [s.value for s in expected.behavior]
        assert len(found.behavior) == 5
        assert stored.file.metadata.tier == "test"
        assert not unfinished_path(path).exists()


def test_every_sample_of_a_recording_is_predicted(session, tmp_path):
    mask = om.Mask.from_strategy(FORECAST, session)
    starts = prediction_starts(session, mask, None)
    stored = predict_session(EchoPredictor(), session, mask, tmp_path / "all.zarr")
    times = np.round(stored.file.responses.times_s * 30).astype(int)
    first = round(starts[0] * 30) + 30
    np.testing.assert_array_equal(np.unique(times), np.arange(first, times.max() + 1))
    # The last valid window is among them.
    assert starts[-1] == session.window_starts()[-1]
    # A window that is not stored is joined from those that are.
    window = session.window(starts[3] + 0.5)
    found = stored.predict(window, mask)
    assert "joined" in found.status
    np.testing.assert_array_equal(
        found.responses[30:], EchoPredictor().predict(window, mask).responses[30:]
    )


def test_a_stopped_run_continues(session, tmp_path):
    whole = predict_session(EchoPredictor(), session, FORECAST, tmp_path / "a.zarr")
    path = tmp_path / "b.zarr"
    with pytest.raises(StoppedError):
        predict_session(EchoPredictor(), session, FORECAST, path, **stop_after(16))
    with pytest.raises(PredictionsFileError, match="16 of 18 windows") as unfinished:
        om.open_predictions(path)
    assert unfinished.value.code == "unfinished"
    part = unfinished_path(path)
    # A line torn by a kill, and rows that were lost in a power failure.
    with (part / JOURNAL).open("a") as journal:
        journal.write('{"batch": 2, "ha')
    (part / "responses" / "c" / "1" / "0").unlink()
    echo = EchoPredictor()
    again = predict_session(echo, session, FORECAST, path)
    assert np.array_equal(values(again), values(whole), equal_nan=True)
    assert echo.counters["encodings"] == 10  # the lost batch, and the last two windows
    predict_session(echo, session, FORECAST, path)
    assert echo.counters["encodings"] == 10


@pytest.mark.parametrize("header", [b"", b'{"question'])
def test_a_kill_at_the_beginning_or_the_end_is_no_dead_end(session, tmp_path, header):
    path = tmp_path / "a.zarr"
    journal = unfinished_path(path) / JOURNAL
    journal.parent.mkdir()
    journal.write_bytes(header)
    whole = values(predict_session(EchoPredictor(), session, FORECAST, path))
    (path / JOURNAL).touch()  # a kill after the renaming
    again = predict_session(EchoPredictor(), session, FORECAST, path)
    assert np.array_equal(values(again), whole, equal_nan=True)
    assert not (path / JOURNAL).exists()
    other = unfinished_path(tmp_path / "b.zarr")
    other.mkdir()
    for name in (JOURNAL, "mine"):  # not of a file that was just begun
        (other / name).touch()
    with pytest.raises(ResultsFileError, match="is damaged"):
        predict_session(EchoPredictor(), session, FORECAST, tmp_path / "b.zarr")


def test_other_predictions_are_never_changed(session, tmp_path):
    path = tmp_path / "a.zarr"
    with pytest.raises(StoppedError):
        predict_session(EchoPredictor(), session, FORECAST, path, **stop_after(8))
    lock = locked(unfinished_path(path) / JOURNAL)
    with lock, pytest.raises(ResultsFileError, match="Another machine"):
        predict_session(EchoPredictor(), session, FORECAST, path)
    for _ in range(2):  # unfinished, then finished
        for name, predictor, mask, tier in (
            ("mask", EchoPredictor(), DECODE, None),
            ("predictor", EchoPredictor("other"), FORECAST, None),
            ("tier", EchoPredictor(), FORECAST, "test"),
        ):
            with pytest.raises(ResultsFileError, match=f"{name} is"):
                predict_session(predictor, session, mask, path, tier=tier)
        predict_session(EchoPredictor(), session, FORECAST, path)
    with pytest.raises(UnsupportedRequestError):
        predict_session(RefusingPredictor(), session, FORECAST, tmp_path / "b.zarr")
    assert list(tmp_path.iterdir()) == [path]


def test_counts_of_trials_are_predicted_in_their_own_windows(tmp_path):
    session = om.open_session(spiking_arrays(SpikingSpec(n_trials=12)))
    predictor = CountPredictor()
    mask = Mask.nothing(session, COUNTS).show(range(12)).ask(range(12, 24))
    stored = predict_session(predictor, session, mask, tmp_path / "c.zarr", tier="test")
    assert stored.file.metadata.mask == mask
    assert stored.file.metadata.units == "spikes/s"
    assert stored.file.neurons.tolist() == list(range(12, 24))
    found, expected = (
        om.evaluate(p, session, mask, centred=False).scores[0].value for p in (stored, predictor)
    )
    assert found == expected


def test_workers_write_the_same_file(session, scheduler, tmp_path):
    here = predict_session("last", session, FORECAST, tmp_path / "here.zarr")
    path = tmp_path / "there.zarr"
    there = predict_session("last", session, FORECAST, path, scheduler=scheduler)
    assert there.file.fingerprint == here.file.fingerprint
