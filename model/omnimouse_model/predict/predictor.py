"""The interface of every predictor: needs, predictions, and optional capabilities.

A predictor maps a window and a mask to predictions. It does not depend on where it
computes: OmniMouse, the baselines and a predictor in another process look alike.

The file is long because protocols of predictors are one vocabulary, and half of it is their
documentation.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from omnimouse_model.data.clip import Clip
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec, default_spec
from omnimouse_model.display import HasSummary, data_frame
from omnimouse_model.errors import StoppedError, UnsupportedRequestError, WorkerError
from omnimouse_model.extras import named_extras
from omnimouse_model.masks import Mask
from omnimouse_model.progress import QUIET, Cancelled, Job, lasting, never, stop_if

if TYPE_CHECKING:
    import pandas


UNITS = ("normalised", "session", "spikes/s")
NO_TARGETS = "decodes no behaviour, and the mask has no target responses."
NOT_DECODED = "behaviour is not decoded"
"""Remarks of models that predict responses alone."""
NOT_PREDICTED = "predicts behaviour, not responses"
"""Why a model without `Needs.predicts_responses` has no score of responses."""
_MAX_KNOWN = 5
"""Known sessions that a message lists."""
OptionalMethod = Literal[
    "step", "stimulus_gradient", "embeddings", "stimulus_positions", "held_out", "predict_subsets"
]
"""Methods beyond `Predictor`; "step" stands for start and step, "held_out" for those of
`HeldOutPredictor`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a predictor can see and predict, and which sessions it knows.

    Examples
    --------
    >>> om.Needs(sees_video=True, sessions=frozenset({"a"}), n_neurons={"a": 9}).spec.n_samples
    60

    Attributes
    ----------
    sees_responses, sees_video, sees_behavior, predicts_behavior
        Streams that can change a prediction, and whether behaviour is decoded.
    predicts_responses
        False for a model that decodes behaviour alone.
    behavior_channels
        Number of channels that the predictor reads; None for any number.
    always_sees_video
        True for models whose training never hides the video: without it they answer as for a
        gray screen, which a comparison over one span of time (`om.paper_table`) leaves out.
    withholds_video
        False for checkpoints whose hidden frames can still change a prediction.
    spec
        Duration, rates and sizes of the windows that the predictor reads.
    sessions
        Ids of the known sessions; None for a predictor that serves any session.
    n_neurons
        Number of known neurons of each of these sessions.
    methods
        Optional methods that the predictor offers.
    is_stored
        True for predictions of a file, which no mask and no input can change.
    is_fitted
        False for a model that refuses sessions until it is fitted: its other needs than
        the spec are not known.
    fits
        Version of `linear-gaussian` where predictions are computed with it, as by a context
        part; 0 for weights, which the hash in the id names, and for other baselines.
    """

    sees_responses: bool = True
    sees_video: bool = False
    sees_behavior: bool = False
    predicts_behavior: bool = False
    behavior_channels: int | None = None
    always_sees_video: bool = False
    withholds_video: bool = True
    spec: WindowSpec = field(default_factory=default_spec)
    sessions: frozenset[str] | None = None
    # Not hashed: a mapping has no hash, and `sessions` already tells models apart.
    n_neurons: Mapping[str, int] = field(default_factory=dict, hash=False)
    methods: frozenset[OptionalMethod] = frozenset()
    is_stored: bool = False
    predicts_responses: bool = True
    is_fitted: bool = True
    fits: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """Result of `encode`, independent of the neurons that are decoded from it.

    Examples
    --------
    >>> encoded = om.load_predictor("mean", [session]).encode(
    ...     session.window(20.0), om.Mask.nothing(session).ask([0])
    ... )
    >>> isinstance(encoded, om.Encoded)
    True

    Notes
    -----
    `state` has a type of the predictor's own; only the same predictor can decode it.
    """

    window: Window
    mask: Mask
    state: Any


@dataclass(frozen=True, slots=True, repr=False)
class Prediction(HasSummary):
    """Predicted rates of one window, and the request to which they belong.

    Examples
    --------
    >>> predictor = om.load_predictor("last", [session])
    >>> mask = om.Mask.from_strategy("causal_response_25_behavior", session)
    >>> prediction = predictor.predict(session.window(20.0), mask)
    >>> prediction.responses.shape, prediction.status, bool(prediction.valid.all())
    ((60, 40), 'ok', True)
    >>> prediction.to_session_units().dtype
    dtype('float32')
    >>> prediction
    Prediction: predictor last; responses 60 samples x 40 neurons, 1,200 predicted, \
normalised; behaviour none; status ok
    >>> table = prediction.to_dataframe(session.window(20.0))
    >>> len(table), table.columns.tolist()[2:5]
    (1200, ['neuron', 'response_normalised', 'recorded_normalised'])

    Attributes
    ----------
    responses
        float32 (n_samples, n) in `units`; NaN where no prediction was requested.
    neurons
        int64 (n,): the session's neuron indices of the columns.
    behavior
        float32 (n_behavior, C) z-scored, or None if it was not requested.
    mask_id, predictor_id
        The mask and the predictor, each with a hash of its content.
    mask
        The mask of a prediction that was made with "" as `mask_id`, which then is
        computed when it is read: with 40,000 neurons it takes 3 ms.
    status
        "ok", or a remark for the user, for example on a fallback.
    scale
        float64 (n,): session units per normalised unit; None if unknown.
    units
        "normalised" (responses / max(std, 1)), "session", or "spikes/s".
    times_s
        float64 (n_samples,): times of the samples on the session clock; None if the
        predictor does not give them.
    valid
        bool (n_samples,): False for samples that the predictor could not compute,
        for example without recorded input; all True by default.
    band
        float32 (2, n_samples, n) in `units`: lower and upper limit of the interval
        that holds 95 % of recorded responses; None if the predictor gives none.
    """

    # NaN and not 0 where nothing was requested: 0 is a rate, and would enter a mean.
    responses: np.ndarray
    neurons: np.ndarray
    behavior: np.ndarray | None
    # The ids tell a view whether a result still belongs to the displayed request.
    mask_id: str
    predictor_id: str
    status: str = "ok"
    scale: np.ndarray | None = field(default=None, repr=False)
    units: str = "normalised"
    times_s: np.ndarray | None = field(default=None, repr=False)
    valid: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    band: np.ndarray | None = field(default=None, repr=False)
    mask: Mask | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.mask_id and self.mask is not None:
            # Python asks `__getattr__` for what is not there.
            object.__delattr__(self, "mask_id")
        if self.units not in UNITS:
            raise ValueError(f"units is {self.units!r}, not {' or '.join(UNITS)}.")
        # Arrays that no view and no score could use are refused.
        arrays: dict[str, tuple[Any, str, int]] = {
            "neurons": (self.neurons, "iu", 1),
            "responses": (self.responses, "fiu", 2),
            "valid": (self.valid, "b", 1),
            "behavior": (self.behavior, "fiu", 2),
            "times_s": (self.times_s, "fiu", 1),
            "scale": (self.scale, "fiu", 1),
            "band": (self.band, "fiu", 3),
        }
        for name, (values, kinds, n_axes) in arrays.items():
            if values is None and name not in ("neurons", "responses", "valid"):
                continue
            is_array = isinstance(values, np.ndarray) and values.dtype.kind in kinds
            # Masked arrays compute otherwise.
            is_array = is_array and not isinstance(values, np.ma.MaskedArray)
            if not is_array or values.ndim != n_axes:
                found = f"{type(values).__name__} {getattr(values, 'dtype', '')} {np.shape(values)}"
                raise ValueError(f"{self.predictor_id!s:.80}: {name} of a prediction are {found}.")
        n_columns, n = self.responses.shape[1], len(self.neurons)
        # A copy without responses travels beside them.
        if n_columns not in (0, n):
            raise ValueError(f"{self.predictor_id!s:.80}: {n_columns} columns of {n} neurons.")
        if self.band is not None and self.band.shape != (2, len(self.responses), n):
            raise ValueError(f"{self.predictor_id!s:.80}: band of the shape {self.band.shape}.")
        if len(self.valid) != len(self.responses):
            # The class is frozen, and the default depends on the number of samples.
            object.__setattr__(self, "valid", np.ones(len(self.responses), bool))

    # Hidden from type checkers, which would take any name for an attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> str:
            if name != "mask_id":
                raise AttributeError(f"A prediction has no {name!r}.")
            object.__setattr__(self, name, self.mask.mask_id)
            return self.mask_id

    def _facts(self) -> dict[str, str]:
        n_samples, n_neurons = self.responses.shape
        n_predicted = int(np.isfinite(self.responses).sum())
        behavior = self.behavior
        return {
            "predictor": self.predictor_id,
            "responses": f"{n_samples} samples x {n_neurons:,} neurons, "
            f"{n_predicted:,} predicted, {self.units}",
            "behaviour": "none"
            if behavior is None
            else f"{behavior.shape[0]} samples x {behavior.shape[1]} channels",
            "status": self.status,
        }

    def to_dataframe(self, window: Window | None = None) -> "pandas.DataFrame":
        """Return a pandas table of the predicted cells, one row per sample and neuron.

        Columns: `sample`, `time_s` on the session clock (if the predictor gives it),
        `neuron`, the response with its unit in the name, the recorded response in the
        same unit if `window` is given, `is_valid`, and the limits of the band if there
        is one.

        Behaviour that is predicted beside responses is in `behavior`. Of behaviour alone, as
        of a decoder, the table has one row per sample and channel: `sample`, `channel` (its
        number without `window`) and `behavior`. With `window` it has `time_s`, `is_valid`, and
        `behavior_z_scored` and `recorded_z_scored`, or `behavior_raw` and `recorded_raw`.

        Parameters
        ----------
        window
            The window that was predicted.

        Raises
        ------
        ValueError
            The window has another number of samples, or other times.
        """
        if window is not None and len(window.responses) != len(self.responses):
            raise ValueError(
                f"The window has {len(window.responses)} samples, the prediction "
                f"{len(self.responses)}: give the window that was predicted."
            )
        if window is not None and self.times_s is not None and not _are_times(self.times_s, window):
            raise ValueError(
                f"The window begins at {window.sample_times_s[0]:.2f} s, the prediction at "
                f"{self.times_s[0]:.2f} s: give the window that was predicted."
            )
        samples, columns = np.nonzero(np.isfinite(self.responses))
        if self.behavior is not None and not len(samples):
            return _behavior_table(self.behavior, window)
        unit = self.units.replace("/", "_per_")
        table: dict[str, np.ndarray] = {"sample": samples}
        if self.times_s is not None:
            table["time_s"] = self.times_s[samples]
        table["neuron"] = self.neurons[columns]
        table[f"response_{unit}"] = self.responses[samples, columns]
        if window is not None:
            recorded = window.responses[samples, self.neurons[columns]]
            if self.units == "spikes/s":
                recorded = recorded * window.spec.response_rate_hz
            if self.units == "session":
                recorded = recorded * window.session.response_scale[self.neurons[columns]]
            table[f"recorded_{unit}"] = recorded
        table["is_valid"] = self.valid[samples]
        if self.band is not None:
            for name, limit in zip(("low", "high"), self.band, strict=True):
                table[f"{name}_95_{unit}"] = limit[samples, columns]
        return data_frame(table)

    def to_session_units(self) -> np.ndarray:
        """Return responses (n_samples, n) in the units of the recording.

        Spike counts are recorded without a unit of their own: rates stay in spikes/s.

        Raises
        ------
        ValueError
            The prediction is normalised, and its scale is unknown.
        """
        if self.units != "normalised":
            return self.responses
        if self.scale is None:
            raise ValueError(
                f"{self.predictor_id} gave rates without the recording's scale; use "
                ".responses, in units of the model's normalised responses."
            )
        return np.asarray(self.responses * self.scale, np.float32)

    def with_remark(self, text: str) -> "Prediction":
        """Return the prediction with one more remark in its status."""
        status = text if self.status == "ok" else f"{self.status}; {text}"
        return replace(self, status=status)


def _behavior_table(values: np.ndarray, window: Window | None) -> "pandas.DataFrame":
    """Return predicted behaviour (sample, channel) as a table, beside that of the window."""
    samples, channels = np.nonzero(np.isfinite(values))
    table: dict[str, np.ndarray] = {"sample": samples}
    spec = None if window is None else window.spec.behavior
    if window is None or spec is None:
        table |= {"channel": channels, "behavior": values[samples, channels]}
        return data_frame(table)
    if window.behavior.shape != values.shape:
        raise ValueError(
            f"The window has {' x '.join(map(str, window.behavior.shape))} values of behaviour, "
            f"the prediction {' x '.join(map(str, values.shape))}: give the window that was "
            "predicted."
        )
    kind = "raw" if spec.is_raw else "z_scored"
    table["time_s"] = window.start_s + samples / spec.rate_hz
    table["channel"] = np.array(window.behavior_names)[channels]
    table[f"behavior_{kind}"] = values[samples, channels]
    table[f"recorded_{kind}"] = window.behavior[samples, channels]
    table["is_valid"] = window.valid["behavior"][samples]
    return data_frame(table)


Request = tuple[Window, Mask, np.ndarray | None]
"""Window, mask, and the neurons to predict; None for all with target cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Visible inputs, and the neurons that are predicted from them, for any window.

    Attributes
    ----------
    mask
        What is visible; the targets are cells of `neurons`, which show nothing.
    neurons
        int64 (n,): neurons to predict.
    own
        First and last + 1 sample of each neuron's own responses that are visible to its
        own prediction, and to no other.
    """

    mask: Mask
    neurons: np.ndarray
    own: tuple[int, int] = (0, 0)


# -- units ----------------------------------------------------------------------------


def recorded_as(window: Window, units: str) -> np.ndarray:
    """Return the recorded responses in the units of a prediction.

    Parameters
    ----------
    window
        Its responses are normalised, or counts per bin where its spec counts.
    units
        `Prediction.units`.
    """
    if window.spec.responses == "count":
        # Counts per bin depend on the rate of the model; rates can be compared.
        if units != "spikes/s":
            raise ValueError(f"Counts are compared with spikes/s, not with {units}.")
        return np.asarray(window.responses * np.float32(window.spec.response_rate_hz))
    if units == "session":
        return np.asarray(window.responses * window.session.response_scale)
    return window.responses


def in_window_units(prediction: Prediction, window: Window) -> np.ndarray:
    """Return predicted responses in the units of `window.responses`.

    Spikes/s become counts per bin, and session units are divided by the scale.
    """
    if prediction.units == "spikes/s":
        return np.asarray(prediction.responses / window.spec.response_rate_hz)
    if prediction.units == "session":
        scale = window.session.response_scale[prediction.neurons]
        return np.asarray(prediction.responses / scale)
    return prediction.responses


# -- the door of a family's code -------------------------------------------------------


@contextmanager
def of_family(name: str, cancelled: Cancelled = never) -> Iterator[None]:
    """Raise what would end this program, or its work, in a family's code as `WorkerError`.

    The error of a missing library names the model.
    """
    try:
        with named_extras(name):
            yield
    except StoppedError as error:
        if cancelled():
            raise
        raise WorkerError(f"{name!s:.80} stopped, which nobody asked for.") from error
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        found = f"{type(error).__name__} {error}".strip()
        raise WorkerError(f"{name!s:.80} ended with {found:.200}.") from error


def predictions_of(
    predictor: "Predictor",
    requests: Iterable[Request],
    cancelled: Cancelled = never,
    *,
    is_whole: bool = False,
) -> Iterator[Prediction]:
    """Prepare the session, and yield the predictions of its requests as `checked` returns them.

    Raises
    ------
    WorkerError
        The predictor answers something else, or not all of the requests.
    """
    name, waiting, cancelled = predictor.predictor_id, deque[Request](), lasting(cancelled)
    requests = iter(requests)
    first, nothing = next(requests, None), object()
    if first is None:
        return
    session, requests = first[0].session, chain((first,), requests)
    # What was read of the first window would stay for as long as the others are predicted.
    del first

    def asked() -> Iterator[Request]:
        for request in requests:
            waiting.append(request)
            yield request

    all_asked = asked()
    with of_family(name, cancelled):
        predictor.prepare(session)
        answers: object = predictor.predict_many(all_asked, cancelled)
    if not isinstance(answers, Iterable):
        raise WorkerError(f"{name!s:.80} answers with a {type(answers).__name__}, no predictions.")
    answers = iter(answers)
    while True:
        with of_family(name, cancelled):
            found: object = next(answers, nothing)
        if found is nothing:
            break
        if not waiting:
            raise WorkerError(f"{name!s:.80} answers more requests than it was asked.")
        yield checked(name, waiting.popleft(), found, is_whole=is_whole)
    if waiting or next(all_asked, None) is not None:
        raise WorkerError(f"{name!s:.80} does not answer all requests.")


def prediction_of(
    predictor: "Predictor",
    window: Window,
    mask: Mask,
    neurons: np.ndarray | None = None,
    cancelled: Cancelled = never,
) -> Prediction:
    """Return one prediction of a session that is prepared, as `checked` returns it."""
    name, cancelled = predictor.predictor_id, lasting(cancelled)
    with of_family(name, cancelled):
        found: object = predictor.predict(window, mask, neurons, cancelled)
    return checked(name, (window, mask, neurons), found)


def decoded(
    predictor: "Predictor",
    encoded: Encoded,
    neurons: np.ndarray | None = None,
    cancelled: Cancelled = never,
) -> Prediction:
    """Return what is decoded of an encoding, as `checked` returns it."""
    name, cancelled = predictor.predictor_id, lasting(cancelled)
    with of_family(name, cancelled):
        found: object = predictor.decode(encoded, neurons, cancelled)
    return checked(name, (encoded.window, encoded.mask, neurons), found)


def stepped(
    predictor: "Predictor", state: Any, inputs: Window, cancelled: Cancelled = never
) -> tuple[Prediction, Any]:
    """Return the prediction of all neurons for the next frames, and the state after them.

    As `checked` returns it, except for its mask: a step has none.
    """
    assert isinstance(predictor, Streaming)
    name, cancelled = predictor.predictor_id, lasting(cancelled)
    with of_family(name, cancelled):
        found, state = predictor.step(state, inputs, cancelled)
    mask = Mask.nothing(inputs.session, inputs.spec)
    if isinstance(found, Prediction):
        found = replace(found, mask_id="", mask=mask)
    request = (inputs, mask, np.arange(inputs.session.n_neurons))
    return replace(checked(name, request, found, is_whole=True), mask_id="", mask=None), state


def checked(name: str, request: Request, found: object, *, is_whole: bool = False) -> Prediction:
    """Return the answer to a request, with neurons that were asked, in their order.

    Parameters
    ----------
    is_whole
        Whether all of them are needed; a file of predictions may have a few only.

    Raises
    ------
    WorkerError
        It is no answer to this request.
    """
    window, mask, neurons = request
    if not isinstance(found, Prediction):
        problem = f"a {type(found).__name__}; a Prediction expected"
    elif len(found.responses) != mask.n_samples:
        problem = f"{len(found.responses)} samples; {mask.n_samples} expected"
    elif found.behavior is not None and len(found.behavior) != mask.spec.n_behavior:
        problem = f"{len(found.behavior)} samples of behaviour; {mask.spec.n_behavior} expected"
    elif found.responses.shape[1] != len(found.neurons):
        # Only an answer of a worker may lack them: it has them in the shared memory.
        problem = f"no column of {len(found.neurons)} neurons"
    elif found.mask is not mask and found.mask_id != mask.mask_id:
        problem = "the prediction of another mask"
    elif found.times_s is not None and not _are_times(found.times_s, window):
        problem = "the prediction of another window"
    elif neurons is not None and np.array_equal(found.neurons, neurons):
        return found
    elif not _are_neurons(found.neurons, window.session.n_neurons):
        problem = "neurons that the session does not have, or one twice"
    elif neurons is None:
        return found
    else:
        kept = neurons if is_whole else neurons[np.isin(neurons, found.neurons)]
        taken = take_neurons(found, kept)
        if taken is not None:
            return taken
        problem = "other neurons than those that were asked"
    raise WorkerError(f"{name!s:.80} answers with {problem}.")


def _are_times(found: np.ndarray, window: Window) -> bool:
    times_s = window.sample_times_s
    return found.shape == times_s.shape and np.allclose(found, times_s, rtol=0, atol=1e-3)


def _are_neurons(found: np.ndarray, n_neurons: int) -> bool:
    is_inside = not len(found) or 0 <= found.min() <= found.max() < n_neurons
    return bool(is_inside and len(np.unique(found)) == len(found))


# -- checks of a request --------------------------------------------------------------


def check_request(name: str, needs: Needs, window: Window, mask: Mask) -> None:
    """Refuse a request that no predictor with these needs can serve.

    Raises
    ------
    UnsupportedRequestError
        The window or the mask has another spec, the mask shows responses of a
        constructed clip, it shows only a video that was not recorded, or it asks only for
        responses, which the predictor does not predict. The message names the way to map a
        window and a mask.
    """
    for kind, spec in (("window", window.spec), ("mask", mask.spec)):
        if not is_served(needs.spec, spec):
            raise UnsupportedRequestError(
                f"{name!r} reads {_spec_text(needs.spec)}; this {kind} has "
                f"{_spec_text(spec)}. Map it with .at(predictor.needs.spec)."
            )
    # Without the video, the task would be another one: predict the mean.
    shows_video = mask.frames.any() and not mask.has_visible_behavior
    if shows_video and not window.has_video and not mask.visible.any():
        raise UnsupportedRequestError(
            f"The mask shows the video alone, and session {window.session.id!r} has no "
            "video: show responses or behaviour."
        )
    if not needs.predicts_responses and not mask.has_behavior_target:
        raise UnsupportedRequestError(f"{name!r} {NOT_PREDICTED}: ask for behaviour.")
    # The responses of a clip are zeros that were not recorded. A predictor that read
    # them would report a silent population.
    if needs.sees_responses and isinstance(window, Clip) and mask.visible.any():
        raise UnsupportedRequestError(
            "A constructed clip has no recorded responses: hide all responses, or "
            "predict a recorded window."
        )


def check_responses_asked(name: str, mask: Mask) -> None:
    """Refuse a mask without target responses, for models that predict nothing else.

    Raises
    ------
    UnsupportedRequestError
        The mask has no target responses.
    """
    if not mask.target.any():
        raise UnsupportedRequestError(f"{name!r} {NO_TARGETS}")


def check_responses_shown(name: str, mask: Mask) -> None:
    """Refuse a mask without visible responses, for models that read nothing else.

    Raises
    ------
    UnsupportedRequestError
        The mask shows no responses.
    """
    if not mask.visible.any():
        raise UnsupportedRequestError(f"{name!r} reads responses alone, and the mask shows none.")


def check_known(name: str, n_neurons: Mapping[str, int], session: Session, solution: str) -> None:
    """Refuse a session that a model does not know.

    Parameters
    ----------
    n_neurons
        Number of neurons of each known session.
    solution
        How the model gets to know a session.

    Raises
    ------
    UnsupportedRequestError
        The session is unknown, or has another number of neurons.
    """
    if session.id not in n_neurons:
        listed = sorted(n_neurons)
        more = len(listed) - _MAX_KNOWN
        rest = f" and {more:,} more" if more > 0 else ""
        known = ", ".join(listed[:_MAX_KNOWN]) + rest if listed else "no recording yet"
        raise UnsupportedRequestError(
            f"{name!r} does not know session {session.id}; it knows {known}. {solution}"
        )
    if n_neurons[session.id] != session.n_neurons:
        raise UnsupportedRequestError(
            f"{name!r} has {n_neurons[session.id]} neurons for session {session.id}; "
            f"the recording has {session.n_neurons}. Was it read with other options, "
            "such as --quality, than for the training?"
        )


def is_served(needed: WindowSpec, spec: WindowSpec) -> bool:
    """Return whether a predictor of one spec can read a window of another."""
    if needed == spec:
        return True
    # Where a window begins is a property of the recording: a predictor reads windows
    # on the grid and windows that are aligned to trials in the same way.
    one, other = (replace(s, align="grid", trial_offset_s=0.0) for s in (needed, spec))
    return one == other


def _spec_text(spec: WindowSpec) -> str:
    kind = "counts" if spec.responses == "count" else "samples"
    parts = [f"{spec.n_samples} {kind} at {spec.response_rate_hz:g} Hz"]
    if spec.video is not None:
        size = f"{spec.video.height} x {spec.video.width}"
        parts.append(f"{spec.n_frames} frames of {size}")
    if spec.warmup_s:
        parts.append(f"{spec.warmup_s:g} s of warm-up")
    return ", ".join(parts)


# -- the interface --------------------------------------------------------------------


@runtime_checkable
class Predictor(Protocol):
    """Anything that maps (window, mask) to predictions.

    Examples
    --------
    >>> predictor = om.load_predictor("last")
    >>> isinstance(predictor, om.Predictor), predictor.predictor_id
    (True, 'last')
    >>> predictor.needs.sees_video
    False

    Notes
    -----
    A family that subclasses it inherits `predict` and `predict_many`.
    """

    # `encode` and `decode` are separate because the context is most of the cost, and
    # serves any neurons: first the selected ones, then the population.

    # Without slots here, every subclass would have a dictionary per instance.
    __slots__ = ()

    def __repr__(self) -> str:
        """Return the class and the id; never weights."""
        return f"{type(self).__name__}: {self.predictor_id}"

    @property
    def predictor_id(self) -> str:
        """Name and weights hash."""

    @property
    def needs(self) -> Needs:
        """What the predictor can see and predict."""

    def prepare(self, session: Session) -> None:
        """Move the data of a session to where the predictor computes."""

    # `cancelled` is asked between steps, such as the layers of a network; once it is
    # true, `StoppedError` is raised. There is no other way to stop a prediction.

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Compute everything that is independent of the requested neurons."""

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Predict the target cells of `neurons`, by default of all with targets."""

    def predict(
        self,
        window: Window,
        mask: Mask,
        neurons: np.ndarray | None = None,
        cancelled: Cancelled = never,
    ) -> Prediction:
        """Return `decode(encode(window, mask), neurons)`."""
        return self.decode(self.encode(window, mask, cancelled), neurons, cancelled)

    def predict_many(
        self, requests: Iterable[Request], cancelled: Cancelled = never
    ) -> Iterator[Prediction]:
        """Yield the predictions of requests in order."""
        for window, mask, neurons in requests:
            stop_if(cancelled)
            yield self.decode(self.encode(window, mask, cancelled), neurons, cancelled)


def fits_of(*predictors: Predictor) -> dict[str, int]:
    """Return the version of the fits of predictors: with their ids, the key of kept results.

    Empty for weights alone: results that are kept with them stay.
    """
    found = max(predictor.needs.fits for predictor in predictors)
    return {"fits": found} if found else {}


# -- optional abilities of predictors, and parts of predictions -----------------------
# `Needs.methods` announces streaming, gradients and embeddings, because a predictor in
# another process has all of these methods and can serve only those of its model.
@runtime_checkable
class Prefetcher(Protocol):
    """A predictor that can prepare a window before it is requested."""

    def prefetch(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> None:
        """Cache what every request for this window and these frames will read."""


@runtime_checkable
class Closable(Protocol):
    """A predictor that holds a process or memory."""

    def close(self) -> None:
        """End the process and release the memory."""


# -- announced in `Needs.methods` -----------------------------------------------------


@runtime_checkable
class Streaming(Protocol):
    """A predictor with a recurrent state, which can also compute step by step.

    The same frames from the same start give the same numbers in one call and in steps
    (1e-5). After a jump in time the caller starts a new state and runs the warm-up.
    """

    def start(self, session: Session, cancelled: Cancelled = never) -> Any:
        """Return the state before the first frame."""

    def step(
        self, state: Any, inputs: Window, cancelled: Cancelled = never
    ) -> tuple[Prediction, Any]:
        """Return the prediction for the next frames, and the state after them."""


@runtime_checkable
class Differentiable(Protocol):
    """A predictor that can differentiate its predictions by the stimulus."""

    def stimulus_gradient(
        self, clip: Clip, neurons: np.ndarray, objective: np.ndarray, cancelled: Cancelled = never
    ) -> tuple[float, np.ndarray]:
        """Return the value of an objective, and its gradient by gray level.

        Parameters
        ----------
        clip
            The frames at which to differentiate, at the size of the predictor's spec.
        neurons
            int64 (n,): the neurons of the objective.
        objective
            Weights (n_samples, n) of the predicted responses, whose weighted sum is
            the value. The gradient of any other function of the responses is the one
            whose weights are the derivatives of that function (chain rule), so that
            arrays are enough to send one to a worker.

        Returns
        -------
        The value, and float32 (n_frames, height, width).
        """


@runtime_checkable
class Embedding(Protocol):
    """A predictor that has one learned vector per neuron."""

    def embeddings(self, session: Session, cancelled: Cancelled = never) -> np.ndarray:
        """Return the vectors of a session's neurons, float32 (P, d)."""


@runtime_checkable
class Located(Protocol):
    """A predictor in which each neuron reads one place of the stimulus."""

    def stimulus_positions(self, session: Session) -> np.ndarray:
        """Return row and column of the places, float32 (P, 2), as shares of a frame."""


@runtime_checkable
class HeldOutPredictor(Predictor, Protocol):
    """A predictor of spikes in trials that predicts hidden ones, and has features of trials."""

    def held_out_rates(
        self, condition: str, session: Session, counts: np.ndarray, job: Job = QUIET
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates per bin of hidden spikes, and their counts (trial, bin, neuron).

        Parameters
        ----------
        condition
            What is hidden; see `analysis.spike_scores`.
        counts
            Counts of trials, NaN where they are unknown.

        Raises
        ------
        UnsupportedRequestError
            The condition is not possible in the session.
        """

    def trial_features(self, session: Session, counts: np.ndarray) -> np.ndarray:
        """Return features (trial, feature) of trials whose counts are all visible."""


def predicted_subsets(
    predictor: Predictor,
    windows: Sequence[Window],
    subsets: Sequence[Subset],
    cancelled: Cancelled = never,
) -> list[list[np.ndarray]]:
    """Return the predicted responses of each window and subset, float32 (n_samples, n).

    They have the units of the window, and are NaN where nothing is scored. A predictor that
    answers many subsets from one set of sums has a method `predict_subsets` that returns the
    same, with these arguments but the first.

    Raises
    ------
    WorkerError
        The predictor answers with something else.
    """
    if "predict_subsets" in predictor.needs.methods and hasattr(predictor, "predict_subsets"):
        name, cancelled = predictor.predictor_id, lasting(cancelled)
        with of_family(name, cancelled):
            predictor.prepare(windows[0].session)
            found: object = predictor.predict_subsets(windows, subsets, cancelled)
        return _checked_subsets(name, windows, subsets, found)
    return predict_subsets_of(predictor, windows, subsets, cancelled)


def _checked_subsets(
    name: str, windows: Sequence[Window], subsets: Sequence[Subset], found: object
) -> list[list[np.ndarray]]:
    parts = [
        _checked_list(name, part, len(subsets), "subsets")
        for part in _checked_list(name, found, len(windows), "windows")
    ]
    for arrays in parts:
        for array, subset in zip(arrays, subsets, strict=True):
            shape = (subset.mask.n_samples, len(subset.neurons))
            is_array = isinstance(array, np.ndarray) and array.dtype.kind in "fiu"
            if not is_array or array.shape != shape:
                about = " ".join(str(getattr(array, fact, "")) for fact in ("dtype", "shape"))
                what = f"{type(array).__name__} {about}".strip()
                raise WorkerError(
                    f"{name!s:.80} answers a subset with {what}; numbers {shape} expected."
                )
    return parts


def _checked_list(name: str, found: object, n_expected: int, what: str) -> list[Any]:
    if isinstance(found, list | tuple) and len(found) == n_expected:
        return list(found)
    answer = len(found) if isinstance(found, list | tuple) else f"a {type(found).__name__}"
    raise WorkerError(f"{name!s:.80} answers with {answer}; {n_expected} {what} expected.")


def predict_subsets_of(
    predictor: Predictor,
    windows: Sequence[Window],
    subsets: Sequence[Subset],
    cancelled: Cancelled = never,
) -> list[list[np.ndarray]]:
    """Return what `predicted_subsets` returns, mask by mask, all in one `predict_many`."""
    masks: list[tuple[Mask, np.ndarray]] = []
    for subset in subsets:
        if subset.own[0] == subset.own[1]:
            masks.append((subset.mask, subset.neurons))
            continue
        for neuron in subset.neurons:
            one = np.array([neuron], np.int64)
            # Of the other targets, neither past nor present is visible.
            others = np.setdiff1d(subset.neurons, one)
            masks.append((subset.mask.hide(others).show(one, subset.own), one))
    # Window by window: what a predictor keeps of a window serves all its masks.
    requests = ((window, *mask) for window in windows for mask in masks)
    predictions = predictions_of(predictor, requests, cancelled, is_whole=True)
    found = []
    for window in windows:
        parts = [
            np.where(one.valid[:, None], in_window_units(one, window), np.float32(np.nan))
            for one in islice(predictions, len(masks))
        ]
        columns = iter(parts)
        found.append(
            [
                next(columns)
                if subset.own[0] == subset.own[1]
                else np.concatenate([next(columns) for _ in subset.neurons], axis=1)
                for subset in subsets
            ]
        )
    return found


# -- parts of predictions -------------------------------------------------------------


def take_neurons(prediction: Prediction, neurons: np.ndarray) -> Prediction | None:
    """Return the columns of some neurons; None unless all of them were predicted."""
    # A dict, because the neurons may be in any order.
    column_of = {int(neuron): k for k, neuron in enumerate(prediction.neurons)}
    if not all(int(neuron) in column_of for neuron in neurons):
        return None
    columns = np.array([column_of[int(neuron)] for neuron in neurons], np.int64)
    return replace(
        prediction,
        responses=prediction.responses[:, columns],
        neurons=np.asarray(neurons, np.int64),
        scale=None if prediction.scale is None else prediction.scale[columns],
        band=None if prediction.band is None else prediction.band[:, :, columns],
    )
