"""Train a config of any family on sessions, fit a small one to a recording, fine-tune.

    predictor = om.fit("sensorium-factorised", session)
    mine = om.finetune("demo", session, out="my_mouse/")

A run is a folder. It records what it was started with (`training.config.RECORD`), can be
killed, and the same call resumes it exactly. In a fine-tuning, the family of the model
trains (`predict.family.Transfer`):

    OUT/finetune.json                family, model, session and options of the run
    OUT/finetuned.safetensors, .json the result, for `om.load_predictor(OUT)`
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from shutil import rmtree
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import FinetuneError, StoppedError
from omnimouse_model.extras import named_extras
from omnimouse_model.inference.families import (
    TrainingPlan,
    config_path,
    families,
    family_of_predictor,
    load_of_family,
    remember,
    small_config,
    training_plan,
    weights_in,
)
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.predict.checkpoint_file import ABOUT
from omnimouse_model.predict.compatibility import unused_text
from omnimouse_model.predict.family import Family, transfer_options
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, CallbackJob, Job, LimitedJob, shows_progress
from omnimouse_model.simulate.demo import opened
from omnimouse_model.storage.files import is_folder
from omnimouse_model.storage.trees import decode, read_json, read_or_set_aside, refused_as, shown
from omnimouse_model.storage.write import cache_dir, sole_writer, write_json
from omnimouse_model.training.checkpoints import FINISHED, LAST, saved_step
from omnimouse_model.training.config import RECORD, RunSettings, TransferOptions, write_record
from omnimouse_model.training.distributed import current_team, launched_ranks
from omnimouse_model.training.metrics_log import EVENTS, FILE, OnStep, reports_rows

logger = logging.getLogger(__name__)

STEPS, BATCH = TransferOptions().steps, TransferOptions().batch


@shows_progress
def finetune(
    predictor: Predictor | str | Path,
    session: Session | str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
    **options: Any,
) -> Predictor:
    """Fine-tune a model to a session; the same call resumes a run in `out`.

    Examples
    --------
    One step, so that the example is quick:

    >>> mine = om.finetune("demo", session, "my_mouse", steps=1, batch=1)
    >>> session.id in mine.needs.sessions
    True
    >>> same = om.load_predictor("my_mouse")
    >>> same.needs.n_neurons[session.id]
    40

    Notes
    -----
    For a digital twin, this is the transfer to a new animal; for a neural data
    transformer, it fits the stitchers of a session.

    Parameters
    ----------
    predictor
        A loaded model of a family with a transfer, or an argument of `load_predictor`.
    session
        An open session, or its name or path.
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
    session = opened(session)
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
        remedy = "Baselines are fitted to any session as they are."
        if family is not None and small_config(family.name):
            remedy = f"om.fit({family.name!r}, session) trains one on this recording."
        raise FinetuneError(
            "no_transfer",
            f"{predictor.predictor_id!r} has nothing to fine-tune; models of these families "
            f"have: {', '.join(able)}. {remedy}",
        )
    chosen = transfer_options(family.transfer, options, family.title)
    job = CallbackJob(job.progress, job.cancelled, job.message, device)
    with sole_writer(out):
        before = set(out.iterdir()) if is_folder(out) else set()
        is_new = _write_settings(out, family, predictor, session, chosen)
        try:
            with named_extras(family.name):
                tuned = family.transfer.start(
                    predictor, session, chosen, out, reports_rows(job, out, on_step)
                )
        except (ValueError, StoppedError):
            # A refusal leaves no folder behind, so that another seed can be chosen for it.
            made = set(out.iterdir()) - before
            if is_new and made <= {out / ABOUT, out / FILE, out / EVENTS}:
                (out / ABOUT).unlink()
                (out / FILE).unlink(missing_ok=True)
                if out / EVENTS in made:
                    rmtree(out / EVENTS, ignore_errors=True)
                if not before:
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
    values = {one.name: _plain(getattr(options, one.name)) for one in fields(options)}
    # The number of steps may change: that of the last call is kept.
    steps = {"steps": values.pop("steps")} if "steps" in values else {}
    about = {
        "weights": weights_in(predictor),
        "session": session.id,
        "recording": session.contents,
        **values,
    }
    if (out / ABOUT).exists():
        saved = _settings_in(out)
        # Records without a family are older: their hash leaves out a context part.
        parts = getattr(predictor, "members", ())
        if "family" not in saved and saved.get("weights") in [weights_in(one) for one in parts]:
            saved["weights"] = about["weights"]
        # Older records had the fingerprint, which a copy of the recording does not share.
        if saved.get("recording") == session.fingerprint:
            saved["recording"] = session.contents
        if other := [name for name in about if saved.get(name) != about[name]]:
            text = ", ".join(f"{n} {shown(saved.get(n))}, not {about[n]!r}" for n in other)
            raise FinetuneError(
                "other_run", f"{out} holds another fine-tuning ({text}): choose another folder."
            )
        if any(saved.get(name) != value for name, value in steps.items()):
            write_json(out / ABOUT, {**_settings_in(out), **steps})
        return False
    if (out / LAST).exists() or (out / FILE).exists():
        raise FinetuneError("other_run", f"{out} holds a training run: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    names = {"family": family.name, "model": predictor.predictor_id}
    write_json(out / ABOUT, {**names, **about, **steps})
    return True


def _plain(value: Any) -> Any:
    """Return an option as JSON; of a recording its id."""
    return value.id if isinstance(value, Session) else value


def train_plan(plan: TrainingPlan, sessions: Sequence[Session], out: Path, job: Job) -> Predictor:
    """Train or resume a run in `out`, and return the model of its best weights.

    Parameters
    ----------
    sessions
        Open sessions of this process; under `torchrun`, its share of them.

    Raises
    ------
    StoppedError
        The job is cancelled; the run is saved.
    ValueError
        A session does not suit the config, or `out` holds another run.
    """
    team = current_team()
    before, is_new, step = None, False, -1
    if team.is_main:
        # Runs of older versions have no record, and a damaged one is written anew.
        is_new, step = not is_folder(out), saved_step(out)
        before = read_or_set_aside(out / RECORD, RunSettings)
        out.mkdir(parents=True, exist_ok=True)
        write_record(out, plan.settings)
    # The other processes read the record that the main one has written.
    team.wait()
    try:
        with named_extras(plan.family):
            trained = plan.training.start(plan.config, sessions, out, job, seed=plan.settings.seed)
    except StoppedError:
        raise
    except Exception:
        # The run in the folder, which refused this config, keeps its record; a run that
        # never began leaves none, and no folder.
        if team.is_main and before is not None:
            write_record(out, before)
        elif team.is_main and saved_step(out) in (-1, step):
            (out / RECORD).unlink()
            if is_new:
                with suppress(OSError):  # a log of its first steps
                    out.rmdir()
        raise
    return remember(trained, plan.family, out)


@shows_progress
def fit(
    name: str,
    session: Session | str | Path,
    out: str | Path | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> Predictor:
    """Train a small model of a family on one recording; the same call resumes it.

    Examples
    --------
    >>> predictor = om.fit("sensorium-factorised", session)  # doctest: +SKIP

    Parameters
    ----------
    name
        A family or one of its models, such as "sensorium-factorised", of which the
        shipped config `NAME-small` is trained; or any training config.
    session
        An open session, or its name or path.
    out
        Folder of the run, which `load_predictor(out)` loads; by default in the cache, by
        config, recording and seed.
    steps
        Largest number of further steps; by default all of the config.
    on_step
        Called with each step and its row of the log, if the family writes one.
    job
        Progress in steps, and stop request.

    Returns
    -------
    Predictor
        The model with the best weights so far; it knows this recording.

    Raises
    ------
    ValueError
        There is no such family or config, or the recording does not suit it.
    StoppedError
        The job is cancelled; the run is saved in `out`.
    """
    plan = training_plan(small_config(name) or config_path(name), {"sessions": [], "seed": seed})
    plan = replace(plan, settings=replace(plan.settings, is_replaced=True))
    session = opened(session)
    place = _place(plan, session) if out is None else Path(out)
    with sole_writer(place):
        return run_steps(plan, [session], place, job, steps, device=device, on_step=on_step)


def fit_on_record(
    name: str,
    session: Session,
    out: Path,
    *,
    steps: int,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> Predictor:
    """Fit up to a step of the run, and record in `out` what a list of models shows.

    The arguments are those of `fit`; `steps` are those of the whole run, 0 for all.
    """
    about = {"model": name, "session": session.id, "is_fit": True, "steps": steps}
    is_new = not is_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / ABOUT, {**about, "is_finished": False})

    further = max(steps - max(saved_step(out), 0), 0) if steps else None
    try:
        predictor = fit(name, session, out, steps=further, device=device, on_step=on_step, job=job)
    except StoppedError:
        raise
    except Exception:
        if is_new and saved_step(out) == -1:  # refused: there is nothing to continue
            (out / ABOUT).unlink()
            with suppress(OSError):
                out.rmdir()
        raise
    write_json(out / ABOUT, {**about, "is_finished": True})
    return predictor


def run_steps(
    plan: TrainingPlan,
    sessions: Sequence[Session],
    out: Path,
    job: Job,
    steps: int | None,
    *,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
) -> Predictor:
    """Train at most so many further steps, and return the best weights so far."""
    job = reports_rows(CallbackJob(job.progress, job.cancelled, job.message, device), out, on_step)
    if steps is None:
        return train_plan(plan, sessions, out, job)
    limited = LimitedJob(job, steps)
    try:
        return train_plan(plan, sessions, out, limited)
    except StoppedError:
        if not limited.is_reached or job.cancelled():
            raise
    return load_of_family(out, device)


def _place(plan: TrainingPlan, session: Session) -> Path:
    facts = (plan.family, plan.settings.tree, plan.settings.seed, session.fingerprint)
    digest = blake2b(repr(facts).encode(), digest_size=6).hexdigest()
    return cache_dir() / "fits" / f"{plan.family}-{digest}"
