"""Last steps of every reader: statistics, checks across streams, fingerprint and notes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from omnimouse_model.data.clock import grid_points
from omnimouse_model.data.readers.build import checked_values
from omnimouse_model.data.readers.build.notes import (
    Notes,
    ReadOptions,
    common_time,
    is_long_enough,
    minimum_scale,
    note_columns,
    note_marks,
    note_missing,
    span_text,
    stream_word,
)
from omnimouse_model.data.readers.build.trial_files import TrialRows
from omnimouse_model.data.recording import is_test_tier, missing_rows
from omnimouse_model.data.session import Session
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.spike_trains import common_spans
from omnimouse_model.data.stimulus import SPLIT_NOTE, Stimulus, Trials
from omnimouse_model.data.window_spec import ASSUMED_RATE_HZ, WINDOW_S
from omnimouse_model.display import count, listed
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.arrays.npy import load_small_array
from omnimouse_model.storage.byte_source import combine_options
from omnimouse_model.storage.files import bad_file, check_most, unless_missing

# -- means and standard deviations of a stream: stored or computed --------------------
# Statistics come from a sample of rows in this many runs, so that opening a session
# stays fast: at most this many rows and bytes (as float64).
_MAX_ROWS = 20_000
_MAX_BYTES = 64 * 2**20
_RUNS = 64
# Missing responses are counted in a smaller sample: statistics that are stored need no
# other look at the responses.
_MISSING_BYTES = 16 * 2**20
_LARGEST = 1e30  # well within float32, in which windows are divided


def train_spans(stimulus: Stimulus | None, trials: Trials, t0: float = 0.0) -> np.ndarray | None:
    """Return native spans (n, 2) of the trials of tier train, None without any.

    Parameters
    ----------
    trials, t0
        Trial table, and native time of time 0 of the session.
    """
    is_train = trials.tier == "train"
    if not is_train.any():
        return None
    if stimulus is None:
        spans = np.stack([trials.t_on, trials.t_off], axis=1) + t0
    else:
        # From the native onsets, which the times of the table have only after
        # rounding. A trial lasts until the next one, the last one until the last slot.
        onset = stimulus.slot_t[trials.first_slot]
        spans = np.stack([onset, np.append(onset[1:], stimulus.slot_t[-1])], axis=1)
    return np.asarray(spans[is_train])


def complete_statistics(signal: Signal, train: np.ndarray | None, notes: Notes) -> Signal:
    """Return the stream with mean and std (C,), computed where they are unknown.

    A std of 0 stays 0 for responses and becomes 1 for behaviour.

    Parameters
    ----------
    signal
        Its statistics are the stored ones, NaN or None if unknown.
    train
        Native spans (n, 2) of the train tier; None uses all time.

    Raises
    ------
    SessionFormatError
        If there are more samples or columns than any recording has.
    """
    path, word = signal.file.path, stream_word(signal.name)
    checked_values.check_extent(path, word, signal.n_samples, signal.rate_hz)
    check_most(path, signal.n_columns, checked_values.MAX_COLUMNS, f"columns of {word}")
    unknown = np.full(signal.n_columns, np.nan)
    mean = unknown if signal.mean is None else signal.mean
    std = unknown if signal.std is None else signal.std

    def rows(spans: np.ndarray | None, most_bytes: int) -> np.ndarray:
        by_size = most_bytes // max(1, 8 * signal.n_columns)
        return _train_rows(signal, spans, max(1, min(_MAX_ROWS, by_size)))

    sample = None
    if not np.isfinite([mean, std]).all():
        sample = signal.file.pick(rows(train, _MAX_BYTES), slice(None))
    is_responses = signal.name == "responses"
    is_recorded = np.full(signal.n_columns, True)
    if is_responses and not signal.has_events:
        # Values can also be missing in other tiers only.
        whole = None if train is not None else sample
        if whole is None:
            whole = signal.file.pick(rows(None, _MISSING_BYTES), slice(None))
        is_recorded = _note_missing(signal, whole, notes)
        note_marks(signal, whole, notes)
        note_columns(whole, notes)
    if sample is not None:
        computed_mean, computed_std = _moments(sample)
        # Sound entries stay as stored: a dead neuron must not change the scale of the
        # others, with which the models were trained.
        mean = np.where(np.isfinite(mean), mean, computed_mean)
        std = np.where(np.isfinite(std), std, computed_std)
        time = "all" if train is None else "train"
        notes.assume(
            "computed_statistics",
            f"{word}: mean or s.d. computed from {len(sample):,} samples of {time} time",
        )
    # Responses have a least divisor (`Units.least_scale`); behaviour is divided by std.
    if is_responses:
        _note_silent(signal, std, is_recorded, notes)
        return replace(signal, mean=mean, std=std)
    flat = np.flatnonzero(std == 0)
    if len(flat):
        columns = flat.tolist()
        names = [signal.names[i] if signal.names else f"column {i} of {word}" for i in columns]
        notes.warn("zero_variance", f"{', '.join(names)} never varies; centred only")
    # Constant channels are centred to 0; division by 0 would make them NaN.
    return replace(signal, mean=mean, std=np.where(std == 0, 1.0, std))


def stored_statistics(
    files: tuple[Path, Path], n_columns: int, root: Path, notes: Notes
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the mean and the std (C,) of two files; None where one is missing or unreadable.

    Statistics that cannot be read are computed later, as missing ones are.
    """
    stored: list[np.ndarray | None] = []
    for path, is_std in zip(files, (False, True), strict=True):
        try:
            values = unless_missing(load_small_array, path, root)
            if values is not None:
                expected = f"one number for each of {n_columns} columns"
                checked_values.require(values.reshape(-1), path, expected, (n_columns,))
                values = _usable(values, is_std, path.relative_to(root).as_posix(), notes)
        except SessionFormatError as error:
            notes.warn("bad_statistics", f"{error.message}; computed from the data")
            values = None
        stored.append(values)
    return stored[0], stored[1]


def _usable(values: np.ndarray, is_std: bool, name: str, notes: Notes) -> np.ndarray:
    """Return stored means or standard deviations, float64 (C,); unusable ones are NaN."""
    # (C,), (1, C) and (C, 1) all occur.
    values = values.reshape(-1).astype(np.float64)
    # NaN compares as false.
    is_usable = (np.abs(values) < _LARGEST) & (not is_std or values >= 0)
    if is_usable.all():
        return values
    notes.warn(
        "bad_statistics",
        f"{name} holds {int((~is_usable).sum())} values that are NaN, infinite or "
        "negative; these are computed again from the data",
    )
    return np.where(is_usable, values, np.nan)


def _moments(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and std (C,) of the finite values."""
    values = sample.astype(np.float64)
    finite = np.isfinite(values)
    count = np.maximum(finite.sum(axis=0), 1)  # a column without values has mean 0
    mean = np.where(finite, values, 0.0).sum(axis=0) / count
    # Two passes: E[x²] - E[x]² loses precision if the mean is large.
    spread = np.where(finite, values - mean, 0.0)
    return mean, np.sqrt((spread**2).sum(axis=0) / count)


def _train_rows(signal: Signal, train: np.ndarray | None, most: int) -> np.ndarray:
    """Return at most `most` recorded rows of train or of all time, in even runs."""
    first, stop = np.array([0]), np.array([signal.n_samples])
    if train is not None and len(train):
        begin = _first_rows(signal, train[:, 0])
        # Cut each span at the beginning of the next: rows must not count twice.
        next_ = np.append(begin[1:], signal.n_samples)
        end = np.clip(_first_rows(signal, train[:, 1]), begin, np.maximum(begin, next_))
        if (end > begin).any():
            first, stop = begin, end
    if signal.recorded_spans is not None:
        places = (signal.recorded_spans - signal.start) * signal.rate_hz
        recorded = np.rint(places).astype(np.int64) + np.array([0, 1])
        parts = common_spans(np.stack([first, stop], axis=1), recorded)
        # A recording without responses in its train tier: its statistics are those of all.
        first, stop = (parts if len(parts) else recorded).T
    # `sampled` counts rows over all spans joined; the last line maps them back.
    ends = np.cumsum(stop - first)
    total = int(ends[-1])
    sampled = _in_runs(total, most)
    span = np.searchsorted(ends, sampled, side="right")
    return np.asarray(stop[span] - (ends[span] - sampled), np.int64)


def _in_runs(total: int, most: int) -> np.ndarray:
    """Return at most `most` of `total` rows, in runs of neighbours.

    Neighbouring rows lie together in the file, so runs are faster to read than single
    rows.
    """
    if total <= most:
        return np.arange(total)
    # Evenly spread over the time, so that slow drifts do not bias the statistics.
    run = max(1, most // _RUNS)
    firsts = np.linspace(0, total - run, most // run).astype(np.int64)
    return (firsts[:, None] + np.arange(run)).ravel()


def _first_rows(signal: Signal, times: np.ndarray) -> np.ndarray:
    """Return the first row at or after each native time.

    The time of a row is `start + row / rate_hz`, in float64. The direct formula can be
    off by one through rounding, so the neighbours of its result are compared too.
    """
    limit = float(signal.n_samples)
    guess = np.clip((times - signal.start) * signal.rate_hz, 0.0, limit)
    near = np.floor(guess).astype(np.int64)[:, None] + np.arange(-1, 3)
    reached = signal.start + near / signal.rate_hz >= times[:, None]
    rows = near[:, 0] + np.argmax(reached, axis=1)
    rows[~reached.any(axis=1)] = signal.n_samples
    return np.asarray(np.clip(rows, 0, signal.n_samples), np.int64)


def _note_missing(signal: Signal, sample: np.ndarray, notes: Notes) -> np.ndarray:
    """Note responses that are NaN or infinite; return which columns have values."""
    is_missing = ~np.isfinite(sample)
    # Between the trials of a format without a clock, nothing was recorded. Lost frames
    # of all neurons are counted where their places are known.
    has_pauses = signal.n_missing > 0 or signal.recorded_spans is not None
    if has_pauses or isinstance(signal.file, TrialRows):
        is_missing = is_missing[~is_missing.all(axis=1)]
    n_missing = int(is_missing.sum())
    is_recorded = ~is_missing.all(axis=0) | (len(is_missing) == 0)
    if n_missing:
        columns = np.flatnonzero(is_missing.any(axis=0))
        looked = f"{len(sample):,} samples"
        # Of time with pauses, the sample has all that was recorded, or a part.
        if len(sample) < round(signal.recorded_s * signal.rate_hz):
            looked = f"a part of the recording, {looked}"
        never = int((~is_recorded).sum())
        whole = f", {never:,} of them without any value" if never else ""
        notes.warn(
            "missing_responses",
            f"in {looked} of {signal.n_columns:,} neurons, {n_missing:,} responses "
            f"({100 * n_missing / is_missing.size:.3g} %) are NaN or infinite, in "
            f"{len(columns):,} neurons{whole} (columns {listed(columns)}); they are "
            "missing: hidden from models and not scored",
        )
    return np.asarray(is_recorded)


def _note_silent(signal: Signal, std: np.ndarray, is_recorded: np.ndarray, notes: Notes) -> None:
    """Note neurons that never vary, except those without any value."""
    silent = np.flatnonzero((std == 0) & is_recorded)
    if len(silent):
        silence = "have no spikes in the time of the statistics"
        state = silence if signal.has_events else "never vary"
        notes.warn(
            "zero_variance",
            f"{len(silent)} of {len(std)} neurons {state} (columns {listed(silent)})",
        )


# The format refuses shorter sessions, whatever the windows of other models.
_WINDOW_POINTS = grid_points(WINDOW_S)
_STREAMS = {
    "screen": ("stimulus", "video", "screen", "image", "frames"),
    "eye_tracker": ("pupil", "eye"),
    "treadmill": ("running", "treadmill", "wheel", "speed"),
}
"""Name of a stream -> words for it, the first one for messages."""
_WITHOUT_CLOCK = ("sensorium-2022", "sensorium-2023", "trial-tree")
"""Formats whose trials have no common clock: all streams have the length of trials."""
_SAME, _MARGIN_S, _LONG_MARGIN_S = 0.02, 0.5, 5.0
"""Differences of lengths that need no warning: share; seconds that a stream lacks, and
by which it is longer."""


# Few frames are enough for the range of gray values, and opening stays fast.
_SAMPLED_TRIALS = 6
_SAMPLED_FRAMES = 4


def finalise(session: Session, options: ReadOptions, notes: Notes) -> Session:
    """Return the checked session with statistics, options, notes and fingerprint.

    Statistics of the responses, and the scale of their neurons, are those of the train
    tier where no file states them.

    Raises
    ------
    SessionFormatError
        If the streams have no 2-s window in common, or cover more than a week.
    """
    session = replace(session, options=options.changed())
    train = train_spans(session.stimulus, session.trials, session.t0)
    responses = complete_statistics(session.responses, train, notes)
    mean, std, units = responses.mean, responses.std, session.units
    assert mean is not None
    assert std is not None
    # NaN compares as false. Statistics beyond this overflow in sums over neurons.
    large = np.flatnonzero(~(std < _LARGEST))
    if len(large):
        raise bad_file(
            session.path,
            "bad_field",
            f"holds responses that are too large for traces: {len(large):,} of {len(std):,} "
            f"neurons (columns {listed(large)}) have a standard deviation above {_LARGEST:g}",
            "leave these neurons out, or store what is no response as NaN",
        )
    least_scale = units.least_scale or minimum_scale(std, notes)
    units = replace(units, mean=mean, std=std, least_scale=least_scale)
    session = replace(session, responses=responses, units=units)
    session = _without_distant_streams(_without_empty_streams(session, notes), notes)
    check_overlap(session)
    _note_absent(session, notes)
    _note_lengths(session, notes)
    if session.stimulus is not None:
        _note_values(session.stimulus, notes)
    # Trials of a stimulus that was left out are none.
    train = train_spans(session.stimulus, session.trials, session.t0)
    behavior = {
        name: signal and complete_statistics(signal, train, notes)
        for name, signal in session.behavior.items()
    }
    note_missing(session, notes)
    _note_other_rate(session, notes)
    if session.recording_rate_hz is None and not session.responses.has_events:
        notes.assume(
            "unknown_recording_rate",
            f"responses were upsampled to {session.responses.rate_hz:.4g} Hz from an "
            f"unknown rate: {ASSUMED_RATE_HZ:g} Hz is assumed, that of most released "
            "recordings; targets beside visible samples are left out accordingly",
        )
    if session.t0:
        notes.assume("clock", f"clock: 0 is the first response, {session.t0:.10g} s in the file")
    if session.split:
        notes.assume("inferred_tiers", SPLIT_NOTE)
    elif not session.tiers():
        notes.warn("no_tiers", f"{session.tiers_text()}: it has no scores")
    _note_known_clips(session, notes)
    return replace(
        session,
        behavior=behavior,
        fingerprint=combine_options(session.fingerprint, session.options),
        warnings=tuple(notes.warnings),
        assumptions=tuple(notes.assumptions),
    )


def _without_empty_streams(session: Session, notes: Notes) -> Session:
    """Return the session without behaviour that has no complete sample."""
    for name, signal in session.behavior.items():
        if signal is None or len(missing_rows(signal)) < signal.n_samples:
            continue
        is_empty = np.isnan(signal.data).all(axis=0)
        columns = signal.names or tuple(map(str, range(signal.n_columns)))
        empty = ", ".join(np.array(columns)[is_empty].tolist())
        found = f"{empty} is NaN in all" if empty else "a channel is NaN in each"
        hint = "leave out channels that were not recorded"
        problem = f"{found} of its {signal.n_samples:,} samples ({hint})"
        session = _without(session, name, problem, notes)
    return session


def _without_distant_streams(session: Session, notes: Notes) -> Session:
    """Return the session without streams that do not overlap the responses."""
    spans = {name: s.valid_interval() for name, s in session.streams.items()}
    whole = spans.pop("responses")
    if not is_long_enough(whole):
        return session
    for name, span in spans.items():
        if is_long_enough(common_time(whole, span)):
            continue
        found = f"it covers {span_text(span)}, and the responses {span_text(whole)}"
        problem = f"{found}: no common 2-s window (bring all streams to one clock, in seconds)"
        session = _without(session, name, problem, notes)
    return session


def _without(session: Session, name: str, problem: str, notes: Notes) -> Session:
    """Return the session without a stream, with a warning."""
    notes.warn("left_out_stream", f"{_STREAMS[name][0]} is left out: {problem}")
    if name == "screen":
        return replace(session, stimulus=None, trials=Trials.none())
    return replace(session, behavior={**session.behavior, name: None})


def _note_absent(session: Session, notes: Notes) -> None:
    """Note the streams that the session does not have."""
    left_out = [
        note.message.split(" is left out")[0].lower()
        for note in notes.warnings
        if note.code == "left_out_stream"
    ]
    for name, words in _STREAMS.items():
        # A stream that was left out is in the files: its warning says so.
        is_stored = any(word in title for title in left_out for word in words)
        if name not in session.streams and not is_stored:
            notes.assume("missing_stream", f"the recording has no {stream_word(name)}")


def _note_lengths(session: Session, notes: Notes) -> None:
    """Warn with all durations if streams on one clock differ in length.

    A wrong rate or unit of time makes a stream longer or shorter than it was. Streams
    may also begin before the responses and end after them, by some seconds.
    """
    if session.format in _WITHOUT_CLOCK:
        return
    spans = {name: s.valid_interval() for name, s in session.streams.items()}
    whole = spans.pop("responses")
    length = whole.stop - whole.start
    differing = {}
    for name, span in spans.items():
        shared = min(span.stop, whole.stop) - max(span.start, whole.start)
        lacking, excess = length - shared, (span.stop - span.start) - shared
        if lacking > max(_SAME * length, _MARGIN_S) or (
            excess > max(_SAME * length, _LONG_MARGIN_S)
        ):
            differing[_STREAMS[name][0]] = span
    if differing:
        durations = ", ".join(
            f"{title} {span.stop - span.start:.4g} s ({span.start - session.t0:.4g} to "
            f"{span.stop - session.t0:.4g} s)"
            for title, span in {"responses": whole, **differing}.items()
        )
        notes.warn(
            "stream_lengths",
            f"streams differ in length: {durations}; windows lie in the time that all "
            "cover (if they were recorded together, check rates and units of time)",
        )


def _note_known_clips(session: Session, notes: Notes) -> None:
    """Warn if the clips of the test part are shown in the train part, too."""
    trials, tiers = session.trials, session.trial_tiers
    is_clip = np.isin(trials.kind, ("video", "image")) & (trials.stim_id != "")
    is_test = np.array([is_test_tier(tier) for tier in tiers.tolist()], bool)
    tested = set(trials.stim_id[is_clip & is_test].tolist())
    known = tested & set(trials.stim_id[is_clip & (tiers == "train")].tolist())
    if known:
        share = "all" if known == tested else f"{len(known):,} of"
        notes.warn(
            "known_clips",
            f"{share} {count(len(tested), 'clip')} of the test part are also shown in train: "
            "a score over them is of known clips",
        )


def _note_other_rate(session: Session, notes: Notes) -> None:
    # Some readers compare the rates themselves, with a more specific message.
    option, rate_hz = session.options.get("rate_hz"), session.responses.rate_hz
    is_noted = any(note.code == "rate_disagrees" for note in notes.warnings)
    if option is not None and option != rate_hz and not is_noted:
        notes.warn(
            "rate_disagrees",
            f"responses: {option:g} Hz was given, the file says {rate_hz:g}, which is used",
        )


def check_overlap(session: Session) -> None:
    """Raise if the streams have no 2-s window in common, or cover more than a week."""
    common = session.common_interval()
    # Before the start grid is made: its size grows with the length.
    if common.stop - common.start > checked_values.LONGEST_S:
        problem = f"has streams of {common.stop - common.start:.3g} s, more than a week"
        hint = "are sampling_rate and end_time right, in seconds?"
        raise bad_file(session.path, "bad_clock", problem, hint)
    if common.start < common.stop and len(session.start_grid) >= _WINDOW_POINTS:
        return
    intervals = {n: s.valid_interval() for n, s in session.streams.items()}
    own = intervals["responses"]
    hint = "are all streams on one clock?"
    # Windows keep half a second from both ends.
    if own.stop - own.start < WINDOW_S + 1:
        rate_hz = session.responses.rate_hz
        hint = f"is the rate of the responses, {rate_hz:.4g} Hz, right?"
        if session.responses.has_events:
            hint = "are spikes in seconds of the recording, and not from the start of each trial?"
    spans = ", ".join(
        f"{name} {interval.start:.1f}–{interval.stop:.1f} s" for name, interval in intervals.items()
    ).replace("responses", "responses cover", 1)
    problem = f"has no common 2-s window: {spans}"
    raise bad_file(session.path, "no_overlap", problem, hint)


def _note_values(stimulus: Stimulus, notes: Notes) -> None:
    """Note gray values outside 0-255, the range of every model."""
    has_frames = np.array([stimulus.source.has(i) for i in range(len(stimulus.trials))])
    trials = np.flatnonzero(has_frames).tolist()
    low, high, is_finite = np.inf, -np.inf, True
    # Spread over the session, because stimuli can differ between its parts.
    for trial in trials[:: max(1, len(trials) // _SAMPLED_TRIALS)][:_SAMPLED_TRIALS]:
        first = int(stimulus.trials.first_slot[trial])
        n_slots = int(stimulus.trials.n_slots[trial])
        step = max(1, n_slots // _SAMPLED_FRAMES)
        for slot in range(first, first + n_slots, step):
            frame = stimulus.frame(slot)
            known = frame[np.isfinite(frame)]
            is_finite &= known.size == frame.size
            if known.size:
                low, high = min(low, float(known.min())), max(high, float(known.max()))
    n_unknown = int(np.isnan(stimulus.trials.blank_value[~has_frames]).sum())
    if n_unknown:
        notes.assume("no_gray", f"{n_unknown} blank trials name no gray level; mean gray")
    if not is_finite:
        notes.warn(
            "not_finite", "some frames hold values that are not finite; models receive mean gray"
        )
    if high > 255 or low < 0:
        notes.warn(
            "gray_range", f"stimulus reaches from {low:g} to {high:g}; the model expects 0–255"
        )
    # Values are never rescaled: a dark video can also stay below 1.
    elif low <= high <= 1:
        notes.warn(
            "gray_range",
            "the frames of the video that were looked at have gray values of 0 to 1; "
            "models expect 0–255, and nothing is scaled (multiply the video by 255)",
        )
