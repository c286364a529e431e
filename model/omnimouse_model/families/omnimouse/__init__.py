"""OmniMouse: network, checkpoints, predictor, training and transfer, as a `Family`."""

from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import OMNIMOUSE
from omnimouse_model.masks import Mask
from omnimouse_model.predict.family import (
    Family,
    Training,
    Transfer,
    later,
    shipped_configs,
    stated_family,
    stated_in,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.training.config import NeuronTransferOptions

_LOAD = later(f"{__name__}.context_part:load_checkpoint_predictor")
DEMO = Path(__file__).with_name("demo.safetensors")
"""Weights of the demo model; `demo.json` beside them describes them."""


def _demo(device: str, **options: Any) -> Predictor:
    # The path is read now: tests put small weights in its place.
    return _LOAD(DEMO, device, **options)


def _recognises(path: Path) -> bool:
    # Official checkpoints, and those saved before families had names, name none.
    return stated_family(path) in ("", FAMILY.name)


CELL_S = 7.5e-5
"""Core-seconds of one neuron of a window of the demo, with two threads."""
VIDEO_CELLS = 200
"""Neurons of a window that are predicted while its video is encoded, measured for the demo."""
VALIDATION_CELLS = 1.6
"""Neurons that are predicted for one of a validation, whose masks show others; likewise."""
STEP_CELLS = 1.2
"""Neurons of a window that are predicted while one is trained on, measured likewise."""
START_CELLS = 128.0 * (1024 + VIDEO_CELLS)
"""Neurons that are predicted for start values: 1,024 in 128 windows."""
FINISHED = "finetuned.json"
"""Description in the folder of a fine-tuning that has the part, which its best step lacks."""
DEMO_BYTES = 8e6
"""Size of that model's weights; the time is assumed to be proportional to the size."""


def training_cells(n_neurons: int, steps: int, batch: int = 8, n_scored: int = 4 * 40) -> float:
    """Return neurons in windows that take as long as steps and validations together.

    A validation scores masks of windows, usually four of about 40 windows.
    """
    validations = (1 + min(steps, 10)) * n_scored * VALIDATION_CELLS
    return (n_neurons + VIDEO_CELLS) * (steps * batch * STEP_CELLS + validations)


def window_cells(n_neurons: int) -> int:
    """Return the same of a window that is predicted as a whole."""
    # Validations, the unit, predict about half of the samples of a window.
    return 2 * n_neurons + VIDEO_CELLS


def _has_context(model: str) -> bool:
    """Return whether the model of a name or path has a context part."""
    finished, names = Path(model, FINISHED), {"demo": True, "demo-plain": False}
    stated = stated_in(finished if finished.exists() else Path(model))
    return bool(names.get(model, stated.get("has_context", False)))


def _after_steps(model: str) -> str:
    """Return what is done after the last step of a fine-tuning (`Transfer.after_steps`)."""
    text = "the context part is fitted (prediction from visible responses)"
    return text if _has_context(model) else ""


def _unchanged(model: str, mask: Mask) -> str:
    """Return why fine-tuning cannot change the predictions (`Transfer.unchanged`)."""
    if mask.frames.any() or not _has_context(model):
        return ""
    return (
        "Without visible video, the context part alone predicts: it is linear-gaussian, fitted "
        "to this recording, which the steps do not change."
    )


def _transfer_seconds(model: str, n_bytes: int, session: Session, steps: int) -> float:
    """Return about how long a fine-tuning takes on one core (`Transfer.seconds`)."""
    # A small model is not proportionally faster: reading the windows takes time too.
    size = max(n_bytes / DEMO_BYTES, 0.2)
    cells = START_CELLS + training_cells(session.n_neurons, steps)
    return size * cells * CELL_S + _after_seconds(model, n_bytes, session)


def _after_seconds(model: str, n_bytes: int, session: Session) -> float:
    """Return about how long the fit of the context part takes (`Transfer.after_seconds`)."""
    if not _has_context(model):
        return 0.0
    # Each train window is predicted with its video, with and without behaviour; four
    # sets of inputs are fitted.
    size, n = max(n_bytes / DEMO_BYTES, 0.2), session.n_neurons
    n_windows = 60 * session.tiers().get("train", 0.0)
    return n_windows * (1e-2 + 3e-5 * n + 2 * window_cells(n) * CELL_S * size)


FAMILY = Family(
    "omnimouse",
    load=_LOAD,
    title="OmniMouse",
    summary="Masked multi-modal transformer: any neurons, video and behaviour predict the others.",
    names={"demo": _demo, "demo-plain": partial(_demo, name="demo-plain", with_context=False)},
    recognises=_recognises,
    describe=later(f"{__name__}.checkpoint:describe"),
    training=Training(
        later(f"{__name__}.batches:config_from"),
        lambda config: OMNIMOUSE,
        later(f"{__name__}.training:OmniMouseTraining.train"),
        shipped_configs(Path(__file__).parent / "configs"),
    ),
    transfer=Transfer(
        NeuronTransferOptions,
        later(f"{__name__}.training:OmniMouseTraining.transfer"),
        _transfer_seconds,
        _after_steps,
        _after_seconds,
        _unchanged,
        # Those of `training.DEMO` that have responses as targets.
        (
            "all neurons from video and behaviour",
            "half of the neurons from the other half, video and behaviour",
            "the same without video",
            "all neurons from their past and behaviour",
        ),
    ),
    export=later(f"{__name__}.training:export_run"),
    published="OmniMouse-5M",
)
