"""Recordings of gratings and dots by neurons whose tuning is known, and their model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import omnimouse_model as om
from omnimouse_model.data.session import Session
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor
from omnimouse_model.progress import never

RATE_HZ = 30.0
TRIAL_S, PAUSE_S, FIRST_S = 0.8, 0.2, 2.0
"""Duration of a trial, of the pause after it, and onset of the first one."""
SPONTANEOUS = 0.5
OFFSET_S = 0.01
"""Windows read the video this long after a sample of the responses, which is then the
sample that they read; at the time of a sample, rounding would decide."""


def recording(
    shown: Sequence[Mapping[str, Any]],
    evoked: np.ndarray,
    *,
    noise: float = 0.0,
    lag_s: float = 0.0,
    tiers: Sequence[str] | None = None,
    seed: int = 0,
) -> Session:
    """Return a recording of trials.

    Parameters
    ----------
    shown
        Columns of the trial table, of each trial.
    evoked
        Response (trial, neuron) during each trial.
    noise
        Standard deviation of what is added to a neuron's response to a trial.
    lag_s
        Delay of the responses.
    """
    n_trials, n_neurons = evoked.shape
    onset = FIRST_S + np.arange(n_trials) * (TRIAL_S + PAUSE_S)
    times = np.arange(round((onset[-1] + 4) * RATE_HZ)) / RATE_HZ
    draw = np.random.default_rng(seed)
    evoked = evoked + noise * draw.normal(size=evoked.shape)
    responses = np.full((len(times), n_neurons), SPONTANEOUS)
    for begin, value in zip(onset + lag_s, evoked, strict=True):
        responses[(times >= begin - 0.01) & (times < begin + TRIAL_S + 0.06)] = value
    frames = np.arange(round(TRIAL_S * RATE_HZ)) / RATE_HZ
    # Grey before the first and after the last trial, so that both lie in windows.
    grey = OFFSET_S + np.arange(round(FIRST_S * RATE_HZ) - 3) / RATE_HZ
    video_times = np.concatenate([grey, *(begin + frames for begin in onset), onset[-1] + 1 + grey])
    session = om.open_session(
        {
            "id": "9-1-1",
            "responses": responses,
            "rate_hz": RATE_HZ,
            "video": np.full((len(video_times), 36, 64), 128, np.uint8),
            "video_times": video_times,
            "trial_start": onset,
            "trial_stop": onset + TRIAL_S,
            "trial_tier": np.array(tiers or ["train"] * n_trials),
        }
    )
    # Plain arrays have no other columns; those of an NWB file have these.
    extra = tuple(
        dict(shown[fields["id"]]) if "id" in fields else {} for fields in session.trials.extra
    )
    return with_columns(session, extra)


def with_columns(session: Session, extra: Sequence[dict[str, Any]]) -> Session:
    """Return the session with other columns of its trial table."""
    return replace(session, trials=replace(session.trials, extra=tuple(extra)))


def directions_shown(n_directions: int = 8, repeats: int = 6) -> np.ndarray:
    """Return a drawn order of directions in degrees."""
    once = np.arange(n_directions) * 360 / n_directions
    return np.random.default_rng(1).permutation(np.tile(once, repeats))


def tuned(directions_deg: np.ndarray, preferred_deg: np.ndarray) -> np.ndarray:
    """Return the response of each neuron to directions, weaker to the opposite one."""
    away = np.radians(directions_deg[:, None] - preferred_deg)
    towards, opposite = (np.exp(3 * (sign * np.cos(away) - 1)) for sign in (1, -1))
    return 4 * towards + 2 * opposite


def grating_session(
    preferred_deg: np.ndarray, directions: np.ndarray | None = None, **settings: Any
) -> Session:
    """Return a recording of neurons with these preferred directions."""
    directions = directions_shown() if directions is None else directions
    shown = [{"direction": float(d), "contrast": 0.8} for d in directions]
    return recording(shown, tuned(directions, preferred_deg), **settings)


class KnownNeurons(Predictor):
    """A model whose response to each trial of a recording is given.

    It asserts that responses are hidden and that it sees the video.
    """

    predictor_id = "known"
    needs = Needs(sees_responses=False, sees_video=True, sees_behavior=True)

    def __init__(self, evoked: np.ndarray) -> None:
        self.evoked = evoked
        self.behavior: set[Any] = set()

    def prepare(self, session):
        pass

    def encode(self, window, mask, cancelled=never):
        assert not mask.visible.any()
        assert mask.frames.all()
        self.behavior.add(mask.behavior)
        return Encoded(window, mask, None)

    def decode(self, encoded, neurons=None, cancelled=never):
        window, mask = encoded.window, encoded.mask
        number = (window.sample_times_s - FIRST_S) / (TRIAL_S + PAUSE_S)
        trial = np.clip(np.floor(number + 0.01), 0, len(self.evoked) - 1)
        rates = self.evoked[trial.astype(int)][:, neurons]
        values = np.where(mask.target[:, neurons], rates, np.nan)
        return Prediction(values.astype(np.float32), neurons, None, mask.mask_id, self.predictor_id)


def turned_model(
    preferred_deg: np.ndarray, turn_deg: float, directions: np.ndarray | None = None
) -> KnownNeurons:
    """Return a model that prefers directions turned by an angle."""
    directions = directions_shown() if directions is None else directions
    return KnownNeurons(tuned(directions, preferred_deg + turn_deg))
