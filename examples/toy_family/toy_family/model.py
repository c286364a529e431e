"""The model: predictor, checkpoint, training and fine-tuning, in numpy.

The rate of neuron n is `max(0, mean[n] + gain[n] * weight * drive)`, where the drive is
the mean of the visible responses about their means. The weight is shared by all
sessions: a fine-tuning learns the gains of a new session and leaves it as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

import omnimouse_model as om
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.families import Job, read_checkpoint, save_checkpoint
from omnimouse_model.masks.mask import input_cells
from omnimouse_model.predict.predictor import (
    check_known,
    check_request,
    check_responses_asked,
)
from toy_family.family import NAME, SPEC, Config, Options

MODEL = "model.safetensors"
SAVE_EVERY = 20


@dataclass(frozen=True, slots=True, repr=False)
class Toy(om.Predictor):
    """Predictor of the sessions in `means`; arrays are float32 (P,) by session id."""

    weight: float
    means: Mapping[str, np.ndarray]
    gains: Mapping[str, np.ndarray]
    name: str = NAME
    step: int = 0

    @property
    def predictor_id(self) -> str:
        """Name, and a hash of the weights: results of other weights are not reused."""
        digest = blake2b(np.float64(self.weight).tobytes(), digest_size=4)
        for key in sorted(self.means):
            digest.update(self.means[key].tobytes() + self.gains[key].tobytes())
        return f"{self.name}@{digest.hexdigest()}"

    @property
    def n_parameters(self) -> int:
        """Number of learned numbers."""
        return 1 + sum(2 * len(mean) for mean in self.means.values())

    @property
    def needs(self) -> om.Needs:
        """Reads responses, and knows the sessions on which it was trained."""
        counts = {key: len(mean) for key, mean in self.means.items()}
        return om.Needs(spec=SPEC, sessions=frozenset(counts), n_neurons=counts)

    def prepare(self, session: om.Session) -> None:
        """Accept any session: the model keeps no data of one."""

    def encode(self, window: om.Window, mask: om.Mask, cancelled: Any = None) -> om.Encoded:
        """Return the drive of the window; hidden and target values are never read."""
        check_request(self.name, self.needs, window, mask)
        check_responses_asked(self.name, mask)
        help_text = "Fine-tune it with om.finetune."
        check_known(self.name, self.needs.n_neurons, window.session, help_text)
        drive = np.zeros(len(mask.cells), np.float32)
        if mask.visible.any():
            visible = input_cells(mask) & np.isfinite(window.responses)
            drive = _drive(window.responses, visible, self.means[window.session.id])
        return om.Encoded(window, mask, drive)

    def decode(
        self,
        encoded: om.Encoded,
        neurons: np.ndarray | None = None,
        cancelled: Any = None,
    ) -> om.Prediction:
        """Predict the target cells of some neurons, by default of all with targets."""
        mask, session = encoded.mask, encoded.window.session
        if neurons is None:
            neurons = np.flatnonzero(mask.target.any(axis=0))
        mean, gain = self.means[session.id][neurons], self.gains[session.id][neurons]
        rates = mean + gain * self.weight * encoded.state[:, None]
        # Rates are at least 0 where the recorded responses are.
        rates = np.where(mean >= 0, np.maximum(rates, 0), rates)
        return om.Prediction(
            responses=np.where(mask.target[:, neurons], rates, np.nan).astype(np.float32),
            neurons=np.asarray(neurons, np.int64),
            behavior=None,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
            scale=np.asarray(session.response_scale[neurons], np.float64),
            times_s=encoded.window.times("responses"),
        )


def _drive(responses: np.ndarray, visible: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the mean of the visible responses about their means, (n_samples,)."""
    # Hidden values are replaced before any sum, so that they cannot have an effect.
    departure = np.where(visible, responses - mean, 0)
    return departure.sum(axis=1) / np.maximum(visible.sum(axis=1), 1)


# -- checkpoints -----------------------------------------------------------------------
def save(toy: Toy, path: Path) -> None:
    """Write a checkpoint: `save_checkpoint` adds family and pair id."""
    tensors = {f"means.{key}": torch.from_numpy(mean) for key, mean in toy.means.items()}
    tensors |= {f"gains.{key}": torch.from_numpy(gain) for key, gain in toy.gains.items()}
    about = {"weight": toy.weight, "sessions": dict(toy.needs.n_neurons), "step": toy.step}
    save_checkpoint(path, tensors, NAME, about)


def load(path: Path) -> Toy:
    """Read a checkpoint, or the one in the folder of a run."""
    tensors, _, about, _ = read_checkpoint(path, NAME)
    means = {key: tensors[f"means.{key}"].numpy() for key in about["sessions"]}
    gains = {key: tensors[f"gains.{key}"].numpy() for key in about["sessions"]}
    return Toy(about["weight"], means, gains, path.stem, about["step"])


# -- training --------------------------------------------------------------------------
def train(config: Config, sessions: Sequence[om.Session], out: Path, job: Job, seed: int) -> Toy:
    """Fit the weight and the gains of all sessions, or go on from the model in `out`."""
    toy = Toy(1.0, {}, {}) if not (out / MODEL).exists() else load(out / MODEL)
    for session in sessions:
        toy = _with_session(toy, session)
    if set(toy.means) != {session.id for session in sessions}:
        raise ValueError(f"{out} was trained with {sorted(toy.means)}: choose another folder.")
    return _descend(toy, sessions, out, job, config.steps, config.rate, seed, is_frozen=False)


def transfer(
    predictor: om.Predictor, session: om.Session, options: Options, out: Path, job: Job
) -> Toy:
    """Fit the gains of a new session; the weight stays as it is."""
    assert isinstance(predictor, Toy)
    if session.id in predictor.means:
        raise FinetuneError("known", f"{predictor.predictor_id} knows {session.id} already.")
    toy = load(out / MODEL) if (out / MODEL).exists() else replace(predictor, step=0)
    toy = _with_session(toy, session)
    steps, rate, seed = options.steps, options.rate, options.seed
    return _descend(toy, [session], out, job, steps, rate, seed, is_frozen=True)


def _with_session(toy: Toy, session: om.Session) -> Toy:
    """Return the model with start values for a session that it does not know."""
    if session.id in toy.means:
        return toy
    mean = np.asarray(session.units.mean / session.response_scale, np.float32)
    gain = np.zeros(session.n_neurons, np.float32)
    means, gains = {**toy.means, session.id: mean}, {**toy.gains, session.id: gain}
    return replace(toy, means=means, gains=gains)


def _descend(
    toy: Toy,
    sessions: Sequence[om.Session],
    out: Path,
    job: Job,
    steps: int,
    rate: float,
    seed: int,
    *,
    is_frozen: bool,
) -> Toy:
    """Train up to a number of steps and save the model; a step draws its window by its number."""
    starts = [session.window_starts("train", spec=SPEC) for session in sessions]
    for session, of_session in zip(sessions, starts, strict=True):
        if not len(of_session):
            raise ValueError(f"Session {session.id} has no whole window of tier 'train'.")
    job.progress(toy.step, steps, "training")
    for step in range(toy.step, steps):
        # Asked between steps: what is reached is saved, and the same call continues.
        if job.cancelled():
            save(toy, out / MODEL)
            raise StoppedError(f"stopped at step {step} of {steps}; saved in {out}.")
        rng = np.random.default_rng([seed, step])
        number = step % len(sessions)
        window = sessions[number].window(float(rng.choice(starts[number])), SPEC)
        toy = replace(_step(toy, window, rate, rng, is_frozen), step=step + 1)
        if toy.step % SAVE_EVERY == 0:
            save(toy, out / MODEL)
        job.progress(toy.step, steps, "training")
    save(toy, out / MODEL)
    return load(out / MODEL)


def _step(
    toy: Toy, window: om.Window, rate: float, rng: np.random.Generator, is_frozen: bool
) -> Toy:
    """Predict a random half of the neurons from the other, and follow the gradient."""
    key = window.session.id
    mean, gain = toy.means[key], toy.gains[key]
    recorded = np.isfinite(window.responses)
    shown = rng.random(len(mean)) < 0.5
    drive = _drive(window.responses, recorded & shown, mean)
    asked = recorded & ~shown
    errors = np.where(asked, mean + gain * toy.weight * drive[:, None] - window.responses, 0)
    slope = (errors * drive[:, None]).sum(axis=0) / max(float((drive**2).sum()), 1e-6)
    gains = {**toy.gains, key: np.asarray(gain - rate * toy.weight * slope, np.float32)}
    weight = toy.weight
    if not is_frozen:
        weight -= 0.1 * rate * float((slope * gain).mean())
    return replace(toy, weight=weight, gains=gains)
