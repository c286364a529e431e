"""How a predictor fits to a session, a mask, and windows of another spec."""

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.errors import UnsupportedRequestError
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.cells import HIDDEN
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction, Predictor, prediction_of
from omnimouse_model.progress import Cancelled, never, stop_if

FALLBACK = "linear-gaussian"
"""The baseline that answers any mask: stands in for a model, and beside it."""
# Responses sampled this much slower than the model reads them are reported; smaller
# differences are within the tolerance of recorded rates.
_SLOW = 0.9


@dataclass(frozen=True, slots=True)
class Compatibility:
    """How a predictor and a session fit together.

    Attributes
    ----------
    n_neurons
        Neurons of the session.
    n_known
        Neurons for which the predictor has embeddings under the session's name; None
        for a predictor that serves any session.
    missing
        One phrase per input that the predictor reads and the session lacks.
    is_stored
        Whether the predictor is a file of predictions; see `Needs`.
    """

    n_neurons: int
    n_known: int | None
    missing: tuple[str, ...] = ()
    is_stored: bool = False

    @property
    def is_supported(self) -> bool:
        """Whether the predictor can predict the session's neurons."""
        return self.n_known is None or self.n_known == self.n_neurons

    @property
    def is_new(self) -> bool:
        """Whether the predictor has embeddings, but none for this session."""
        return self.n_known == 0 and not self.is_stored

    @property
    def text(self) -> str:
        """Number of known neurons, in a few words."""
        if self.n_known is None:
            return "any recording"
        if not self.n_known:
            return "of another recording" if self.is_stored else "does not know this recording"
        return f"{min(self.n_known, self.n_neurons):,} of {self.n_neurons:,} neurons"

    @property
    def remedy(self) -> str:
        """What the user can do if the session is not supported, else ""."""
        if self.is_supported:
            return ""
        if self.is_new:
            return (
                f"The model does not know this recording: its {self.n_neurons:,} "
                "neurons need embeddings. Fine-tune the model to it (in a terminal: omnimouse "
                "finetune; minutes for a small one), or choose a baseline: those are "
                "fitted to any recording."
            )
        if self.is_stored:
            return (
                "This file has no predictions for the neurons of this recording. Open "
                "that for which they were made, or choose another model."
            )
        return (
            f"The model knows this recording with {self.n_known:,} neurons, here "
            f"it has {self.n_neurons:,}: is it the same export?"
        )


def check_compatibility(needs: Needs, session: Session) -> Compatibility:
    """Compare the needs of a predictor with a session."""
    # A session without an entry is new: 0 known neurons.
    n_known = None if needs.sessions is None else needs.n_neurons.get(session.id, 0)
    missing = tuple(_missing(needs, session))
    return Compatibility(session.n_neurons, n_known, missing, needs.is_stored)


def unused_text(needs: Needs, session: Session) -> str:
    """Return what of a recording a model cannot use, and what it lacks; "" for nothing.

    Examples
    --------
    >>> from omnimouse_model.predict.compatibility import unused_text
    >>> unused_text(om.load_predictor("ridge").needs, session)
    'The model cannot use all of this recording: its video is not read.'
    """
    names = session.behavior_names
    phrases = []
    if session.stimulus is not None and not needs.sees_video:
        phrases.append("its video is not read")
    behavior = needs.spec.behavior
    if names and not (needs.sees_behavior or needs.predicts_behavior):
        phrases.append(f"its behaviour ({', '.join(names)}) is not read")
    elif behavior is not None and not behavior.stored_order:
        others = [name for name in names if name not in behavior.channels]
        use = "read" if needs.sees_behavior else "decoded"
        phrases += [f"{', '.join(others)}: not {use}"] if others else []
    phrases += _missing(needs, session)
    return f"The model cannot use all of this recording: {'; '.join(phrases)}." if phrases else ""


def unread_text(name: str, needs: Needs, mask: Mask) -> str:
    """Return that a predictor reads nothing of what a mask shows; "" if it does.

    Also "" for a mask that shows nothing, and a predictor without inputs.
    """
    # Name of the input, whether the mask shows it, whether the predictor reads it.
    inputs = (
        ("responses", bool(mask.visible.any()), needs.sees_responses),
        ("video", bool(mask.frames.any()), needs.sees_video),
        ("behaviour", mask.has_visible_behavior, needs.sees_behavior),
    )
    has_inputs = any(is_read for _, _, is_read in inputs)
    shown = [label for label, is_shown, _ in inputs if is_shown]
    is_used = any(is_shown and is_read for _, is_shown, is_read in inputs)
    if not shown or not has_inputs or is_used:
        return ""
    return f"{name} reads nothing that is shown ({', '.join(shown)})"


def task_id(needs: Needs, mask: Mask) -> str:
    """Return an id that is the same for masks that a predictor cannot tell apart.

    Such masks have the same predictions and the same scored cells. For a predictor that
    reads responses, it is the id of the mask.

    Examples
    --------
    >>> from omnimouse_model.predict.compatibility import task_id
    >>> asked = om.Mask.nothing(40).ask(range(20))
    >>> shown = asked.show(range(20, 40))
    >>> needs = [om.load_predictor(name).needs for name in ("mean", "last")]
    >>> [task_id(one, asked) == task_id(one, shown) for one in needs]
    [True, False]
    """
    if needs.sees_responses:
        return mask.mask_id
    behavior = mask.behavior if isinstance(mask.behavior, tuple) else (mask.behavior,)
    if not needs.sees_behavior:
        behavior = tuple("target" if b == "target" else "hidden" for b in behavior)
    digest = blake2b(digest_size=12)
    digest.update(np.packbits(scored_cells(mask)).tobytes())
    digest.update(mask.frames.tobytes() if needs.sees_video else b"")
    # Scores also tell whether anything that is shown is read.
    facts = (mask.spec, behavior, unread_text("", needs, mask))
    digest.update(repr(facts).encode())
    return digest.hexdigest()


def _missing(needs: Needs, session: Session) -> list[str]:
    phrases = []
    if not len(session.window_starts(include_blanks=True, spec=needs.spec)):
        of, lengths = "a trial", session.trials.t_off - session.trials.t_on
        if not len(lengths):
            spans = session.responses.recorded_spans
            of = "what was recorded without a pause"
            lengths = np.diff([[0.0, session.duration_s]] if spans is None else spans, axis=1)
        phrases.append(
            f"no window of {needs.spec.duration_s:g} s lies within {of}, of which the longest "
            f"lasts {lengths.max():.3g} s: nothing can be predicted"
        )
    video, stimulus = needs.spec.video, session.stimulus
    if needs.sees_video and stimulus is None:
        phrases.append("no video: all its frames stay hidden")
    elif needs.sees_video and video is not None and stimulus is not None:
        size, read = stimulus.size, (video.height, video.width)
        if size != read:
            stored, fitted = ("×".join(map(str, one)) for one in (size, read))
            phrases.append(f"frames of {stored}: averaged to the model's {fitted}, gray")
    n_channels, n_read = len(session.behavior_names), needs.behavior_channels
    if needs.sees_behavior and not n_channels:
        phrases.append("no behaviour: it stays hidden")
    # The weights of a model fix its number of channels.
    elif needs.sees_behavior and n_read is not None and n_channels != n_read:
        counted = f"{n_channels} channel{'s' * (n_channels != 1)}"
        phrases.append(f"behaviour of {counted}, and the model needs {n_read}: it stays hidden")
    elif needs.sees_behavior and needs.spec.behavior and not needs.spec.behavior.stored_order:
        # Channels that are read by name.
        channels = needs.spec.behavior.channels
        if lacking := [name for name in channels if name not in session.behavior_names]:
            phrases.append(f"no {', '.join(lacking)}: the mean instead")
    responses = session.responses
    rate_hz, rate_read_hz = responses.rate_hz, needs.spec.response_rate_hz
    if needs.spec.responses == "count":
        # Spike times are counted in the bins of the model, whatever the stored rate.
        if not responses.has_events:
            phrases.append("no spike times: response traces cannot be counted")
    elif rate_hz < rate_read_hz * _SLOW:
        fill = "interpolated" if responses.mode == "linear" else "repeated"
        phrases.append(
            f"responses at {rate_hz:.3g} Hz; the model reads {rate_read_hz:.3g} Hz: they are {fill}"
        )
    return phrases


# -- predict the time span of a window with a predictor of another spec ---------------
# Predictors that are shown side by side predict the same task over the same time. Each
# is scored on its own samples.
# Durations and rates are floats; a count of samples must not fall short by rounding.
_TOLERANCE_S = 1e-6


def window_of(window: Window, spec: WindowSpec) -> Window:
    """Return the recorded responses of a window's span at another predictor's rate.

    The span is shortened to a whole number of samples.
    """
    rate_hz = spec.response_rate_hz
    count = int(window.spec.duration_s * rate_hz + _TOLERANCE_S)
    # Without edits: they change the stimulus, not the recorded responses.
    span_spec = WindowSpec(max(count, 1) / rate_hz, rate_hz, spec.responses)
    return Window(window.session, window.start_index, (), span_spec, window.exact_start)


def tiles(window: Window, spec: WindowSpec) -> list[tuple[float, Window]]:
    """Return windows of a spec that cover a window, each with its offset in seconds.

    The last one ends with the window, so that no tile extends past its end unless the
    spec is longer than the window.
    """
    length_s, step_s = window.spec.duration_s, spec.duration_s
    count = max(1, int(np.ceil(length_s / step_s - _TOLERANCE_S)))
    last_s = max(0.0, length_s - step_s)
    offsets_s = [min(number * step_s, last_s) for number in range(count)]
    spec = _on_grid(spec)
    return [(s, _window_at(window, spec, s)) for s in offsets_s]


def _window_at(window: Window, spec: WindowSpec, offset_s: float) -> Window:
    start, session = window.native_start + offset_s, window.session
    # Without an exact start, the samples are bit for bit those of a window of the grid.
    if offset_s == 0 and window.exact_start is None:
        return Window(session, window.start_index, window.edits, spec)
    grid = session.start_grid
    nearest = int(np.clip(np.searchsorted(grid, start), 0, len(grid) - 1))
    return Window(session, nearest, window.edits, spec, start)


def _on_grid(spec: WindowSpec) -> WindowSpec:
    # Tiles begin where the window does, which need not be the onset of a trial.
    return replace(spec, align="grid", trial_offset_s=0.0)


def predict_same_span(
    predictor: Predictor,
    window: Window,
    mask: Mask,
    neurons: np.ndarray | None = None,
    cancelled: Cancelled = never,
) -> Prediction:
    """Predict a window's task at the rates of a predictor of another spec.

    Parameters
    ----------
    mask
        The task; a mask of another duration is stretched to the window.

    Returns
    -------
    Prediction
        Its samples are those of `window_of(window, predictor.needs.spec)`; `status`
        states how the mask was mapped. Where tiles overlap, the first one counts.
        Decoded behaviour has the samples and channels of the window, NaN where nothing
        was decoded; None without any, and where the window has another rate of behaviour.
    """
    needs = predictor.needs
    spec = needs.spec
    span = window_of(window, spec)
    if neurons is None:
        neurons = np.flatnonzero(mask.target.any(axis=0))
    shape = (span.spec.n_samples, len(neurons))
    responses = np.full(shape, np.nan, np.float32)
    band = np.full((2, *shape), np.nan, np.float32)
    valid = np.ones(len(responses), bool)
    own, decoded = window.spec.behavior, spec.behavior
    behavior: np.ndarray | None = None
    # Behaviour is decoded where window and spec have one rate of it.
    if needs.predicts_behavior and own and decoded and own.rate_hz == decoded.rate_hz:
        size = (window.spec.n_behavior, len(window.behavior_names))
        behavior = np.full(size, np.nan, np.float32)
    first: Prediction | None = None
    for offset_s, tile in tiles(window, spec):
        stop_if(cancelled)
        mapped = mask.at(_on_grid(spec), offset_s, window.spec.duration_s)
        # A tile without targets would be refused by some predictors.
        decodes = behavior is not None and mapped.has_behavior_target
        if not (mapped.target.any() or decodes):
            continue
        part = prediction_of(predictor, tile, mapped, neurons, cancelled)
        start = round(offset_s * spec.response_rate_hz)
        stop = min(start + len(part.responses), len(responses))
        # The last tile may overlap the one before it; the first prediction stays.
        count = stop - start
        is_new = np.isnan(responses[start:stop])
        np.copyto(responses[start:stop], part.responses[:count], where=is_new)
        if part.band is not None:
            np.copyto(band[:, start:stop], part.band[:, :count], where=is_new)
        valid[start:stop] &= part.valid[:count]
        if behavior is not None and part.behavior is not None:
            _fill_behavior(behavior, part.behavior, tile, window, offset_s)
        if first is None:
            first = part.with_remark(mapped.note)
    if first is None:
        # No target sample falls into a sample of this spec: nothing is predicted.
        units = "spikes/s" if spec.responses == "count" else "normalised"
        ids = mask.mask_id, predictor.predictor_id
        first = Prediction(responses, neurons, None, *ids, units=units)
    return replace(
        first,
        responses=responses,
        neurons=np.asarray(neurons, np.int64),
        behavior=None if behavior is None or np.isnan(behavior).all() else behavior,
        mask_id=mask.mask_id,
        times_s=span.sample_times_s,
        valid=valid,
        band=None if first.band is None else band,
    )


def _fill_behavior(
    behavior: np.ndarray, decoded: np.ndarray, tile: Window, window: Window, offset_s: float
) -> None:
    """Write what was decoded in a tile, where nothing is, by the names of the channels."""
    assert tile.spec.behavior is not None
    start = round(offset_s * tile.spec.behavior.rate_hz)
    # A model may decode more channels than a recording in stored order has.
    columns = dict(zip(tile.behavior_names, decoded.T, strict=False))
    for name, own in zip(window.behavior_names, behavior.T, strict=True):
        room = own[start : start + len(decoded)]
        found = columns.get(name, room)[: len(room)]
        np.copyto(room, found, where=np.isnan(room))


# -- a predictor whose windows have the length of another spec --------------------------
@dataclass(slots=True, eq=False, repr=False)
class SpanPredictor(Predictor):
    """A predictor that is asked about windows of another length, which its own ones tile.

    Attributes
    ----------
    inner
        The predictor.
    spec
        The windows: its own rates, and the length of the span.
    refusal
        Why its windows cannot cover the span, "" if they can.
    """

    inner: Predictor
    spec: WindowSpec
    refusal: str = ""

    @property
    def predictor_id(self) -> str:
        """Id of the predictor."""
        return self.inner.predictor_id

    @property
    def needs(self) -> Needs:
        """What the predictor can see and predict, in the windows of the span."""
        return replace(self.inner.needs, spec=self.spec, methods=frozenset())

    def prepare(self, session: Session) -> None:
        """Prepare the predictor.

        Raises
        ------
        UnsupportedRequestError
            Its windows cannot cover the span.
        """
        if self.refusal:
            raise UnsupportedRequestError(f"{self.predictor_id!r} {self.refusal}")
        self.inner.prepare(session)

    def encode(self, window: Window, mask: Mask, cancelled: Cancelled = never) -> Encoded:
        """Keep the request: each tile is predicted as a whole."""
        return Encoded(window, mask, None)

    def decode(
        self, encoded: Encoded, neurons: np.ndarray | None = None, cancelled: Cancelled = never
    ) -> Prediction:
        """Predict the tiles of the window."""
        mask = encoded.mask
        # What neighbours reveal is left out of the span once, not of each tile again.
        is_lost = mask.target & ~scored_cells(mask)
        cells = np.where(is_lost, np.uint8(HIDDEN), mask.cells)
        asked = replace(mask, cells=cells, guarded=False)
        found = predict_same_span(self.inner, encoded.window, asked, neurons, cancelled)
        is_empty = asked.target[:, found.neurons] & np.isnan(found.responses)
        return replace(found, valid=found.valid & ~is_empty.any(axis=1), mask_id=mask.mask_id)


def over_span(predictor: Predictor, span: WindowSpec) -> Predictor:
    """Return a predictor of windows of the duration of a spec, on the grid.

    That is the predictor itself if its windows are so. One that counts events, or whose
    samples do not fill the span, refuses every session.
    """
    own = predictor.needs.spec
    if own.responses != span.responses:
        kind, asked = ("counts", "traces") if own.responses == "count" else ("traces", "counts")
        return SpanPredictor(predictor, span, f"predicts {kind}, and {asked} are compared.")
    if own.align == "grid" and own.duration_s == span.duration_s:
        return predictor
    try:
        behavior = own.behavior or span.behavior
        rate_hz = own.response_rate_hz
        spec = WindowSpec(span.duration_s, rate_hz, own.responses, span.video, behavior)
    except ValueError:
        reason = f"has no whole number of samples in {span.duration_s:g} s."
        return SpanPredictor(predictor, span, reason)
    return SpanPredictor(predictor, spec)
