"""Stimulus of an NWB file: frames and images that were presented."""

import re
from functools import partial
from math import prod
from typing import Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.readers.build import trials
from omnimouse_model.data.readers.build.checked_values import (
    MAX_FRAMES,
    as_float,
    by_number,
    check_extent,
    texts_of,
)
from omnimouse_model.data.readers.build.notes import (
    Notes,
    clock_remedy,
    common_time,
    is_long_enough,
    scale_to_seconds,
    span_text,
)
from omnimouse_model.data.readers.build.trials import Part, PartsVideo, PresentationIntervals
from omnimouse_model.data.readers.nwb.file import Group, NwbFile, last_name
from omnimouse_model.data.readers.nwb.intervals import clock_origins, read_presentations
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.display import listed
from omnimouse_model.storage.arrays.hdf5 import Hdf5
from omnimouse_model.storage.arrays.zarr_file import ZarrFile

_EXPECTED = "(height, width[, 3])"
_FRAMES = ("ImageSeries", "IndexSeries", "OpticalSeries", "StimulusTemplate")
"""Types of series of images; the last one is that of the Allen Institute."""
_FRAME_COLUMNS = ("frame", "movie_frame_index", "image_index")
"""Columns of tables of presentations that number the frames of a template."""
_SAME_TIME_S = 0.02
"""Times of an image and of its row may differ by a refresh of the screen."""
_LONGEST_GRAY_S = 2.0
_LONGEST_FRAME_S = 0.1
"""Rows of consecutive frames that are longer are images, not a film."""


def _stored(file: Hdf5 | ZarrFile, name: str, part: Any) -> np.ndarray:
    return file.read(file.dataset(name), part)


def read_stimulus(
    nwb: NwbFile, intervals: PresentationIntervals, responses: Signal
) -> Stimulus | None:
    """Return frames and trials of all presentations, None if there are none.

    Without series of presentations, these are the rows of tables that number the frames
    of a template.

    A presentation that is faulty, or on another clock than the responses, is left out
    with a warning.
    """
    all_series = [*nwb.groups_of(*_FRAMES)]
    # Series under /stimulus/templates are only shown if a presentation refers to them.
    presented = [g for g in all_series if "/stimulus/presentation" in g.name]
    _note_unread(nwb)
    recording = responses.valid_interval()
    shown = read_presentations(nwb, responses)
    parts: list[Part] = []
    sizes: dict[tuple[int, ...], None] = {}

    def read(group: Group) -> tuple[list[Part], list[tuple[int, ...]]]:
        if not presented:
            return _with_sizes(nwb, _shown_template(nwb, group, shown))
        return _with_sizes(nwb, _presentation(nwb, group, intervals, shown, recording))

    templates = [g for g in all_series if "/stimulus/templates" in g.name]
    for group in presented or templates:
        found = nwb.notes.attempt(str(group.name), read, group)
        if found is not None:
            parts += found[0]
            sizes |= dict.fromkeys(found[1])
    if not parts:
        return None
    size = next(iter(sizes))
    if len(sizes) > 1:
        size = max((s[:2] for s in sizes), key=prod)
        texts = ", ".join("×".join(map(str, s)) for s in sorted(sizes))
        nwb.notes.assume(
            "several_sizes",
            f"presentations differ in size ({texts}): each is shown in gray at the largest, "
            "and averaged to the size of a model from its own",
        )
    trials.note_upright(size, nwb.notes)
    source = partial(PartsVideo, partial(_stored, nwb.file), nwb.file.source.check)
    stimulus = trials.build_stimulus(
        parts, intervals, responses.start, size, source, nwb.notes, shown
    )
    span = stimulus.valid_interval()
    if not is_long_enough(span):
        nwb.notes.warn(
            "short_stimulus",
            f"the screen shows for {span.stop - span.start:.2g} s in all, too little "
            "for a window: left out",
        )
        return None
    if not is_long_enough(common_time(span, recording)):
        names = ", ".join(str(group.name) for group in presented[:4])
        nwb.notes.warn(
            "left_out_stream",
            f"the stimulus is left out: {names} was shown at {span_text(span)}, the "
            f"responses cover {span_text(recording)} of the clock of the file "
            f"({clock_remedy(span, recording, clock_origins(nwb))})",
        )
        return None
    return stimulus


def _note_unread(nwb: NwbFile) -> None:
    """Note what was presented and is no image, such as an orientation or a laser."""
    names = [
        str(item.name)
        for kind, items in nwb.groups.items()
        for item in items
        if kind not in (*_FRAMES, "TimeIntervals")
        and item.name.rsplit("/", 1)[0] == "/stimulus/presentation"
    ]
    if names:
        text = f"stimuli that are no images are not read: {listed(names, 6)}"
        nwb.notes.assume("stimulus_left_out", text)


def _with_sizes(nwb: NwbFile, parts: list[Part]) -> tuple[list[Part], list[tuple[int, ...]]]:
    """Return parts and their frame sizes, after reading one frame of the outer ones."""
    # One part per array: a session may show thousands of parts of it.
    arrays = list({part.name: part for part in parts if part.name}.values())
    sizes = [_frame_size(nwb, part) for part in arrays]
    # Frames are read when they are shown; those that cannot be read, such as for want
    # of a filter of HDF5, are noticed here.
    for part in (*arrays[:1], *arrays[-1:]):
        first = int(part.frames[0])
        _stored(nwb.file, part.name, () if part.is_single else slice(first, first + 1))
    return parts, sizes


def _presentation(
    nwb: NwbFile,
    group: Group,
    intervals: PresentationIntervals,
    shown: PresentationIntervals,
    recording: Interval,
) -> list[Part]:
    """Return the parts of one presentation, none if its frames are elsewhere."""
    shape = nwb.shape(group)
    name = last_name(group)
    # Frames in other files are never opened; the dataset of the series is then empty.
    if _is_elsewhere(nwb, group):
        _note_elsewhere(nwb, group)
        return []
    if not shape or not shape[0]:
        nwb.notes.warn("empty_stimulus", f"{group.name} holds no frames")
        return []
    times = nwb.onsets(group, shape[0])
    span = Interval(float(times[0]), float(times[-1]))
    times = times * scale_to_seconds(str(group.name), span, recording, nwb.notes)
    # An IndexSeries: numbers of images instead of frames.
    if len(shape) == 1:
        return _stills(nwb, group, times, shown)
    return trials.video_parts(f"{group.name}/data", times, intervals, name)


def _is_elsewhere(nwb: NwbFile, group: Group) -> bool:
    """Return whether the frames of a series are in other files."""
    has_files = nwb.file.find("external_file", group) is not None
    return has_files and 0 in (nwb.shape(group) or (0,))


def _note_elsewhere(nwb: NwbFile, group: Group) -> None:
    files = texts_of(nwb.file.table(f"{group.name}/external_file"))
    nwb.notes.warn(
        "external_stimulus",
        f"{group.name} is in files of its own ({', '.join(files[:3])}), which are not read",
    )


def _stills(
    nwb: NwbFile, group: Group, times: np.ndarray, shown: PresentationIntervals
) -> list[Part]:
    """Return the parts of images shown by number, each until its end or the next one."""
    stored = nwb.file.table(f"{group.name}/data")
    if stored.dtype.kind not in "fiu" or (stored != np.round(stored)).any():
        problem = f"shows images by {stored.dtype}, which are no whole numbers"
        raise nwb.wrong(group, problem)
    order = stored.astype(np.int64)
    series = nwb.file.find("indexed_timeseries", group)
    images = nwb.file.find("indexed_images", group)
    # Older files refer to the frames of a series, newer ones to single images.
    if series is not None and _is_elsewhere(nwb, series):
        _note_elsewhere(nwb, series)
        return []
    if series is not None:
        count = (nwb.shape(series) or (0,))[0]
        check_extent(nwb.file.path, str(series.name), count, np.inf, MAX_FRAMES)
        names = [f"{series.name}/data"] * count
        frames = np.arange(len(names))
    elif images is not None:
        names = _image_names(nwb, images)
        frames = np.zeros(len(names), np.int64)
    else:
        nwb.notes.warn("external_stimulus", f"{group.name} does not say what it shows")
        return []
    if order.min() < 0 or order.max() >= len(names):
        from_one = order.min() == 1 and order.max() == len(names)
        found = f"shows the images {order.min()} to {order.max()}"
        raise nwb.wrong(
            group,
            f"{found}, and there are {len(names)}, numbered from 0",
            "its numbers begin at 1: subtract 1" if from_one else "correct its numbers",
        )
    label, single = last_name(group), series is None
    parts = [
        Part(names[i], times[k : k + 1], frames[[i]], "image", f"{label}/{i}", single)
        for k, i in enumerate(order.tolist())
    ]
    return _ended(str(group.name), parts, shown, nwb.notes)


def _ended(name: str, parts: list[Part], shown: PresentationIntervals, notes: Notes) -> list[Part]:
    """Return images with gray after the end that a table states, where it states one."""
    times = np.array([float(part.times[0]) for part in parts])
    if not len(shown.on):
        notes.assume(
            "image_ends",
            f"{name}: an image lasts until the next one; NWB does not store when it "
            "was switched off",
        )
        return parts
    row = np.clip(np.searchsorted(shown.on, times + _SAME_TIME_S, side="right") - 1, 0, None)
    is_row = np.abs(shown.on[row] - times) <= _SAME_TIME_S
    ends = np.where(is_row, shown.off[row], np.nan)
    following = np.append(times[1:], np.inf)
    is_ended = following - ends > _SAME_TIME_S
    notes.assume(
        "image_ends",
        f"{name}: {int(is_ended.sum()):,} of {len(parts):,} images end as their row in the table "
        f"of presentations says, and the screen is then gray, for at most {_LONGEST_GRAY_S:g} s; "
        "the others last until the next one",
    )
    nothing = np.zeros(1, np.int64)
    found: list[Part] = []
    for part, end, after, ends_now in zip(parts, ends, following, is_ended, strict=True):
        found.append(part)
        if ends_now:
            # What was shown long after an image is unknown.
            kind = "blank" if after - end <= _LONGEST_GRAY_S else "invalid"
            found.append(Part("", np.array([end]), nothing, kind, ""))
    return found


def _shown_template(nwb: NwbFile, group: Group, shown: PresentationIntervals) -> list[Part]:
    """Return the parts of a template whose frames a table of presentations numbers."""
    label = last_name(group)
    count, key = (nwb.shape(group) or (0,))[0], _plain(label)
    check_extent(nwb.file.path, str(group.name), count, np.inf, MAX_FRAMES)
    names = shown.columns.get("stimulus_name", [])
    own = [k for k, name in enumerate(names) if _plain(name) and key.startswith(_plain(name))]
    column = next((c for c in _FRAME_COLUMNS if c in shown.columns), "")
    numbers = [(k, as_float(shown.columns[column][k])) for k in own] if column else []
    rows = [(k, int(n)) for k, n in numbers if n is not None and np.isfinite(n) and n >= 0]
    if not rows or _is_elsewhere(nwb, group):
        return []
    place, frames = (np.array(values, np.int64) for values in zip(*rows, strict=True))
    if frames.max() >= count:
        found = f"frames 0 to {frames.max()}, and it has {count}"
        raise nwb.wrong(group, f"is shown with {found}", "correct the numbers of the table")
    nwb.notes.assume(
        "shown_template",
        f"{group.name}: {len(frames):,} rows of {column} in the table of presentations name the "
        "frames that were shown",
    )
    times, data = shown.on[place], f"{group.name}/data"
    steps = np.diff(times)
    if len(steps) and float(np.median(steps)) < _LONGEST_FRAME_S:
        # A film: its showings are divided where it begins again, and at pauses.
        cuts = np.flatnonzero((np.diff(frames) != 1) | (steps > _LONGEST_FRAME_S)) + 1
        runs = np.split(np.arange(len(frames)), cuts)
        return [Part(data, times[run], frames[run], "video", label) for run in runs]
    parts = [
        Part(data, times[k : k + 1], frames[k : k + 1], "image", f"{label}/{n}")
        for k, n in enumerate(frames.tolist())
    ]
    return _ended(str(group.name), parts, shown, nwb.notes)


def _plain(name: object) -> str:
    """Return letters and digits of the name of a stimulus, for comparison."""
    text = re.sub(r"_?presentations?$", "", str(name).casefold())
    return re.sub(r"[\W_]+", "", text)


def _image_names(nwb: NwbFile, images: Group) -> list[str]:
    listed = nwb.file.find("order_of_images", images)
    if listed is None:
        nwb.notes.assume(
            "image_order",
            f"{images.name} does not say in which order its images are numbered: in "
            "the order of their names, numbers by value",
        )
        names = sorted(nwb.names(images), key=by_number)
        return [f"{images.name}/{name}" for name in names]
    # Object references to the images, in the order of their numbers.
    references = nwb.file.table(listed.name).reshape(-1)
    return [nwb.dereference(r, listed.name).name for r in references]


def _frame_size(nwb: NwbFile, part: Part) -> tuple[int, ...]:
    """Return the frame size of an array, (height, width[, 3]), without alpha."""
    dataset: Any = nwb.file.dataset(part.name)
    shape = tuple(int(n) for n in dataset.shape)
    size = trials.shown_size(shape if part.is_single else shape[1:])
    if len(size) < 2 or size[2:] not in ((), (trials.COLOURS,)):
        raise nwb.wrong(dataset.parent, f"has frames {size}; {_EXPECTED} expected")
    if dataset.dtype.kind not in "fiu" or 0 in shape:
        raise nwb.wrong(dataset.parent, f"has frames {shape} of {dataset.dtype}")
    return size
