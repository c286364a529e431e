"""Every neuron from fixed motion-energy features of the video, and behaviour.

1,152 features: 36 places x 4 orientations x 2 wavelengths x 2 speeds x 2 directions
of quadrature pairs, smoothed as calcium would. Nothing of the stimulus is learned
but how each neuron weighs them. One penalty for all inputs, as in the study it comes
from; a tenth of it for behaviour gains 0.02 on the demo session (0.342 against 0.323,
video and behaviour).
"""

from functools import lru_cache

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.data.window import without_missing
from omnimouse_model.data.window_spec import (
    N_SAMPLES,
    RESPONSE_RATE_HZ,
    SCREEN_RATE_HZ,
    WindowSpec,
)
from omnimouse_model.masks import Mask
from omnimouse_model.predict.baselines.fit_cache import (
    BETWEEN,
    FITTED,
    HELD_OUT,
    Fit,
    training_windows,
)
from omnimouse_model.predict.baselines.ridge import (
    Covariance,
    Sums,
    choose_penalty,
    weights,
)
from omnimouse_model.predict.baselines.rules import RulePrediction, refuse_behavior
from omnimouse_model.predict.baselines.visible_input import (
    SCORED,
    VisibleInput,
    behavior_inputs,
    behavior_of,
)
from omnimouse_model.predict.predictor import Needs

HEIGHT, WIDTH = 36, 64
PLACES = (4, 9)
ORIENTATIONS = 4
WAVELENGTHS_PX = (12.0, 22.0)
SPEEDS_HZ = (1.5, 4.0)
N_FEATURES = (
    PLACES[0] * PLACES[1] * ORIENTATIONS * len(WAVELENGTHS_PX) * len(SPEEDS_HZ) * 2
)
CALCIUM_DECAY_S = 0.22
_TAPS = 15


@lru_cache(maxsize=1)
def spatial_filters() -> np.ndarray:
    """Quadrature pairs (pixel, 2, place x orientation x wavelength), float32."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1, 1)
    pairs = []
    for wavelength in WAVELENGTHS_PX:
        for orientation in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
            y, x = _places()
            dy, dx = rows - y, columns - x
            envelope = np.exp(-0.5 * (dx**2 + dy**2) / (0.42 * wavelength) ** 2)
            along = dx * np.cos(orientation) + dy * np.sin(orientation)
            phase = 2 * np.pi * along / wavelength
            pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)], 1)
            # Blind to uniform light, and of unit energy.
            shape = envelope[:, None]
            pair -= shape * (pair.sum(axis=0) / shape.sum(axis=0))
            pair /= np.sqrt((pair**2).sum(axis=(0, 1)) / 2)
            pairs.append(pair)
    return np.concatenate(pairs, axis=2).astype(np.float32)


def _places() -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(PLACES[0]) + 0.5) * HEIGHT / PLACES[0]
    x = (np.arange(PLACES[1]) + 0.5) * WIDTH / PLACES[1]
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    return grid_y.reshape(1, -1), grid_x.reshape(1, -1)


@lru_cache(maxsize=1)
def temporal_filters() -> np.ndarray:
    """Causal quadrature pairs in time as matrices (speed, 2, 60, 60), float32.

    Before the window the first frame is taken to have been there all along.
    """
    delay = np.arange(_TAPS) / SCREEN_RATE_HZ
    envelope = (delay / 0.06) ** 2 * np.exp(-delay / 0.045)
    pairs = []
    for speed in SPEEDS_HZ:
        phase = 2 * np.pi * speed * (delay - 0.09)
        pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)])
        pair -= pair.sum(axis=1, keepdims=True) * envelope / envelope.sum()
        pairs.append([_causal(kernel) for kernel in pair / np.sqrt((pair**2).sum())])
    return np.array(pairs, dtype=np.float32)


@lru_cache(maxsize=1)
def _calcium() -> np.ndarray:
    delay = np.arange(N_SAMPLES) / RESPONSE_RATE_HZ
    kernel = np.exp(-delay / CALCIUM_DECAY_S)
    return _causal(kernel / kernel.sum()).astype(np.float32)


def _causal(kernel: np.ndarray) -> np.ndarray:
    """Matrix (60, 60) of a causal filter that holds the first sample before 0."""
    matrix = np.zeros((N_SAMPLES, N_SAMPLES))
    for sample in range(N_SAMPLES):
        before = np.maximum(sample - np.arange(len(kernel)), 0)
        np.add.at(matrix[sample], before, kernel)
    return matrix


def motion_energy(video: np.ndarray) -> np.ndarray:
    """Features (60, 1152) of a normalised video (60, 36, 64)."""
    filters = spatial_filters()
    flat = video.reshape(N_SAMPLES, -1).astype(np.float32)
    seen = flat @ filters.reshape(len(filters), -1)
    features = []
    for slow, fast in temporal_filters():
        even_slow, odd_slow = np.split(slow @ seen, 2, axis=1)
        even_fast, odd_fast = np.split(fast @ seen, 2, axis=1)
        features.append(np.hypot(even_slow + odd_fast, odd_slow - even_fast))
        features.append(np.hypot(even_slow - odd_fast, odd_slow + even_fast))
    return np.asarray(_calcium() @ np.concatenate(features, axis=1))


class VideoRidge:
    """Ridge from motion energy, behaviour, or both, whichever are visible."""

    name = "video-ridge"
    needs = Needs(sees_responses=False, sees_video=True, sees_behavior=True)
    any_spec = False

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit weights from video, from behaviour, and from both."""
        folds: list[Sums] = []
        for fold, window in training_windows(session, stride=30, most=1800, spec=spec):
            features = motion_energy(without_missing(window.video))
            behavior = behavior_inputs(behavior_of(window))
            inputs = np.concatenate([features, behavior], axis=1)
            if not folds:
                folds = [Sums(inputs.shape[1], session.n_neurons) for _ in range(3)]
            # A missing response counts as 0; leaving it out would need one sum per
            # neuron.
            values = without_missing(window.responses)
            folds[fold].add(inputs[SCORED], values[SCORED])
        train, held_out = (folds[k].covariance() for k in (FITTED, HELD_OUT))
        # The penalty is chosen on a split; the weights then use every window.
        for fold in (HELD_OUT, BETWEEN):
            folds[FITTED].absorb(folds[fold])
        whole = folds[FITTED].covariance()
        everything = np.arange(folds[0].n_inputs)
        fit: Fit = {"mean": whole.mean_y}
        for key, used in {
            "video": everything[:N_FEATURES],
            "behavior": everything[N_FEATURES:],
            "both": everything,
        }.items():
            # A session without behaviour has no inputs of this kind.
            if len(used):
                fit |= _fitted(key, used, train, held_out, whole)
        return fit

    def refusal(self, mask: Mask) -> str:
        """Refuse masks that show neither video nor behaviour."""
        if not mask.frames.any() and not mask.has_visible_behavior:
            return "needs visible video frames or visible behaviour."
        return refuse_behavior(mask)

    def predict(self, fit: Fit, inputs: VisibleInput, mask: Mask) -> RulePrediction:
        """Weigh the features of the visible streams."""
        features = {}
        if inputs.video is not None:
            features["video"] = motion_energy(inputs.video)
        if inputs.behavior is not None:
            features["behavior"] = behavior_inputs(inputs.behavior)
        if not features:
            rates = np.broadcast_to(fit["mean"], mask.cells.shape)
            return RulePrediction(
                rates, None, "mean rate: the session has no behaviour"
            )
        # Fitted apart: weights for both streams are wrong if one is missing.
        key = "both" if len(features) == 2 else next(iter(features))
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        joined = np.concatenate(list(features.values()), axis=1)
        return RulePrediction(joined @ weight + intercept)


def _fitted(
    key: str,
    used: np.ndarray,
    train: Covariance,
    held_out: Covariance,
    whole: Covariance,
) -> Fit:
    """Return weights and intercept of some of the inputs."""
    penalty = choose_penalty(train.of(used), held_out.of(used))
    part = whole.of(used)
    weight = weights(part, penalty)
    return {
        f"{key}_weight": weight.astype(np.float32),
        f"{key}_intercept": part.mean_y - part.mean_x @ weight,
        f"{key}_penalty": np.array(penalty),
    }
