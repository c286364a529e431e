"""Requests of one session that are predicted together."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice

from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.predict.predictor import Prediction, Request
from omnimouse_model.progress import Cancelled, stop_if


def predict_in_batches(
    requests: Iterable[Request],
    size: int,
    check: Callable[[Request], None],
    predict: Callable[[list[Request], Cancelled], Iterator[Prediction]],
    cancelled: Cancelled,
) -> Iterator[Prediction]:
    """Yield the predictions of requests in order, several windows at once.

    Parameters
    ----------
    size
        Maximum number of windows of a batch; all have one session and spec.
    check
        Raises `UnsupportedRequestError` for a request that cannot be served. The
        predictions before it are yielded first.
    predict
        Yields the predictions of a batch.
    cancelled
        As in `Predictor`.
    """
    for _, group in groupby(requests, key=_key):
        while batch := list(islice(group, size)):
            stop_if(cancelled)
            served, refusal = _served(batch, check)
            if served:
                yield from predict(served, cancelled)
            if refusal is not None:
                raise refusal


def _key(request: Request) -> tuple[object, ...]:
    """Return equal keys for windows that can be computed together."""
    window = request[0]
    return window.session.id, window.session.fingerprint, window.spec


def _served(
    batch: list[Request], check: Callable[[Request], None]
) -> tuple[list[Request], UnsupportedRequestError | None]:
    """Return the requests before the first refused one, and its error."""
    for number, request in enumerate(batch):
        try:
            check(request)
        except UnsupportedRequestError as error:
            return batch[:number], error
    return batch, None
