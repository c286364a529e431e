"""The network against outputs of the release, and what must hold for any weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from omnimouse_model.families.twin.network import TwinConfig, TwinNetwork
from omnimouse_model.families.twin.twin import DigitalTwin
from tests.conformance.twin import Reference, lines

FOLDER = Path(__file__).parents[3] / "fixtures" / "twin_parity"
SMALL = TwinConfig(
    retina_height=16,
    retina_width=24,
    block_channels=(4, 8, 8),
    feedforward_channels=8,
    recurrent_channels=16,
    hidden_channels=16,
    common_channels=16,
    out_channels=8,
    groups=4,
)


@pytest.fixture(scope="module")
def twin():
    """A twin whose weights are random, also those that begin at 0."""
    torch.manual_seed(0)
    net = TwinNetwork(SMALL, 5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return DigitalTwin(net)


@pytest.fixture
def clip():
    """Video, gaze and behaviour of 40 frames."""
    generator = np.random.default_rng(1)
    video = generator.integers(0, 256, (40, 18, 32)).astype(np.uint8)
    return video, *generator.normal(size=(2, 40, 2)).astype(np.float32)


@pytest.mark.slow
def test_outputs_of_the_release_are_met():
    faults = [line.text() for line in lines(FOLDER) if not line.is_good]
    assert not faults


@pytest.mark.slow
def test_a_reference_with_other_values_is_out_of_tolerance(monkeypatch):
    read = Reference.expected

    def changed(self, file):
        return {key: value + 1e-3 for key, value in read(self, file).items()}

    monkeypatch.setattr(Reference, "expected", changed)
    assert not next(lines(FOLDER)).is_good


def test_full_size_has_the_released_number_of_parameters():
    with torch.device("meta"):
        net = TwinNetwork(TwinConfig(), 10)
    counts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()
    }
    assert counts == {
        "core": 4_528_640,
        "perspective": 693,
        "modulation": 8_896,
        "readout": 5_220,
    }
    assert len(net.state_dict()) == 338


@pytest.mark.slow
def test_frames_one_by_one_are_the_clip(twin, clip):
    video, pupil, behavior = clip
    whole = twin.predict(video, pupil, behavior)
    twin.state = None
    steps = [twin.stream(*frame) for frame in zip(video, pupil, behavior, strict=True)]
    np.testing.assert_allclose(np.stack(steps), whole, atol=1e-5)
    twin.predict(video[:9], pupil[:9], behavior[:9])
    rest = twin.predict(video[9:], pupil[9:], behavior[9:], reset=False)
    np.testing.assert_allclose(rest, whole[9:], atol=1e-5)


@pytest.mark.slow
def test_gaps_of_behaviour_are_its_mean(twin, clip):
    video, pupil, behavior = clip
    pupil[3:5], behavior[7] = np.nan, np.nan
    filled = twin.predict(video, np.nan_to_num(pupil), np.nan_to_num(behavior))
    np.testing.assert_array_equal(twin.predict(video, pupil, behavior), filled)
    nothing = np.zeros((40, 2), np.float32)
    np.testing.assert_array_equal(twin.predict(video), twin.predict(video, nothing, nothing))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((np.zeros((4, 8, 8)),), "uint8"),
        ((np.zeros((4, 8, 8), np.uint8), np.zeros((3, 2))), r"\(4, 2\)"),
        ((np.zeros((4, 8), np.uint8),), "shape"),
    ],
)
def test_other_inputs_are_refused(twin, inputs, words):
    with pytest.raises(ValueError, match=words):
        twin.predict(*inputs)
