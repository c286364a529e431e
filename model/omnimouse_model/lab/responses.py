"""Responses of a model to the events of a stimulus, summed while they arrive."""

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EEXIST, ENOTEMPTY
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import (
    ResultsFileError,
    SessionFormatError,
    StoppedError,
    UnsupportedRequestError,
)
from omnimouse_model.inference.dask_map import TaskPredictor, map_pieces
from omnimouse_model.lab.stimuli.stimulus import Frames, Stimulus
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor, Request, predictions_of
from omnimouse_model.progress import QUIET, CallbackJob, Job, shows_progress
from omnimouse_model.storage.arrays.zarr_arrays import (
    ZarrArray,
    ZarrGroup,
    array_to_write,
    create_group,
)
from omnimouse_model.storage.journal import check_own, json_line, parsed_line
from omnimouse_model.storage.trees import read_json_mapping, shown
from omnimouse_model.storage.write import put_in_place, temporary_folder

# -- responses to a stimulus in a zarr folder, so that a stopped experiment goes on ---
SUFFIX = ".zarr"
FORMAT = "omnimouse-laboratory"
_VERSION = 1
_FINDINGS, _NEXT = "findings", "findings-next"
_WHOLE = "keeps_every_row"
"""Attribute of a folder in which a row without a response is stored, too: none may lack."""
_UNCOMPARED = ("session", "versions")
"""Entries that are stored, but not compared with those of the next run."""
_ARRAYS = ("responses", "done")


class ResponseStore:
    """Responses to the events of a stimulus, complete video by video.

    A new folder gets the arrays `responses` (event, neuron), NaN where unknown, and
    `done` (video), and later the group `findings`. An existing one goes on if it is of
    the same experiment.

    Parameters
    ----------
    path
        The folder, `x.zarr`.
    about
        What was shown to which model; in the attributes of the folder.
    shape
        Number of videos, of events and of neurons.

    Raises
    ------
    ResultsFileError
        The folder holds something else, or another experiment, or is damaged.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
        n_videos, n_events, n_neurons = shape
        self.path = path
        # As JSON returns it, so that tuples and arrays' numbers are compared alike.
        self.about = parsed_line(json_line(_finite(about)))
        if not path.exists():
            _create(path, self.about, shape)
        check_own(path)
        self._check(path)
        try:
            group = ZarrGroup(path)
            arrays = [group.array(name) for name in _ARRAYS]
        except SessionFormatError as error:
            raise self._damage(error) from error
        found = [(one.shape, one.dtype.name) for one in arrays]
        expected = [((n_events, n_neurons), "float32"), ((n_videos,), "bool")]
        if found != expected:
            raise ResultsFileError(
                f"{path}: {' and '.join(_ARRAYS)} are {found}; expected {expected}. "
                "Choose another file."
            )

    def read(
        self, video: Int64[np.ndarray, " event"]
    ) -> tuple[Float32[np.ndarray, "event n"], np.ndarray]:
        """Return the responses, and which videos are finished, bool (video,).

        Parameters
        ----------
        video
            The video of each event.

        Raises
        ------
        ResultsFileError
            The folder is damaged, or lacks responses to a finished video.
        """
        try:
            rows, done = (ZarrArray(self.path / name) for name in _ARRAYS)
            responses, is_done = rows.part(), done.part()
            # Older folders store no row that is NaN in all neurons.
            if ZarrGroup(self.path).attributes.get(_WHOLE):
                rows.require((event, 0) for event in np.flatnonzero(is_done[video]).tolist())
        except SessionFormatError as error:
            raise self._damage(error) from error
        return responses, is_done

    def write(
        self, video: int, rows: Int64[np.ndarray, " row"], responses: Float32[np.ndarray, "row n"]
    ) -> None:
        """Write the responses to the events of a finished video."""
        if len(rows):
            array = array_to_write(self.path, "responses", {"write_empty_chunks": True})
            array.oindex[rows] = responses
        # Last: a video counts when all of it is written.
        array_to_write(self.path, "done")[video] = True

    def findings(self, version: int) -> dict[str, np.ndarray] | None:
        """Return what was found, by name; None if nothing of this version is kept.

        Damaged findings count as none: they follow from the responses again.

        Raises
        ------
        ResultsFileError
            The folder cannot be read, for example for want of permission.
        """
        # New ones first: a kill can leave them before they have the name of the old ones.
        kept = (self._findings(self.path / name, version) for name in (_NEXT, _FINDINGS))
        return next((found for found in kept if found is not None), None)

    def _findings(self, folder: Path, version: int) -> dict[str, np.ndarray] | None:
        if not folder.exists():
            return None
        try:
            group = ZarrGroup(folder)
            if group.attributes.get("version") != version:
                return None
            # In their order: columns of tables have one.
            found = {str(name): group.array(str(name)).part() for name in group.attributes["names"]}
            # A piece that is missing reads as zeros. Older findings have no hash.
            is_whole = group.attributes.get("hash", _hash(found)) == _hash(found)
            return found if is_whole else None
        except SessionFormatError as error:
            if error.code != "unreadable":
                return None
            raise ResultsFileError(f"{folder}: {error}") from error
        except (KeyError, TypeError):
            return None

    def keep_findings(self, arrays: Mapping[str, np.ndarray], version: int) -> None:
        """Keep what was found, in place of what was found before.

        Raises
        ------
        OSError
            The folder cannot be written; what was found before is kept.
        """
        self._rename_findings()
        with temporary_folder(self.path / _NEXT) as new:
            about = {"version": version, "names": list(arrays), "hash": _hash(arrays)}
            group = create_group(new, about)
            for name, values in arrays.items():
                group.create_array(name, data=values)
            # One renaming, after which they are read in place of those before.
            with _unless_taken(self.path / _NEXT):
                put_in_place(new, self.path / _NEXT)
        # They are read under this name, too: those before can be removed next time.
        with suppress(OSError):
            self._rename_findings()

    def _rename_findings(self) -> None:
        """Give new findings the name of those before, which are removed."""
        new, path = self.path / _NEXT, self.path / _FINDINGS
        if new.exists():
            # There are none, or another program has removed them.
            with suppress(FileNotFoundError):
                shutil.rmtree(path)
            with _unless_taken(path), suppress(FileNotFoundError):
                new.rename(path)

    def _damage(self, error: Exception) -> ResultsFileError:
        return ResultsFileError(
            f"{self.path} is damaged: {error}. Delete it, or choose another file."
        )

    def _check(self, path: Path) -> None:
        problem = f"{path} holds no responses of the laboratory: choose another file."
        if not (path / "zarr.json").is_file():
            raise ResultsFileError(problem)
        attributes = read_json_mapping(path / "zarr.json").get("attributes")
        if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
            raise ResultsFileError(problem)
        if attributes.get("version") != _VERSION:
            raise ResultsFileError(
                f"{path}: version {shown(attributes.get('version'))}; expected {_VERSION}."
            )
        about = attributes.get("about")
        known = about if isinstance(about, dict) else {}
        for name, expected in self.about.items():
            if name not in _UNCOMPARED and known.get(name) != expected:
                raise ResultsFileError(
                    f"{path} is of another experiment: {name} is {shown(known.get(name))}; "
                    f"expected {shown(expected)}. Choose another file."
                )


def _hash(arrays: Mapping[str, np.ndarray]) -> str:
    digest = blake2b(digest_size=12)
    for name, values in arrays.items():
        digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def cached_store(
    folder: Path,
    about: Mapping[str, Any],
    shape: tuple[int, int, int],
    video: Int64[np.ndarray, " event"],
) -> ResponseStore:
    """Return the store of an experiment in a cache, named by what it is about.

    Nobody chooses its name: one that is damaged is replaced. Another version of this
    package has a store of its own, because its stimuli can differ.
    """
    path = _cached_path(folder, about)
    try:
        store = ResponseStore(path, about, shape)
        store.read(video)
        return store
    except ResultsFileError:
        shutil.rmtree(path, ignore_errors=True)
        return ResponseStore(path, about, shape)


def _finite(value: Any) -> Any:
    """Return values with infinity as text, which JSON lacks: gratings can fill the screen."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def existing_store(
    folder: Path, about: Mapping[str, Any], shape: tuple[int, int, int]
) -> ResponseStore | None:
    """Return the store of an experiment in a cache, None if it is not there."""
    path = _cached_path(folder, about)
    return ResponseStore(path, about, shape) if path.exists() else None


def _cached_path(folder: Path, about: Mapping[str, Any]) -> Path:
    compared = {name: value for name, value in about.items() if name != "session"}
    text = json.dumps(compared, sort_keys=True)
    digest = blake2b(text.encode(), digest_size=12).hexdigest()
    return folder / f"{about['experiment']}-{digest}{SUFFIX}"


def _create(path: Path, about: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
    """Create an empty store as a whole: another program may create the same one."""
    n_videos, n_events, n_neurons = shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as new:
        attributes = {"format": FORMAT, "version": _VERSION, _WHOLE: True, "about": about}
        root = create_group(new, attributes)
        # One row per chunk: a video is written without reading others.
        root.create_array(
            "responses",
            shape=(n_events, n_neurons),
            chunks=(1, n_neurons),
            dtype="float32",
            fill_value=np.nan,
        )
        root.create_array("done", shape=(n_videos,), chunks=(1,), dtype="bool", fill_value=False)
        with _unless_taken(path):
            put_in_place(new, path)


@contextmanager
def _unless_taken(path: Path) -> Iterator[None]:
    """Give a folder a name under which another program may put the same one."""
    try:
        yield
    except OSError as error:
        # Windows has one code for a name that is taken and for all that is forbidden.
        is_taken = error.errno in (EEXIST, ENOTEMPTY) or os.name == "nt"
        if not (is_taken and path.exists()):
            raise


# -- responses of a model to the events of a stimulus, summed while they arrive -------
WINDOWS_TOGETHER = 8
"""Windows of a piece of work, or all of one video; bounds the loss on interruption."""
VideoResponses = tuple[int, Float32[np.ndarray, "event n"]]
"""Number of a video, and the mean responses to its events, in the order of events."""


@shows_progress
def model_responses(
    predictor: Predictor,
    session: Session,
    stimulus: Stimulus,
    neurons: Int64[np.ndarray, " n"] | None = None,
    *,
    lag_s: float = 0.0,
    store: ResponseStore | None = None,
    job: Job = QUIET,
) -> Float32[np.ndarray, "event n"]:
    """Return the mean response of each neuron to each event, NaN without a sample.

    Responses are hidden, and behaviour is that of an average moment. A video that is
    longer than the windows of the model is predicted in windows that overlap by half;
    all but the first half of the video comes from second halves, which have seen what
    was before. Memory does not grow with the number or length of videos.

    Parameters
    ----------
    neurons
        All by default.
    lag_s
        Delay of the responses: samples from onset to offset plus the lag count.
    store
        Keeps the responses to finished videos; those that it has are not computed.
    job
        Progress and stop request; see `progress.Job`.

    Raises
    ------
    UnsupportedRequestError
        The model sees no video, or the recording has none.
    StoppedError
        `job.cancelled()` returned True.
    """
    require_video(predictor, session)
    chosen = np.arange(session.n_neurons) if neurons is None else np.asarray(neurons)
    here = TaskPredictor("", "auto", 0, predictor)
    asked = VideoTask(here, session, lambda: stimulus, chosen, lag_s)
    each = count_windows(stimulus, predictor.needs.spec) // stimulus.n_videos
    pieces = partial(video_pieces, asked, each)
    return collected_responses(pieces, stimulus, len(chosen), store, job)


@dataclass(frozen=True, slots=True, eq=False)
class VideoTask:
    """Predictions of the videos of a stimulus, here or on workers.

    Attributes
    ----------
    show
        Makes the stimulus. It is sent in place of the frames, so it must be picklable for
        workers.
    neurons, lag_s
        As in `model_responses`.
    """

    predictor: TaskPredictor
    session: Session
    show: Callable[[], Stimulus]
    neurons: Int64[np.ndarray, " n"]
    lag_s: float


Piece = tuple[VideoTask, tuple[int, ...]]
"""A task, and the numbers of the videos that are predicted together."""


def video_pieces(asked: VideoTask, windows_each: int, videos: Sequence[int]) -> list[Piece]:
    """Return pieces of work; `windows_each` is the number of windows of a video."""
    size = max(1, WINDOWS_TOGETHER // windows_each)
    return [(asked, tuple(videos[first : first + size])) for first in range(0, len(videos), size)]


def _piece_responses(piece: Piece, job: Job) -> list[VideoResponses]:
    """Return the responses to the videos of a piece, fewer once the job is cancelled."""
    asked, videos = piece
    found: list[VideoResponses] = []
    with asked.predictor.loaded(asked.session) as (predictor, session), suppress(StoppedError):
        for responses in _video_responses(predictor, session, asked, videos, job):
            found.append(responses)
            job.progress(len(found), len(videos))
    return found


def require_video(predictor: Predictor, session: Session) -> None:
    """Raise `UnsupportedRequestError` unless a model sees video, and the session has one.

    Without a video in the recording, no model has learned how its neurons respond to one.
    """
    if not predictor.needs.sees_video or predictor.needs.spec.video is None:
        raise UnsupportedRequestError(
            f"{predictor.predictor_id!r} sees no video: choose a model that does."
        )
    if session.stimulus is None:
        raise UnsupportedRequestError(
            f"Session {session.id!r} has no video: {predictor.predictor_id!r} could not "
            "learn how its neurons respond to one."
        )


def _video_responses(
    predictor: Predictor, session: Session, asked: VideoTask, videos: Sequence[int], job: Job
) -> Iterator[VideoResponses]:
    """Yield some videos of a stimulus, each with the mean responses to its events."""
    spec, stimulus = predictor.needs.spec, asked.show()
    neurons, lag_s = asked.neurons, asked.lag_s
    masks: dict[bytes, Mask] = {}
    # Video and samples of its events, of every request that has no prediction yet.
    pending: deque[tuple[int, np.ndarray]] = deque()
    # Of each video that has begun: windows without a prediction, and per event the sum
    # and number of responses.
    n_open: dict[int, int] = {}
    total: dict[int, np.ndarray] = {}
    count: dict[int, np.ndarray] = {}

    def requests() -> Iterator[Request]:
        for video in videos:
            own = stimulus.events.video == video
            begin = stimulus.events.onset[own, None] + lag_s
            end = stimulus.events.offset[own, None] + lag_s
            total[video] = np.zeros((len(begin), len(neurons)))
            count[video] = np.zeros((len(begin), len(neurons)))
            used = []
            for part in _parts(stimulus.frames_of(video), stimulus.rate_hz, spec):
                is_of_event = (part.times >= begin) & (part.times <= end)
                is_of_event[:, : part.first] = False
                if is_of_event.any():
                    used.append((part, is_of_event))
            n_open[video] = len(used)
            for part, is_of_event in used:
                is_used = np.asarray(is_of_event.any(axis=0))
                key = is_used.tobytes()
                if key not in masks:
                    asked = Mask.nothing(session, spec).ask(neurons, is_used)
                    masks[key] = asked.with_frames(True).with_behavior("hidden")
                clip = Clip(
                    session=session,
                    frames=part.frames,
                    rate_hz=stimulus.rate_hz,
                    spec=spec,
                )
                pending.append((video, is_of_event))
                yield clip, masks[key], neurons

    def finish(video: int) -> VideoResponses:
        del n_open[video]
        sums, n = total.pop(video), count.pop(video)
        means = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
        return video, means.astype(np.float32)

    for prediction in predictions_of(predictor, requests(), job.cancelled, is_whole=True):
        video, is_of_event = pending.popleft()
        weights = is_of_event.astype(np.float64)
        is_known = np.isfinite(prediction.responses)
        total[video] += weights @ np.where(is_known, prediction.responses, 0.0)
        count[video] += weights @ is_known
        n_open[video] -= 1
        if not n_open[video]:
            yield finish(video)
    # Videos without samples of an event need no prediction.
    for video in [video for video, n in n_open.items() if not n]:
        yield finish(video)


def collected_responses(
    pieces_of: Callable[[list[int]], list[Piece]],
    stimulus: Stimulus,
    n_neurons: int,
    store: ResponseStore | None,
    job: Job,
    scheduler: str | None = None,
) -> Float32[np.ndarray, "event n"]:
    """Return the responses to all events, of which the store may have a part.

    Parameters
    ----------
    pieces_of
        Returns the pieces of work of the videos that the store does not have.
    store, job, scheduler
        As in `model_responses` and `dask_map.map_pieces`.
    """
    events, n_videos = stimulus.events, stimulus.n_videos
    responses = np.full((len(events.video), n_neurons), np.nan, np.float32)
    is_done = np.zeros(n_videos, bool)
    if store is not None:
        responses, is_done = store.read(events.video)
    missing = np.flatnonzero(~is_done).tolist()
    done = before = n_videos - len(missing)
    if done:
        job.progress(done, n_videos)
    shown = CallbackJob(
        lambda n, _, step: job.progress(before + round(n), n_videos, step), job.cancelled
    )
    pieces = pieces_of(missing)
    sizes = [len(videos) for _, videos in pieces]
    for _, finished in map_pieces(_piece_responses, pieces, scheduler, shown, sizes):
        for video, found in finished:
            own = np.flatnonzero(events.video == video)
            responses[own] = found
            if store is not None:
                store.write(video, own, found)
            done += 1
    if done < n_videos or job.cancelled():
        raise StoppedError(f"Stopped after {done} of {n_videos} videos.")
    return responses


def count_windows(stimulus: Stimulus, spec: WindowSpec) -> int:
    """Return the number of windows that a model predicts for a stimulus."""
    length = round(spec.duration_s * stimulus.rate_hz)
    n_frames = stimulus.n_frames
    each = len(_starts(n_frames, length)) if n_frames >= length else 1
    return each * stimulus.n_videos


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Frames of one window of a video, the times of its samples, the first that counts.

    Times are seconds from the start of the video.
    """

    frames: Frames
    times: np.ndarray
    first: int


def _parts(frames: Frames, rate_hz: float, spec: WindowSpec) -> Iterator[_Part]:
    """Yield the windows of a video; a short one begins with its first frame, held."""
    length = round(spec.duration_s * rate_hz)
    samples = np.arange(spec.n_samples) / spec.response_rate_hz
    missing = length - len(frames)
    if missing > 0:
        held = np.repeat(frames[:1], missing, axis=0)
        times = samples - missing / rate_hz
        first = int(np.searchsorted(times, -1e-9))
        yield _Part(np.concatenate([held, frames]), times, first)
        return
    counted = -1.0
    for start in _starts(len(frames), length):
        times = samples + start / rate_hz
        first = int(np.searchsorted(times, counted + 1e-9))
        counted = float(times[-1])
        yield _Part(frames[start : start + length], times, first)


def _starts(n_frames: int, length: int) -> list[int]:
    """Return the first frames of windows that overlap by half, and end at the end."""
    starts = list(range(0, n_frames - length + 1, max(1, length // 2)))
    if starts[-1] + length < n_frames:
        starts.append(n_frames - length)
    return starts
