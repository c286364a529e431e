"""Fine-tune an existing model to a new session.

    mine = om.finetune("demo", session, out="my_mouse/")

The family of the model trains (`predict.family.Transfer`). The run is a folder: it can be
killed, and resumes exactly.

    OUT/finetune.json                family, model, session and options of the run
    OUT/finetuned.safetensors, .json the result, for `om.load_predictor(OUT)`
"""

import logging
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.inference.families import (
    families,
    family_of_predictor,
    remember,
    weights_in,
)
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.predict.compatibility import unused_text
from omnimouse_model.predict.family import Family, transfer_options
from omnimouse_model.predict.predictor import Composed, Predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job, shows_progress
from omnimouse_model.storage.trees import decode, read_json, refused_as, shown
from omnimouse_model.storage.write import sole_writer, write_json
from omnimouse_model.training.checkpoints import FINISHED, LAST
from omnimouse_model.training.config import TransferOptions
from omnimouse_model.training.distributed import launched_ranks
from omnimouse_model.training.metrics_log import FILE, OnStep, reports_rows

logger = logging.getLogger(__name__)

STEPS, BATCH = TransferOptions().steps, TransferOptions().batch
ABOUT = "finetune.json"
"""Record of a run: model, session and options."""


@shows_progress
def finetune(
    predictor: Predictor | str | Path,
    session: Session,
    out: str | Path,
    *,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
    **options: Any,
) -> Predictor:
    """Fine-tune a model to a session; the same call resumes a run in `out`.

    For a digital twin, this is the transfer to a new animal; for a neural data
    transformer, it fits the stitchers of a session.

    Examples
    --------
    One step, so that the example is quick:

    >>> mine = om.finetune("demo", session, "my_mouse", steps=1, batch=1)
    >>> session.id in mine.needs.sessions
    True
    >>> same = om.load_predictor("my_mouse")
    >>> same.needs.n_neurons[session.id]
    40

    Parameters
    ----------
    predictor
        A loaded model of a family with a transfer, or an argument of `load_predictor`.
    out
        Folder of the run and its result, which `load_predictor(out)` loads.
    on_step
        Called with each step and its row of the log: losses, and scores of validation.
    job
        Progress (of OmniMouse the share of all parts, of others the steps), and stop request,
        which is asked after every step.
    options
        Those of the family (`predict.family.Transfer.options`). Those of this package have

        - `train`: "embeddings" trains the parameters of the session and the vector of an
          unknown animal; predictions for sessions that the model knows do not change. Of
          a twin, it trains perspective, modulation and readout; of a neural data
          transformer, both stitchers. "all" trains the core too; the result then
          contains this session only.
        - `steps`: total number, including those before a resume. The run ends earlier if
          the held-out score stops rising. If the run already has at least as many steps,
          the result is written from its saved weights; 0 writes the start values.
        - `batch`: windows, clips or trials per step.
        - `seed` of the held-out windows, the window order, masks and start values.
        - `neurons_of` (OmniMouse): recording that the model knows and that has some of
          the same neurons (`match_neurons`): their vectors start at those of the model.

    Returns
    -------
    Predictor
        The model with the best weights on the held-out windows.

    Raises
    ------
    FinetuneError
        The model cannot be fine-tuned to this session, or `out` holds another run.
    OutputBusyError
        Another process writes in `out`.
    StoppedError
        The job is cancelled; the run is saved in `out`.
    ValueError
        The family has no such option, or a value does not fit.
    """
    if isinstance(predictor, str | Path):
        predictor = load_predictor(predictor, device="cpu")
    family = family_of_predictor(predictor)
    can_transfer = family is not None and family.transfer is not None
    if can_transfer and (unused := unused_text(predictor.needs, session)):
        logger.warning(unused)
    return transferred(predictor, session, Path(out), device, on_step, job, options)


def transferred(
    predictor: Predictor,
    session: Session,
    out: Path,
    device: str,
    on_step: OnStep,
    job: Job,
    options: Mapping[str, Any],
) -> Predictor:
    """Fine-tune as `finetune` does, without telling what the model cannot use."""
    if launched_ranks() > 1:
        raise FinetuneError(
            "processes", "Fine-tuning runs in one process: start it without torchrun."
        )
    family = family_of_predictor(predictor)
    if family is None or family.transfer is None:
        able = (one.title for one in families().values() if one.transfer is not None)
        raise FinetuneError(
            "no_transfer",
            f"{predictor.predictor_id!r} has nothing to fine-tune; models of these families "
            f"have: {', '.join(able)}. Baselines are fitted to any session as they are.",
        )
    chosen = transfer_options(family.transfer, options, family.title)
    job = CallbackJob(job.progress, job.cancelled, job.message, device)
    with sole_writer(out):
        is_new = _write_settings(out, family, predictor, session, chosen)
        try:
            tuned = family.transfer.start(
                predictor, session, chosen, out, reports_rows(job, out, on_step)
            )
        except (ValueError, StoppedError):
            # A refusal leaves no folder behind.
            if is_new and set(out.iterdir()) == {out / ABOUT}:
                (out / ABOUT).unlink()
                out.rmdir()
            raise
        if not is_finished(out):
            write_json(out / ABOUT, {**_settings_in(out), "is_finished": True})
    return remember(tuned, family.name, out)


def is_finished(out: str | Path) -> bool:
    """Return True if a folder contains the result of a fine-tuning."""
    out = Path(out)
    if (out / FINISHED).exists():
        return True
    return (out / ABOUT).exists() and _settings_in(out).get("is_finished") is True


def _settings_in(out: Path) -> dict[str, Any]:
    with refused_as(partial(FinetuneError, "other_run")):
        return decode(dict[str, Any], read_json(out / ABOUT), out / ABOUT)


def _write_settings(
    out: Path, family: Family, predictor: Predictor, session: Session, options: Any
) -> bool:
    """Write the settings of a run; refuse a folder with another run.

    Returns whether the run is new.
    """
    values = {one.name: getattr(options, one.name) for one in fields(options)}
    about = {
        "weights": weights_in(predictor),
        "session": session.id,
        "recording": session.fingerprint,
        # The number of steps may grow.
        **{k: _plain(v) for k, v in values.items() if k != "steps"},
    }
    if (out / ABOUT).exists():
        saved = _settings_in(out)
        # Records without a family are older: their hash leaves out a context part.
        parts = predictor.members if isinstance(predictor, Composed) else ()
        if "family" not in saved and saved.get("weights") in [weights_in(one) for one in parts]:
            saved["weights"] = about["weights"]
        if other := [name for name in about if saved.get(name) != about[name]]:
            text = ", ".join(f"{n} {shown(saved.get(n))}, not {about[n]!r}" for n in other)
            raise FinetuneError(
                "other_run",
                f"{out} holds another fine-tuning ({text}): choose another folder.",
            )
        return False
    if (out / LAST).exists() or (out / FILE).exists():
        raise FinetuneError("other_run", f"{out} holds a training run: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / ABOUT, {"family": family.name, "model": predictor.predictor_id, **about})
    return True


def _plain(value: Any) -> Any:
    """Return an option as JSON; of a recording its id."""
    return value.id if isinstance(value, Session) else value
