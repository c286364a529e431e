"""Packages beside this one add families, without a change here."""

import subprocess
import sys
from pathlib import Path

import pytest

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.predict.predictor import check_known
from tests.acceptance.family import CHECKS

ROOT = Path(__file__).resolve().parents[3]


PASSED = [f"{check}: passed" for check in CHECKS if check != "window"]


def course_of(package: Path, name: str, point: str = "") -> list[str]:
    """Return the lines of a course without the window: here is no display."""
    if point:
        text = f'[project]\nname = "{name}"\n'
        text += f'[project.entry-points."omnimouse.families"]\n{name} = "{point}"\n'
        (package / "pyproject.toml").write_text(text, "utf-8")
    words = [sys.executable, "-m", "tests.acceptance.family", str(package), "--no-window"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    found = [line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")]
    assert (done.returncode == 0) == all(line.endswith(": passed") for line in found), done.stderr
    return [line.removeprefix(f"{name}: ") for line in found]


@pytest.mark.slow
@pytest.mark.process
def test_the_toy_of_the_examples_passes_the_whole_course():
    assert course_of(ROOT / "examples" / "toy_family", "toy") == PASSED


MODULE = """
import numpy as np

import omnimouse_model as om
from omnimouse_model.families import Family


class Still(om.Predictor):
    predictor_id = "still"
    needs = om.Needs(sees_responses=False)

    def prepare(self, session):
        pass

    def encode(self, window, mask, cancelled=None):
        return om.Encoded(window, mask, None)

    def decode(self, encoded, neurons=None, cancelled=None):
        mask = encoded.mask
        if neurons is None:
            neurons = np.flatnonzero(mask.target.any(axis=0))
        responses = np.where(mask.target[:, neurons], np.float32(1), np.float32(np.nan))
        neurons = np.asarray(neurons, np.int64)
        return om.Prediction(responses, neurons, None, mask.mask_id, self.predictor_id)


FAMILY = Family(
    "still", "Still", "One rate for all.", names={"still": lambda _: Still()}
)
"""
"""A family without training, fine-tuning and checkpoints."""


@pytest.mark.slow
@pytest.mark.process
def test_a_family_that_cannot_be_trained_passes_the_whole_course(tmp_path):
    (tmp_path / "still_family.py").write_text(MODULE, "utf-8")
    assert course_of(tmp_path, "still", "still_family:FAMILY") == PASSED


@pytest.mark.slow
@pytest.mark.process
def test_a_package_that_cannot_be_imported_fails_in_one_line(tmp_path):
    (tmp_path / "torn_family.py").write_text("import no_such_library", "utf-8")
    (line,) = course_of(tmp_path, "torn", "torn_family:FAMILY")
    assert "FAILED: AssertionError: the family cannot be imported" in line


def test_a_model_that_knows_no_recording_says_so(session):
    with pytest.raises(UnsupportedRequestError, match="knows no recording yet"):
        check_known("a-model", {}, session, "Fine-tune it.")


DECODER = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import omnimouse_model as om
from omnimouse_model.data.window_spec import BehaviorSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.families import Family, Preset, Training, read_checkpoint, save_checkpoint
from omnimouse_model.masks import input_cells
from omnimouse_model.predict.predictor import check_known, check_request

SPEC = om.WindowSpec(3.0, 20.0, "count", behavior=BehaviorSpec(10.0, ("running",)))


@dataclass(frozen=True, repr=False)
class Decoder(om.Predictor):
    slope: float
    sessions: dict

    @property
    def predictor_id(self):
        return f"counter@{np.float32(self.slope).tobytes().hex()}"

    @property
    def needs(self):
        known = frozenset(self.sessions)
        own = dict(predicts_behavior=True, predicts_responses=False)
        return om.Needs(spec=SPEC, sessions=known, n_neurons=self.sessions, **own)

    def prepare(self, session):
        pass

    def encode(self, window, mask, cancelled=None):
        check_request("counter", self.needs, window, mask)
        check_known("counter", self.sessions, window.session, "Fit it.")
        if not mask.visible.all():
            raise UnsupportedRequestError("counter reads all neurons at all times.")
        seen = input_cells(mask) & np.isfinite(window.responses)
        counts = np.where(seen, window.responses, 0).mean(axis=1)
        return om.Encoded(window, mask, counts.reshape(SPEC.n_behavior, -1).mean(axis=1))

    def decode(self, encoded, neurons=None, cancelled=None):
        mask = encoded.mask
        neurons = np.zeros(0, np.int64) if neurons is None else np.asarray(neurons, np.int64)
        responses = np.full((SPEC.n_samples, len(neurons)), np.nan, np.float32)
        behavior = np.float32(self.slope * encoded.state[:, None])
        return om.Prediction(
            responses, neurons, behavior, mask.mask_id, self.predictor_id, units="spikes/s"
        )


def load(path, device="cpu"):
    _, _, about, _ = read_checkpoint(path, "counter")
    return Decoder(about["slope"], about["sessions"])


def start(config, sessions, out, job, seed=0):
    if len(sessions) != 1:
        raise ValueError("A counter is fitted to one recording.")
    about = {"slope": 0.5, "sessions": {sessions[0].id: sessions[0].n_neurons}}
    save_checkpoint(out / "model.safetensors", {"one": torch.ones(1)}, "counter", about)
    job.progress(1, 1, "fitting")
    return load(out)


def presets(session):
    if "running" not in session.behavior_names:
        return [Preset("running", None, "The recording has no running speed.")]
    mask = om.Mask.nothing(session, SPEC).show(slice(None)).with_behavior("target")
    return [Preset("running", mask)]


CONFIGS = {"counter-small": Path(__file__).with_name("counter-small.yaml")}
TRAINING = Training(lambda tree: None, lambda config: SPEC, start, CONFIGS)
FAMILY = Family(
    "counter", load=load, summary="A rate.", presets=presets, training=TRAINING
)
"""
"""A decoder of one recording from spike counts, with windows of its own and no fine-tuning."""


@pytest.mark.slow
@pytest.mark.process
def test_a_decoder_of_counts_of_one_recording_passes_the_whole_course(tmp_path):
    (tmp_path / "counter_family.py").write_text(DECODER, "utf-8")
    (tmp_path / "counter-small.yaml").write_text("family: counter\nsessions: []\n", "utf-8")
    assert course_of(tmp_path, "counter", "counter_family:FAMILY") == PASSED
