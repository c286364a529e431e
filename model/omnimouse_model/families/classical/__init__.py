"""Baselines that are fitted to one session, as a `Family` without checkpoints."""

from functools import partial

from omnimouse_model.data.window_spec import default_spec
from omnimouse_model.predict.family import Family
from omnimouse_model.predict.predictor import Predictor

NAMES = (
    *("mean", "last", "interpolation", "ridge", "context-ridge", "video-ridge"),
    "linear-gaussian",
)
"""From the simplest to the best."""


def _build(name: str, device: str) -> Predictor:
    # The device is ignored: baselines use numpy alone.
    from omnimouse_model.families.classical.predictor import naive_predictor
    from omnimouse_model.families.parts.linear_gaussian.predictor import LinearGaussian

    spec = default_spec()
    is_gaussian = name == LinearGaussian.name
    return LinearGaussian(spec) if is_gaussian else naive_predictor(name, spec)


FAMILY = Family(
    "classical",
    title="Baselines",
    summary="Means, interpolation and regressions that are fitted to each recording.",
    names={name: partial(_build, name) for name in NAMES},
)
