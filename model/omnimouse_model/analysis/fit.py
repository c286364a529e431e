"""Train a config of any family on open sessions, and fit a small model to a recording.

    predictor = om.fit("sensorium-factorised", session)

A run is a folder. It records what it was started with (`training.config.RECORD`), and the
same call resumes it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from omnimouse_model.analysis.finetune import ABOUT
from omnimouse_model.data.session import Session
from omnimouse_model.errors import StoppedError
from omnimouse_model.inference.families import (
    TrainingPlan,
    config_path,
    load_of_family,
    remember,
    small_config,
    training_plan,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import (
    QUIET,
    TRAINING,
    CallbackJob,
    Job,
    LimitedJob,
    shows_progress,
)
from omnimouse_model.storage.files import is_folder
from omnimouse_model.storage.trees import read_or_set_aside
from omnimouse_model.storage.write import cache_dir, sole_writer, write_json
from omnimouse_model.training.checkpoints import saved_step
from omnimouse_model.training.config import RECORD, RunSettings, write_record
from omnimouse_model.training.distributed import current_team
from omnimouse_model.training.metrics_log import OnStep, reports_rows


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
    session: Session,
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
    about = {"model": name, "session": session.id, "is_fit": True}
    is_new = not is_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / ABOUT, {**about, "is_finished": False})

    def report(done: int | float, total: int | float, step: str) -> None:
        is_limited = steps and step == TRAINING
        job.progress(done, min(total, steps) if is_limited else total, step)

    limited = CallbackJob(report, job.cancelled, job.message)
    further = max(steps - max(saved_step(out), 0), 0) if steps else None
    try:
        predictor = fit(
            name, session, out, steps=further, device=device, on_step=on_step, job=limited
        )
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
