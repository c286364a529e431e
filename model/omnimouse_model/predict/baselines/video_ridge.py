"""Baseline `video-ridge`: ridge regression of responses on motion energy and behaviour.

One penalty serves all inputs. A tenth of it for behaviour would gain 0.02 on the demo
session (0.342 instead of 0.323, with video and behaviour).
"""

import numpy as np

from omnimouse_model.data.session import Session, without_missing
from omnimouse_model.data.window_spec import SCREEN_RATE_HZ, WindowSpec
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
from omnimouse_model.predict.gabor_features import N_FEATURES, motion_energy
from omnimouse_model.predict.predictor import Needs


class VideoRidge:
    """Ridge from motion energy, behaviour, or both, whichever are visible."""

    name = "video-ridge"
    needs = Needs(sees_responses=False, sees_video=True, sees_behavior=True)
    any_spec = False

    def fit(self, session: Session, spec: WindowSpec) -> Fit:
        """Fit weights from video, from behaviour, and from both."""
        folds: list[Sums] = []
        for fold, window in training_windows(session, stride=30, most=1800, spec=spec):
            features = motion_energy(without_missing(window.video), SCREEN_RATE_HZ)
            behavior = behavior_inputs(behavior_of(window))
            inputs = np.concatenate([features, behavior], axis=1)
            if not folds:
                folds = [Sums(inputs.shape[1], session.n_neurons) for _ in range(3)]
            folds[fold].add(inputs[SCORED], window.filled_responses[SCORED])
        train, held_out = (folds[k].covariance() for k in (FITTED, HELD_OUT))
        # The penalty is chosen on a split; the weights then use every window.
        for fold in (HELD_OUT, BETWEEN):
            folds[FITTED].absorb(folds[fold])
        covariance = folds[FITTED].covariance()
        everything = np.arange(folds[0].n_inputs)
        fit: Fit = {"mean": covariance.mean_y}
        for key, columns in {
            "video": everything[:N_FEATURES],
            "behavior": everything[N_FEATURES:],
            "both": everything,
        }.items():
            # A session without behaviour has no inputs of this kind.
            if len(columns):
                fit |= _fitted(key, columns, train, held_out, covariance)
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
            features["video"] = motion_energy(inputs.video, SCREEN_RATE_HZ)
        if inputs.behavior is not None:
            features["behavior"] = behavior_inputs(inputs.behavior)
        if not features:
            rates = np.broadcast_to(fit["mean"], mask.cells.shape)
            return RulePrediction(rates, None, "mean rate: the session has no behaviour")
        # Weights fitted to both streams are wrong if one is missing, so each
        # combination has its own fit.
        key = "both" if len(features) == 2 else next(iter(features))
        weight, intercept = fit[f"{key}_weight"], fit[f"{key}_intercept"]
        joined = np.concatenate(list(features.values()), axis=1)
        return RulePrediction(joined @ weight + intercept)


def _fitted(
    key: str,
    columns: np.ndarray,
    train: Covariance,
    held_out: Covariance,
    covariance: Covariance,
) -> Fit:
    """Return weights and intercept of some of the inputs."""
    penalty = choose_penalty(train.part(columns), held_out.part(columns))
    part = covariance.part(columns)
    weight = weights(part, penalty)
    return {
        f"{key}_weight": weight.astype(np.float32),
        f"{key}_intercept": part.mean_y - part.mean_x @ weight,
        f"{key}_penalty": np.array(penalty),
    }
