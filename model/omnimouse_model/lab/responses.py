"""Responses of a model to the events of a stimulus, summed while they arrive."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from omnimouse_model.analysis.evaluate.dask_map import TaskPredictor, map_pieces
from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import StoppedError, UnsupportedRequestError
from omnimouse_model.lab.response_store import ResponseStore
from omnimouse_model.lab.stimuli.stimulus import Frames, Stimulus
from omnimouse_model.masks import Mask
from omnimouse_model.predict.predictor import Predictor, Request
from omnimouse_model.progress import QUIET, CallbackJob, Job

WINDOWS_TOGETHER = 8
"""Windows of a piece of work, or all of one video; bounds the loss on interruption."""
VideoResponses = tuple[int, Float32[np.ndarray, "event n"]]
"""Number of a video, and the mean responses to its events, in the order of events."""


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
    with asked.predictor.loaded(asked.session) as (predictor, session):
        return list(_video_responses(predictor, session, asked, videos, job))


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
    predictor: Predictor,
    session: Session,
    asked: VideoTask,
    videos: Sequence[int],
    job: Job,
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

    predictor.prepare(session)
    for prediction in predictor.predict_many(requests(), job.cancelled):
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
        responses, is_done = store.read()
    missing = np.flatnonzero(~is_done).tolist()
    done = n_videos - len(missing)
    if done:
        job.progress(done, n_videos)
    quiet = CallbackJob(cancelled=job.cancelled)
    for _, finished in map_pieces(_piece_responses, pieces_of(missing), scheduler, quiet):
        for video, found in finished:
            own = np.flatnonzero(events.video == video)
            responses[own] = found
            if store is not None:
                store.write(video, own, found)
            done += 1
            job.progress(done, n_videos)
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
