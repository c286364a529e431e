from dataclasses import dataclass

import numpy as np
import pytest

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Window
from omnimouse_model.errors import StoppedError
from omnimouse_model.evaluation.running_score import decode_scores
from omnimouse_model.evaluation.stitching import NOWHERE, Stitching, predict_span, span_stride
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.metrics import correlation
from omnimouse_model.predict.predictor import Encoded, Prediction
from omnimouse_model.progress import CallbackJob, Cancelled, never
from tests.predictors import EchoPredictor, tiny_transformer
from tests.small_sessions import write_session

N = 12


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return open_session(write_session(tmp_path_factory.mktemp("spans") / "small", N))


@dataclass(slots=True)
class StartPredictor(EchoPredictor):
    """Answers with the window's start and the sample's place: 1000 * start + place."""

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        found = EchoPredictor.decode(self, encoded, neurons)
        rows = 1000.0 * encoded.window.start_index + np.arange(60.0)[:, None]
        cells = np.where(np.isfinite(found.responses), rows, np.nan)
        rates = cells.astype(np.float32)
        band = np.stack([rates - 1, rates + 2])
        return Prediction(rates, found.neurons, None, found.mask_id, "start", band=band)


def later_half_mask(n: int = N) -> Mask:
    return Mask.nothing(n).ask(range(n), slice(30, 60)).with_frames(True)


def mixed_mask(n: int = N) -> Mask:
    """Some given throughout, some forecast after a visible prefix, some asked."""
    mask = Mask.nothing(n).show(range(4)).show(range(4, 8), slice(0, 25))
    return mask.ask(range(4, 8), slice(25, 60)).ask(range(8, n), slice(0, 60))


@pytest.mark.parametrize(
    ("mask", "stride"),
    [
        (later_half_mask(), 30),
        (Mask.nothing(N).ask(range(N), slice(0, 60)), 55),
        (mixed_mask(), 27),  # the guard ends at sample 33
        (Mask.nothing(N).ask([0], slice(20, 32)), 12),
        (Mask.nothing(N).ask([0], slice(40, 42)), 5),
        (Mask.nothing(N), 60),
    ],
)
def test_the_stride_is_the_longest_that_leaves_no_gap(mask, stride):
    assert span_stride(mask) == stride


def test_every_cell_comes_from_the_window_in_which_it_lies_latest(session):
    mask = mixed_mask()
    found = predict_span(StartPredictor(), session, mask, 3.0, 13.0)
    asked = scored_cells(mask)
    first = session.window(3.0).start_index
    starts = [session.window(at).start_index for at in found.starts_s]
    assert (len(found.time), list(found.neurons)) == (300, list(range(4, N)))
    for sample in range(300):
        for column, neuron in enumerate(found.neurons):
            rows = {
                first + sample - start: number
                for number, start in enumerate(starts)
                if 0 <= first + sample - start < 60 and asked[first + sample - start, neuron]
            }
            row = max(rows)
            assert found.source[sample, column] == rows[row]
            expected = 1000 * starts[rows[row]] + row
            assert found.responses[sample, column] == expected
            assert [*found.band[:, sample, column]] == [expected - 1, expected + 2]


@pytest.mark.slow
@pytest.mark.parametrize("mask", [later_half_mask(40), mixed_mask(40)])
def test_stitched_cells_are_those_of_single_windows(tmp_path, mask):
    session = open_session(write_session(tmp_path / "small"))
    predictor, neurons = tiny_transformer(), np.array([30, 5])
    found = predict_span(predictor, session, mask, 2.0, 6.0, neurons=neurons)
    assert found.is_complete
    assert np.isfinite(found.responses).all()
    first = session.window(2.0).start_index
    for number, start_s in enumerate(found.starts_s):
        window = session.window(float(start_s))
        single = predictor.predict(window, mask, neurons)
        at, column = np.nonzero(found.source == number)
        rows = first + at - window.start_index
        np.testing.assert_allclose(
            found.responses[at, column], single.responses[rows, column], atol=1e-5
        )
        truth = window.responses[rows, found.neurons[column]]
        np.testing.assert_array_equal(found.truth[at, column], truth)


def test_time_and_scores_are_those_of_the_span(session):
    ask = (session, later_half_mask(), 4.0, 10.0)
    found = predict_span(EchoPredictor(), *ask, neurons=np.arange(3))
    times = session.window(6.0).times("responses") - session.t0
    np.testing.assert_allclose(found.time[60:120], times)
    assert np.isfinite(found.truth).all()
    np.testing.assert_allclose(found.responses, found.truth + 1)
    np.testing.assert_allclose(found.scores, 1.0, atol=1e-6)
    halves = predict_span(StartPredictor(), *ask, neurons=np.arange(3))
    expected = correlation(halves.responses, halves.truth, axis=0)
    np.testing.assert_array_equal(halves.scores, expected)
    assert (np.abs(expected) < 0.9).all()


def test_where_no_window_predicts_there_is_nothing(session):
    found = predict_span(EchoPredictor(), session, later_half_mask(), 0.0, 4.0)
    begin = session.start_grid[0] - session.t0
    early = found.time < begin + 1.0 - 1e-6
    assert early.any()
    assert np.isnan(found.responses[early]).all()
    assert (found.source[early] == NOWHERE).all()
    assert np.isfinite(found.responses[~early]).all()
    assert np.isfinite(found.truth).all()


def test_the_end_of_the_session_is_reached_and_no_span_beyond_it(session):
    found = predict_span(EchoPredictor(), session, later_half_mask(), 12.0, 1e9)
    assert found.time[-1] == pytest.approx(session.start_grid[-1] - session.t0)
    assert np.isfinite(found.responses).all()
    with pytest.raises(ValueError, match="windows of session"):
        predict_span(EchoPredictor(), session, later_half_mask(), 500.0, 510.0)


def test_progress_is_told_and_a_stop_ends_it(session):
    told, predictor = [], EchoPredictor()
    ask = (session, later_half_mask(), 2.0, 10.0)
    predict_span(EchoPredictor(), *ask, job=CallbackJob(lambda *at: told.append(at[:2])))
    assert told == [(k + 1, len(told)) for k in range(len(told))]
    assert len(told) > 5
    with pytest.raises(StoppedError):
        predict_span(predictor, *ask, cancelled=lambda: predictor.counters.get("encodings") == 2)
    assert predictor.counters["encodings"] == 2


def test_a_decode_is_scored_where_behaviour_is_valid(session):
    window = session.window(3.0)
    decoded = window.behavior + np.sin(np.arange(40.0))[:, None]
    window.stream("treadmill")[1][25:] = False
    for channel, score in enumerate(decode_scores(decoded, window)):
        pair = decoded[:25, channel], window.behavior[:25, channel]
        assert score == pytest.approx(np.corrcoef(*pair)[0, 1], abs=1e-6)


def test_another_mask_of_a_span_reads_no_recording_again(session, monkeypatch):
    def truth(mask, neurons):
        stitching = Stitching(session, mask, (3.0, 13.0), np.array(neurons))
        return stitching.result().truth

    found = truth(Mask.nothing(N), [2, 5])
    read = Window._read_responses
    windows: list[Window] = []

    def counted(window):
        windows.append(window)
        return read(window)

    monkeypatch.setattr(Window, "_read_responses", counted)
    np.testing.assert_array_equal(truth(later_half_mask(), [2, 5]), found)
    assert not windows
    np.testing.assert_array_equal(truth(Mask.nothing(N), [5, 2]), found[:, ::-1])
    assert windows
