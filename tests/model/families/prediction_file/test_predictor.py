"""A file of predictions as a predictor: files of other programs, refusals, damage."""

import json
from contextlib import closing

import numpy as np
import pytest
import zarr

import omnimouse_model as om
from omnimouse_model.analysis.stimulus_edits import Blank
from omnimouse_model.errors import NotStoredError, PredictionsFileError, UnsupportedRequestError
from omnimouse_model.evaluation.stitching import predict_span
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.choice import mask_of_file
from omnimouse_model.live.pin import LIVE
from omnimouse_model.live.pin_predictions import MISSING, NOT_PREDICTED
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_model.progress import CallbackJob

SPEC = {"duration_s": 2.0, "response_rate_hz": 30.0}


def write(session, path, metadata=None, **arrays):
    """Write predictions of neurons 0 to 9 over 5 to 15 s: each its time plus number."""
    times_s = np.arange(5.0, 15.0, 1 / 30)
    values = (times_s[:, None] + np.arange(10)).astype(np.float32)
    about = {"format": "omnimouse-predictions", "version": 1, "units": "normalised"}
    about |= {"session": session.id, "n_neurons": session.n_neurons, "spec": SPEC}
    arrays = {"times_s": times_s, "responses": values} | arrays
    arrays.setdefault("neurons", np.arange(10))
    group = zarr.create_group(path, zarr_format=3, attributes=about | (metadata or {}))
    for name, data in arrays.items():
        group.create_array(name, data=data)
    return path


@pytest.fixture
def path(session, tmp_path):
    return write(session, tmp_path / "mine.zarr")


def test_windows_are_answered_by_time(session, path):
    stored = om.load_predictor(path)
    spec = stored.needs.spec
    mask = Mask.nothing(session, spec).ask(range(5, 15), slice(None))
    mask = mask.with_guard(guarded=False)
    window = session.window(7.01, spec)
    found = stored.predict(window, mask)
    assert found.neurons.tolist() == list(range(5, 10))
    expected = window.sample_times_s[:, None] + np.arange(5, 10)
    np.testing.assert_allclose(found.responses, expected, atol=0.5 / 30 + 1e-3)
    assert "5 of 10 neurons" in found.status
    assert "this mask changes no prediction" in found.status
    late = stored.predict(session.window(14.0, spec), mask)
    assert late.valid.tolist() == (late.times_s < 15 - 1e-3).tolist()
    assert np.isnan(late.responses[~late.valid]).all()


def test_what_a_file_cannot_answer_is_refused(session, path):
    stored = om.open_predictions(path)
    spec = stored.needs.spec
    few = Mask.nothing(session, spec).ask(range(10))
    many = Mask.nothing(session, spec).ask(range(20))
    other = om.open_session({"responses": np.ones((900, 40)), "rate_hz": 30.0})
    for window, mask, message in (
        (session.window(1.0, spec), few, "5.00 and 1"),
        (session.window(7.0, spec), Mask.nothing(session, spec).ask([30]), "10 neu"),
        (session.window(7.0), om.Mask.nothing(session).ask([1]), "frames"),
        (session.window(7.0, spec).with_edits((Blank(),)), few, "edits"),
        (other.window(7.0, spec), few, other.id),
    ):
        with pytest.raises(UnsupportedRequestError, match=message):
            stored.predict(window, mask)
    starts = np.array([7.0, 8.0])
    asked = {"starts": starts, "centred": False}
    (refused,) = om.evaluate(stored, session, many, **asked).scores
    assert "10 of the 20" in refused.refusal
    assert om.evaluate(stored, session, few, **asked).scores[0].refusal == ""
    with pytest.raises(UnsupportedRequestError, match="context"):
        om.context_sweep(path, session, neurons=[0, 8])
    assert "no predictions" in check_compatibility(stored.needs, other).remedy


VIDEO = {"rate_hz": 30.0, "height": 10**6, "width": 10**6}


@pytest.mark.parametrize(
    ("metadata", "arrays", "code", "named"),
    [
        ({"format": "other"}, {}, "foreign", "other"),
        ({"format": "o" * 10_000}, {}, "foreign", r"format is 'o{1,20}\.\.\.o{1,20}'"),
        ({"version": 9}, {}, "newer", "9"),
        ({"units": "volts"}, {}, "field", "units"),
        ({"spec": {"duration_s": -1}}, {}, "field", "spec"),
        ({"n_neurons": 5}, {}, "array", "neurons"),
        ({"n_neurons": 10**9}, {}, "field", "n_neurons"),
        ({"spec": {"duration_s": 2.0, "response_rate_hz": 30.0, "video": VIDEO}}, {}, "field", "x"),
        ({"complete": False}, {}, "unfinished", "end"),
        ({}, {"neurons": np.zeros(10, int)}, "array", "neurons"),
        ({}, {"responses": np.zeros((300, 10), int)}, "array", "responses"),
        ({}, {"behavior": np.zeros((4, 1))}, "array", "behavior_times_s"),
    ],
)
def test_a_wrong_file_is_named(session, tmp_path, metadata, arrays, code, named):
    path = write(session, tmp_path / "bad.zarr", metadata, **arrays)
    with pytest.raises(PredictionsFileError, match=named) as error:
        om.open_predictions(path)
    assert error.value.code == code
    assert str(path) in str(error.value)


def test_codecs_that_could_run_code_are_not_loaded(path):
    about = path / "responses" / "zarr.json"
    values = json.loads(about.read_text())
    values["codecs"].append({"name": "numcodecs.pickle"})
    about.write_text(json.dumps(values))
    with pytest.raises(PredictionsFileError, match=r"numcodecs\.pickle"):
        om.open_predictions(path)
    values["codecs"][-1]["name"] = "a" * 5000
    about.write_text(json.dumps(values))
    with pytest.raises(PredictionsFileError, match=r"a codec .aaaa") as refusal:
        om.open_predictions(path)
    assert len(str(refusal.value)) < 1000
    values["codecs"].pop()
    about.write_text(json.dumps(values | {"storage_transformers": "a" * 5000}))
    with pytest.raises(PredictionsFileError, match="storage transformers") as refusal:
        om.open_predictions(path)
    assert len(str(refusal.value)) < 1000


def test_the_live_engine_shows_a_file(session, tmp_path):
    mask = Mask.nothing(session, om.WindowSpec(**SPEC)).ask(range(10))
    path = write(session, tmp_path / "mine.zarr", {"mask": mask.to_dict()})
    with closing(Controller(load=load_in_process, synchronous=True)) as controller:
        controller.loader.open_now(session)
        controller.model.choose(path)
        controller.navigation.seek(7.0)
        controller.editor.set_mask(Mask.nothing(session, controller.state.spec).ask(range(20)))
        assert controller.results.error is None
        assert controller.results.population.neurons.tolist() == list(range(10))
        assert "10 of 20 neurons" in controller.results.notice
        assert mask_of_file(controller.state, controller.results.needs) == mask
        controller.editor.set_mask(mask)
        assert controller.results.notice == ""
        assert mask_of_file(controller.state, controller.results.needs) is None


def test_a_longer_span_shows_what_the_file_has_and_the_whole_recording(session, tmp_path):
    path = write(session, tmp_path / "mine.zarr")
    state = LiveState(trace_span="10 s")
    with closing(Controller(state, load=load_in_process, synchronous=True)) as made:
        made.loader.open_now(session)
        made.model.choose(path)
        made.navigation.seek(6.0)
        made.editor.set_mask(Mask.nothing(session, state.spec).ask(range(20)))
        made.selection.select([15, 2])
        predictions = made.pins.predictions
        span = predictions.spans[LIVE].span
        assert span.is_complete
        assert predictions.spans[LIVE].error == ""
        assert np.isnan(span.responses[:, 0]).all()
        is_predicted = np.isfinite(span.responses[:, 1])
        assert is_predicted.any()
        assert not is_predicted[span.time < 4.9].any()
        assert np.isfinite(span.truth).all()
        n_missing = sum(start <= 3.0 for start in span.starts_s)
        assert predictions.remark == MISSING.format(n=n_missing, total=len(span.starts_s))
        made.navigation.seek(17.5)
        assert predictions.remark == NOT_PREDICTED
        with pytest.raises(NotStoredError, match="has no prediction"):
            predict_span(om.open_predictions(path), session, state.mask, 17.5, 19.5)
    counts = []
    stored = om.open_predictions(path)
    mask = Mask.nothing(session, stored.needs.spec).ask(range(10))
    predict_span(
        stored, session, mask, 0.0, 10.0, job=CallbackJob(lambda *now: counts.append(now[:2]))
    )
    assert counts == [(n, counts[-1][1]) for n in range(1, counts[-1][1] + 1)]
