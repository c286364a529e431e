"""The predictor contract for families of other specs, and how they come together."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.classical.predictor import naive_predictor
from omnimouse_model.families.ensemble import Ensemble
from omnimouse_model.masks import scored_cells
from omnimouse_model.metrics import bits_per_spike
from omnimouse_model.predict.compatibility import predict_same_span, window_of
from omnimouse_model.predict.predictor import recorded_as
from omnimouse_model.progress import never
from omnimouse_model.simulate.spiking_laboratory import SpikingSpec, spiking_arrays
from omnimouse_model.storage.processes import packed, unpacked
from tests.model.data.readers.test_arrays import session_arrays
from tests.toy_predictors import (
    COUNTS,
    FRAMES,
    TOYS,
    FramePredictor,
    RecurrentPredictor,
    install_toys,
)

pytestmark = pytest.mark.slow  # a predictor of each spec is fitted


@pytest.fixture(scope="module")
def spiking():
    return om.open_session(spiking_arrays(SpikingSpec(n_trials=40)))


@pytest.fixture(scope="module")
def imaging():
    return om.open_session(session_arrays())


@pytest.fixture(params=TOYS)
def case(request, spiking, imaging):
    """A predictor, a window, and a mask that shows and asks half."""
    predictor = TOYS[request.param]()
    session = spiking if request.param == "toy-counts" else imaging
    spec = predictor.needs.spec
    window = session.window(14.0, spec)
    half = session.n_neurons // 2
    mask = om.Mask.nothing(session, spec).show(slice(0, half)).ask(slice(half, None))
    return predictor, window, mask.with_frames(True).with_behavior("visible")


def assert_same(one, other, tolerance=0.0):
    np.testing.assert_array_equal(one.neurons, other.neurons)
    np.testing.assert_allclose(one.responses, other.responses, rtol=0, atol=tolerance)


def test_a_window_of_another_spec_is_refused_and_mapped_by_time(case):
    predictor, window, mask = case
    other = om.WindowSpec(window.spec.duration_s, 15.0, window.spec.responses)
    with pytest.raises(UnsupportedRequestError, match=r"\.at\("):
        predictor.predict(window.at(other), mask.at(other))
    found = predict_same_span(predictor, window.at(other), mask.at(other))
    expected = predict_same_span(predictor, window, mask.at(other).at(mask.spec))
    assert_same(found, expected)
    assert found.responses.shape[0] == window.spec.n_samples
    assert "mapped by time" in found.status
    mean = naive_predictor("mean", other)
    beside = predict_same_span(mean, window, mask)
    assert beside.responses.shape[0] == window_of(window, other).spec.n_samples


def test_a_longer_window_is_covered_by_short_ones(imaging):
    window = imaging.window(14.0)
    mask = om.Mask.nothing(imaging).ask([0, 1], (6, 60)).with_frames(True)
    found = predict_same_span(TOYS["toy-frames"](), window, mask)
    # each of the four tiles leaves out its own first samples
    assert np.isfinite(found.responses).sum(axis=0).tolist() == [43, 43]
    assert FRAMES.n_samples == 16
    np.testing.assert_allclose(found.times_s, window.sample_times_s)


@dataclass
class LatePredictor(FramePredictor):
    """Cannot compute the first four samples of a window."""

    predictor_id = "late"

    def decode(self, encoded, neurons=None, cancelled=never):
        found = FramePredictor.decode(self, encoded, neurons)
        return replace(found, valid=np.arange(len(found.responses)) >= 4)


def test_samples_that_one_predictor_cannot_compute_stay_marked(imaging):
    window = imaging.window(14.0)
    mask = om.Mask.nothing(imaging).ask([0, 1], (6, 60)).with_frames(True)
    found = predict_same_span(LatePredictor(), window, mask)
    assert np.flatnonzero(~found.valid)[:5].tolist() == [0, 1, 2, 3, 16]
    both = Ensemble((FramePredictor(), LatePredictor()))
    short = imaging.window(14.0, FRAMES)
    asked = om.Mask.nothing(imaging, FRAMES).ask([0], slice(None)).with_frames(True)
    assert both.predict(short, asked).valid.tolist() == [False] * 4 + [True] * 12


def test_steps_give_the_numbers_of_one_call_and_channels_come_by_name(imaging):
    predictor = RecurrentPredictor()
    window = imaging.window(14.0, predictor.needs.spec)
    mask = om.Mask.nothing(imaging, window.spec).ask(slice(None)).with_frames(True)
    whole = predictor.predict(window, mask.with_behavior("visible"))
    state = predictor.start(imaging)
    _, state = predictor.step(state, window.warmup)
    stepped, _ = predictor.step(state, window)
    asked = np.isfinite(whole.responses)
    rates = stepped.responses[asked]
    np.testing.assert_allclose(rates, whole.responses[asked], atol=1e-5)
    assert window.warmup.stop_s == pytest.approx(window.start_s)
    assert window.warmup.video.shape == (30, 144, 256)
    assert window.video.dtype == np.uint8
    whole = imaging.window(window.start_s)
    columns = [imaging.behavior_names.index(n) for n in ("pupil_size", "running")]
    np.testing.assert_array_equal(window.behavior, whole.behavior[:, columns])
    mask = om.Mask.nothing(imaging, window.spec).with_behavior("visible", ["running"])
    assert mask.channel_modes == ("hidden", "visible")
    assert om.Mask.from_dict(json.loads(json.dumps(mask.to_dict()))) == mask


@pytest.mark.parametrize("name", ["toy-recurrent", "toy-frames", "video-ridge"])
def test_a_constructed_clip_serves_in_place_of_a_window(imaging, name):
    predictor = TOYS[name]() if name in TOYS else om.load_predictor(name, [imaging])
    spec = predictor.needs.spec
    frames = np.random.default_rng(0).integers(0, 255, (90, 72, 128), np.uint8)
    running = {"running": np.linspace(0, 20, 60)}
    inputs = {"frames": frames, "rate_hz": 30.0, "behavior_by_name": running}
    clip = om.Clip(session=imaging, spec=spec, **inputs)
    mask = om.Mask.nothing(imaging, spec).ask([0, 1], slice(None)).with_frames(True)
    found = predictor.predict(clip, mask)
    assert np.isfinite(found.responses[scored_cells(mask)[:, :2]]).all()
    assert found.times_s[0] == 0
    key_of = {id(imaging): 7}.get
    message = packed(clip, lambda value: key_of(id(value)))
    again = unpacked(message, {7: imaging})
    assert again.session is imaging
    assert again == clip
    assert_same(predictor.predict(again, mask), found)
    other = replace(clip, frames=255 - frames)
    changed = predictor.predict(other, mask).responses
    assert not np.array_equal(changed, found.responses, equal_nan=True)
    last = om.load_predictor("last", [imaging])
    seen = om.Mask.nothing(imaging).show([0]).ask([1])
    with pytest.raises(UnsupportedRequestError, match="no recorded responses"):
        last.predict(replace(clip, spec=last.needs.spec), seen)


def test_counts_are_scored_in_bits_per_spike(spiking):
    predictor = TOYS["toy-counts"]()
    predictor.prepare(spiking)
    half = om.Mask.nothing(spiking, COUNTS).show(slice(0, 12))
    half = half.ask(slice(12, None), slice(None))
    starts = spiking.window_starts("test", spec=COUNTS)
    windows = [spiking.window(start, COUNTS) for start in starts]
    found = [predictor.predict(window, half) for window in windows]
    assert {one.units for one in found} == {"spikes/s"}
    rates = np.concatenate([one.responses for one in found]) / 50.0
    counts = np.concatenate([w.responses[:, found[0].neurons] for w in windows])
    assert bits_per_spike(rates, counts).value > 0
    recorded = recorded_as(windows[0], "spikes/s")
    np.testing.assert_allclose(recorded, 50 * windows[0].responses)


def test_another_package_adds_a_family_by_an_entry_point(tmp_path):
    with install_toys():
        assert om.load_predictor("toy-counts").needs.spec == COUNTS
        path = tmp_path / "mine.safetensors"
        path.write_bytes(b"")
        path.with_suffix(".json").write_text('{"family": "toy", "which": "toy-frames"}')
        assert om.load_predictor(path).needs.spec == FRAMES
        path.with_suffix(".json").write_text('{"family": "unknown"}')
        known = r"family 'unknown'.*installed families are omnimouse, .*classical, .*toy"
        with pytest.raises(CheckpointError, match=known):
            om.load_predictor(path)


def test_the_mean_of_counts_is_a_rate_in_spikes_per_second():
    session = om.open_session(spiking_arrays(SpikingSpec(n_trials=20)))
    spec = om.WindowSpec(1.0, 50.0, responses="count")
    mask = om.Mask.nothing(session, spec).ask(slice(None))
    mean = naive_predictor("mean", spec)
    starts = session.window_starts("train", stride=50, spec=spec)
    windows = [session.window(float(start), spec) for start in starts]
    counted = 50 * np.mean([window.responses for window in windows], axis=(0, 1))
    predicted = mean.predict(windows[0], mask).responses[-1]
    np.testing.assert_allclose(predicted, counted, rtol=0.2, atol=0.5)
