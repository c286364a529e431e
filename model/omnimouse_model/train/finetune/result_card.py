"""Card in the checkpoint of a fine-tuned model: how it was made, and its scores."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from omnimouse_model.predict.omnimouse.loading import weights_hash
from omnimouse_model.train.finetune.progress import FinetuneProgress


def result_card(
    about: Mapping[str, Any],
    frozen: Mapping[str, Tensor],
    trained: Iterable[Tensor],
    last: FinetuneProgress,
    best: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card of a fine-tuned model.

    Parameters
    ----------
    about
        Model, session, mode, seed, and the unit of the scores.
    frozen, trained
        Tensors that kept their values, and those that were trained.
    last
        Report of the last step.
    best
        Card of the best weights.
    """
    return {
        **about,
        "frozen_hash": weights_hash(dict(frozen)) if frozen else None,
        "n_trained": sum(value.numel() for value in trained),
        "steps": last.step,
        "best_step": best["steps"],
        "before": last.before,
        "validation": best.get("validation"),
        "minutes": round(last.row["seconds"] / 60, 1),
    }
