"""Prediction of a whole recording or a tier into one file, batch by batch."""

from collections.abc import Collection
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from omnimouse_model.analysis.evaluate.conditions import Condition
from omnimouse_model.analysis.evaluate.dask_map import (
    TaskPredictor,
    map_pieces,
    resolve_predictor,
)
from omnimouse_model.analysis.predictions.nwb import write_nwb
from omnimouse_model.analysis.predictions.unfinished_file import (
    FileBatch,
    Plan,
    UnfinishedFile,
    is_finished,
    open_unfinished,
    remove_rest,
)
from omnimouse_model.analysis.predictions.windows import prediction_starts
from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError, StoppedError
from omnimouse_model.extras import named_extras
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.remarks import lost_all_targets
from omnimouse_model.predict.prediction_file.metadata import Metadata
from omnimouse_model.predict.prediction_file.predictor import (
    StoredPredictions,
    open_predictions,
)
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.predict.worker.server import Source
from omnimouse_model.progress import CallbackJob, Job, shown_job
from omnimouse_model.storage.locks import sole_writer
from omnimouse_model.storage.write import writing

SUFFIXES = (".zarr", ".nwb")


def predict_session(
    predictor: Predictor | Source | Path,
    session: Session,
    mask: str | Mask,
    path: str | Path,
    *,
    tier: str | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    job: Job | None = None,
) -> StoredPredictions:
    """Predict a whole recording or a tier, and write the predictions to one file.

    An interrupted call is continued by the same call. At most 8 windows are in memory,
    and as many per piece of work of a scheduler.

    Parameters
    ----------
    predictor
        Name, path or factory; a predictor object only without a scheduler.
    mask
        The mask of every window, or the name of a strategy. A mask of another spec is
        stretched to the windows of the predictor.
    path
        A zarr folder (`.zarr`) or an NWB file (`.nwb`); see docs/families.md.
    tier
        Predict the windows of a tier that `evaluate` scores, and the train windows that
        its centred scores need; by default consecutive windows over the whole
        recording, so that every sample is a target once.
    scheduler
        Predict on workers of a scheduler; see `dask_map.map_pieces`.
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.
    job
        Progress and stop request; see `progress.Job`.

    Returns
    -------
    StoredPredictions
        The finished file as a predictor.

    Raises
    ------
    ResultsFileError
        The path has other predictions, or another machine writes them.
    OutputBusyError
        Another process writes them.
    UnsupportedRequestError
        The predictor refuses the mask or the session.
    StoppedError
        `job.cancelled()` returned true; the finished batches are saved.

    Examples
    --------
    >>> stored = om.predict_session("mean", session, "test/video_behavior", "m.zarr")
    >>> window = session.window(20.0)
    >>> mask = om.Mask.from_strategy("test/video_behavior", session)
    >>> prediction = stored.predict(window, mask)
    >>> prediction.responses.shape, prediction.units
    ((60, 40), 'normalised')
    """
    path = Path(path).absolute()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} must end in {' or '.join(SUFFIXES)}.")
    if path.suffix == ".nwb":
        with named_extras():  # before hours of predictions
            import_module("h5py")
    loaded = resolve_predictor(predictor, device, connect)
    plan = _plan(loaded, session, mask, tier)
    model = TaskPredictor.of(predictor, device, loaded, scheduler, connect)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(path):
        if is_finished(path, plan.metadata.question):
            remove_rest(path)
        else:
            with shown_job(job) as shown:
                _write(path, plan, model, scheduler, shown)
    return open_predictions(path)


def _write(path: Path, plan: Plan, model: TaskPredictor, scheduler: str | None, job: Job) -> None:
    """Write the file of a plan, or what a stopped run has left to write."""
    spec, n_neurons = plan.metadata.spec, plan.session.n_neurons
    n_bytes = 4 * len(plan.starts) * spec.n_samples * n_neurons
    with writing(path, n_bytes), open_unfinished(path, plan) as part:
        _fill(part, model, scheduler, job)
        part.complete()
        if path.suffix == ".nwb":
            write_nwb(part.folder, path, plan.session)
            part.journal.remove()
        else:
            part.rename(path)


def _fill(part: UnfinishedFile, model: TaskPredictor, scheduler: str | None, job: Job) -> None:
    """Add all missing batches."""
    plan, missing = part.plan, part.missing()
    total = len(plan.starts)
    done = total - sum(len(plan.starts_of(number)) for number in missing)
    job.progress(done, total, f"{plan.session.id}: predicting")
    pieces = [(model, plan, number) for number in missing]
    for place, batch in map_pieces(
        _predict, pieces, scheduler, CallbackJob(cancelled=job.cancelled)
    ):
        number = missing[place]
        part.add(number, batch)
        done += len(plan.starts_of(number))
        job.progress(done, total, f"{plan.session.id}: predicting")
    if part.missing():
        raise StoppedError("The prediction was cancelled.")


def _plan(predictor: Predictor, session: Session, mask: str | Mask, tier: str | None) -> Plan:
    condition = Condition.of(mask)
    fitted = condition.mask(session).stretched(predictor.needs.spec)
    cells = scored_cells(fitted)
    decodes = fitted.has_behavior_target and bool(session.behavior_names)
    if not cells.any() and not decodes:
        reason = f": {fitted.note}" if lost_all_targets(fitted) else ""
        raise MaskError(f"{condition.name!r} has no target to predict{reason}.")
    starts = prediction_starts(session, fitted, tier)
    spec = fitted.spec
    metadata = Metadata(
        session=session.id,
        n_neurons=session.n_neurons,
        units="spikes/s" if spec.responses == "count" else "normalised",
        spec=spec,
        predictor=predictor.predictor_id,
        fingerprint=session.fingerprint,
        mask=fitted,
        tier=tier,
        behavior_units="recorded"
        if spec.behavior is not None and spec.behavior.is_raw
        else "z-score",
        question={
            "session": session.id,
            "fingerprint": session.fingerprint,
            "predictor": predictor.predictor_id,
            "mask": fitted.mask_id,
            "tier": tier,
            "windows": blake2b(starts.tobytes(), digest_size=12).hexdigest(),
        },
        written_by=f"omnimouse {_package_version()}",
    )
    return Plan(
        session,
        fitted,
        metadata,
        starts,
        np.flatnonzero(cells.any(axis=1)),
        np.flatnonzero(cells.any(axis=0)),
    )


def _package_version() -> str:
    try:
        return version("omnimouse-app")
    except PackageNotFoundError:  # a checkout that is not installed
        return "(unknown version)"


# -- predictions --------------------------------------------------------------------
def _predict(piece: tuple[TaskPredictor, Plan, int], job: Job) -> FileBatch:
    """Predict the windows of a batch, here or on a worker."""
    model, plan, number = piece
    mask, samples, neurons = plan.mask, plan.samples, plan.neurons
    starts = plan.starts_of(number)
    with model.loaded(plan.session) as (predictor, session):
        predictor.prepare(session)
        windows = [session.window(float(start), mask.spec) for start in starts]
        requests = ((window, mask, neurons) for window in windows)
        found = list(predictor.predict_many(requests, job.cancelled))
    responses = np.full((len(starts), len(samples), len(neurons)), np.nan, np.float32)
    valid = np.zeros((len(starts), len(samples)), bool)
    decoded = []
    for place, prediction in enumerate(found):
        columns = np.searchsorted(neurons, prediction.neurons)
        responses[place][:, columns] = prediction.responses[samples]
        valid[place] = prediction.valid[samples]
        if prediction.behavior is not None and mask.has_behavior_target:
            decoded.append(prediction.behavior)
    behavior = np.zeros((0, 0), np.float32)
    if len(decoded) == len(found):
        behavior = np.concatenate(decoded).astype(np.float32)
    remarks = dict.fromkeys(p.status for p in found if p.status != "ok")
    return FileBatch(
        responses.reshape(valid.size, len(neurons)),
        valid.reshape(-1),
        behavior,
        found[0].units,
        tuple(remarks),
    )
