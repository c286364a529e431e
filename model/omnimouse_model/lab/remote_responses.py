"""Responses of a model to a stimulus, computed on the workers of a Dask scheduler."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from omnimouse_model.analysis.evaluate.dask_map import TaskPredictor, map_pieces
from omnimouse_model.data.session import Session
from omnimouse_model.lab.responses import VideoResponses, video_responses
from omnimouse_model.lab.stimuli.stimulus import Stimulus
from omnimouse_model.progress import CallbackJob, Job

WINDOWS_TOGETHER = 8
"""Windows of a piece of work, or all of one video; bounds the loss on interruption."""


@dataclass(frozen=True, slots=True, eq=False)
class RemoteQuestion:
    """What workers answer about the videos of a stimulus.

    Attributes
    ----------
    predictor
        Loaded on the workers.
    show
        Makes the stimulus. It is sent in place of the frames, so it must be picklable.
    neurons, lag_s
        As in `model_responses`.
    """

    predictor: TaskPredictor
    session: Session
    show: Callable[[], Stimulus]
    neurons: Int64[np.ndarray, " n"]
    lag_s: float


def remote_responses(
    question: RemoteQuestion,
    windows_each: int,
    scheduler: str,
    job: Job,
    videos: Sequence[int],
) -> Iterator[VideoResponses]:
    """Yield what `video_responses` yields, in the order in which workers finish.

    Parameters
    ----------
    windows_each
        Number of windows of a video.
    scheduler, job
        As in `dask_map.map_pieces`.
    """
    size = max(1, WINDOWS_TOGETHER // windows_each)
    pieces = [
        (question, tuple(videos[first : first + size])) for first in range(0, len(videos), size)
    ]
    for _, found in map_pieces(_on_worker, pieces, scheduler, CallbackJob(cancelled=job.cancelled)):
        yield from found


def _on_worker(piece: tuple[RemoteQuestion, tuple[int, ...]], job: Job) -> list[VideoResponses]:
    """Compute the responses to some videos on a worker, which makes the stimulus."""
    asked, videos = piece
    with asked.predictor.loaded(asked.session) as (predictor, session):
        return list(
            video_responses(predictor, session, asked.show(), asked.neurons, asked.lag_s, videos)
        )
