"""Stimulus of an NWB file: frames and images that were presented."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.clock import Interval
from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.readers.build.decode_text import texts_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import (
    Part,
    PresentationIntervals,
    build_stimulus,
    video_parts,
)
from omnimouse_model.data.readers.build.side_streams import (
    clock_remedy,
    common_time,
    is_long_enough,
    read_side_stream,
    scale_to_seconds,
    span_text,
)
from omnimouse_model.data.readers.build.size_limits import MAX_FRAMES, check_extent
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.readers.nwb.trials import clock_origins
from omnimouse_model.data.signal import Signal
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.window_spec import VIDEO_SIZE
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.storage.hdf5 import Hdf5

if TYPE_CHECKING:
    import h5py

_COLOURS, _WITH_ALPHA = 3, 4
_EXPECTED = "(height, width[, 3])"
_FRAMES = ("ImageSeries", "IndexSeries", "OpticalSeries")
"""Types of series of images."""


class NwbVideo:
    """Frames of all trials in the datasets of the file; see `VideoSource`."""

    def __init__(self, file: Hdf5, parts: list[Part]) -> None:
        self._file, self._parts = file, parts

    def has(self, trial: int) -> bool:
        """Return whether a trial has frames in the file."""
        return bool(self._parts[trial].name)

    def check(self) -> None:
        """Raise `SessionFormatError` if the file is missing or has changed."""
        self._file.source.check()

    def read(self, trial: int, first: int, stop: int, size: tuple[int, ...]) -> np.ndarray:
        """Return frames `first` to `stop` of a trial, (n, *size).

        Frames of another size are averaged to the size of the model.
        """
        part = self._parts[trial]
        dataset = self._file.dataset(part.name)
        block = part.frames[first:stop]
        if part.is_single:
            image = self._file.read(dataset, ())
            stored = np.repeat(image[None], len(block), axis=0)
        else:
            # One contiguous read: index lists are slow in h5py.
            low = int(block.min())
            run = self._file.read(dataset, slice(low, int(block.max()) + 1))
            stored = run[block - low]
        if stored.shape[3:] == (_WITH_ALPHA,):
            stored = stored[..., :_COLOURS]
        elif stored.shape[3:] == (1,):
            stored = stored[..., 0]
        return stored if stored.shape[1:] == size else fit_video(stored, (size[0], size[1]))


def read_stimulus(
    nwb: NwbFile, intervals: PresentationIntervals, responses: Signal, notes: Notes
) -> Stimulus | None:
    """Return frames and trials of all presentations, None if there are none.

    A presentation that is faulty, or on another clock than the responses, is left out
    with a warning.
    """
    all_series = [*nwb.groups_of(*_FRAMES)]
    # Series under /stimulus/templates are only shown if a presentation refers to them.
    presented = [g for g in all_series if "/stimulus/presentation" in g.name]
    _note_unread(nwb, notes)
    recording = responses.valid_interval()
    parts: list[Part] = []
    sizes: dict[tuple[int, ...], None] = {}
    for group in presented:
        read = partial(_presentation, nwb, group, intervals, recording)
        found = read_side_stream(str(group.name), read, notes)
        if found is not None:
            parts += found[0]
            sizes |= dict.fromkeys(found[1])
    if not parts:
        return None
    if len(sizes) > 1:
        # A session has one frame size, and no size is right for all presentations.
        notes.assume(
            "several_sizes",
            "presentations differ in size: all are averaged to gray at OmniMouse's size",
        )
    size = next(iter(sizes)) if len(sizes) == 1 else VIDEO_SIZE
    if size[0] > size[1]:
        notes.warn(
            "frame_axes",
            f"frames of {size[0]} × {size[1]} are taken as height × width, as most "
            "programs store them; if they are width × height, they lie on their side",
        )
    source = partial(NwbVideo, nwb.file)
    stimulus = build_stimulus(parts, intervals, responses.start, size, source, notes)
    span = stimulus.valid_interval()
    if not is_long_enough(span):
        notes.warn(
            "short_stimulus",
            f"the screen shows for {span.stop - span.start:.2g} s in all, too little "
            "for a window: left out",
        )
        return None
    if not is_long_enough(common_time(span, recording)):
        names = ", ".join(str(group.name) for group in presented[:4])
        notes.warn(
            "left_out_stream",
            f"the stimulus is left out: {names} was shown at {span_text(span)}, the "
            f"responses cover {span_text(recording)} of the clock of the file "
            f"({clock_remedy(span, recording, clock_origins(nwb))})",
        )
        return None
    _note_trials(intervals, stimulus, notes)
    return stimulus


def _note_unread(nwb: NwbFile, notes: Notes) -> None:
    """Note what was presented and is no image, such as an orientation or a laser."""
    names = [
        str(item.name)
        for kind, items in nwb.groups.items()
        for item in items
        if kind not in (*_FRAMES, "TimeIntervals")
        and item.name.rsplit("/", 1)[0] == "/stimulus/presentation"
    ]
    if names:
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        text = f"stimuli that are no images are not read: {', '.join(names[:6])}{more}"
        notes.assume("stimulus_left_out", text)


def _note_trials(intervals: PresentationIntervals, stimulus: Stimulus, notes: Notes) -> None:
    """Note trials of the table during which no presentation begins."""
    if not len(intervals.on):
        return
    shown = stimulus.slot_t[stimulus.trials.first_slot[stimulus.trials.readable]]
    # With the tolerance of `PresentationIntervals.at`.
    row = np.searchsorted(intervals.on, shown + 1e-6, side="right") - 1
    is_inside = (row >= 0) & (shown < intervals.off[row])
    without = len(intervals.on) - len(np.unique(row[is_inside]))
    if without:
        notes.warn(
            "trials_without_frames",
            f"no frame begins in {without:,} of {len(intervals.on):,} trials; they are "
            "left out, because the trials of a session with a screen are those of its "
            "frames",
        )


def _presentation(
    nwb: NwbFile,
    group: "h5py.Group",
    intervals: PresentationIntervals,
    recording: Interval,
    notes: Notes,
) -> tuple[list[Part], list[tuple[int, ...]]]:
    """Return the parts of one presentation and its frame sizes, [] without frames."""
    parts = _parts(nwb, group, intervals, recording, notes)
    # One part per array: a session may show thousands of parts of it.
    arrays = list({part.name: part for part in parts if part.name}.values())
    sizes = [_frame_size(nwb, part) for part in arrays]
    # Frames are read when they are shown; those that cannot be read, such as for want
    # of a filter of HDF5, are noticed here.
    video = NwbVideo(nwb.file, [*arrays[:1], *arrays[-1:]])
    for k, size in enumerate(sizes[:1] + sizes[-1:]):
        video.read(k, 0, 1, size)
    return parts, sizes


def _parts(
    nwb: NwbFile,
    group: "h5py.Group",
    intervals: PresentationIntervals,
    recording: Interval,
    notes: Notes,
) -> list[Part]:
    """Return the parts of one presentation, none if its frames are elsewhere."""
    shape = nwb.shape(group)
    name = group.name.rsplit("/", 1)[-1]
    # Frames in other files are never opened; the dataset of the series is then empty.
    if _is_elsewhere(nwb, group):
        _note_elsewhere(nwb, group, notes)
        return []
    if not shape or not shape[0]:
        notes.warn("empty_stimulus", f"{group.name} holds no frames")
        return []
    times = nwb.onsets(group, shape[0])
    span = Interval(float(times[0]), float(times[-1]))
    times = times * scale_to_seconds(str(group.name), span, recording, notes)
    # An IndexSeries: numbers of images instead of frames.
    if len(shape) == 1:
        return _stills(nwb, group, times, notes)
    return video_parts(f"{group.name}/data", times, intervals, name)


def _is_elsewhere(nwb: NwbFile, group: "h5py.Group") -> bool:
    """Return whether the frames of a series are in other files."""
    has_files = nwb.file.find("external_file", group) is not None
    return has_files and 0 in (nwb.shape(group) or (0,))


def _note_elsewhere(nwb: NwbFile, group: "h5py.Group", notes: Notes) -> None:
    files = texts_of(nwb.file.table(f"{group.name}/external_file"))
    notes.warn(
        "external_stimulus",
        f"{group.name} is in files of its own ({', '.join(files[:3])}), which are not read",
    )


def _stills(nwb: NwbFile, group: "h5py.Group", times: np.ndarray, notes: Notes) -> list[Part]:
    """Return the parts of images shown by number, each until the next one."""
    stored = nwb.file.table(f"{group.name}/data")
    if stored.dtype.kind not in "fiu" or (stored != np.round(stored)).any():
        problem = f"shows images by {stored.dtype}, which are no whole numbers"
        raise nwb.wrong(group, problem)
    order = stored.astype(np.int64)
    series = nwb.file.find("indexed_timeseries", group)
    images = nwb.file.find("indexed_images", group)
    # Older files refer to the frames of a series, newer ones to single images.
    if series is not None and _is_elsewhere(nwb, series):
        _note_elsewhere(nwb, series, notes)
        return []
    if series is not None:
        count = (nwb.shape(series) or (0,))[0]
        check_extent(nwb.file.path, str(series.name), count, np.inf, MAX_FRAMES)
        names = [f"{series.name}/data"] * count
        frames = np.arange(len(names))
    elif images is not None:
        names = _image_names(nwb, images, notes)
        frames = np.zeros(len(names), np.int64)
    else:
        notes.warn("external_stimulus", f"{group.name} does not say what it shows")
        return []
    if order.min() < 0 or order.max() >= len(names):
        from_one = order.min() == 1 and order.max() == len(names)
        raise SessionFormatError(
            nwb.file.path,
            "bad_series",
            f"{nwb.file.path.name}: {group.name} shows the images {order.min()} to "
            f"{order.max()}, and there are {len(names)}, numbered from 0",
            "its numbers begin at 1: subtract 1" if from_one else "correct its numbers",
        )
    notes.assume(
        "image_ends",
        f"{group.name}: an image lasts until the next one; NWB does not store when it "
        "was switched off",
    )
    label, single = group.name.rsplit("/", 1)[-1], series is None
    return [
        Part(names[i], times[k : k + 1], frames[[i]], "image", f"{label}/{i}", single)
        for k, i in enumerate(order.tolist())
    ]


def _image_names(nwb: NwbFile, images: "h5py.Group", notes: Notes) -> list[str]:
    listed = nwb.file.find("order_of_images", images)
    if listed is None:
        notes.assume(
            "image_order",
            f"{images.name} does not say in which order its images are numbered: in "
            "the order of their names, numbers by value",
        )
        names = sorted(nwb.names(images), key=_by_number)
        return [f"{images.name}/{name}" for name in names]
    # Object references to the images, in the order of their numbers.
    references = nwb.file.table(listed.name).reshape(-1)
    return [nwb.dereference(r, listed.name).name for r in references]


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts img2 before img10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _frame_size(nwb: NwbFile, part: Part) -> tuple[int, ...]:
    """Return the frame size of an array, (height, width[, 3]), without alpha."""
    dataset: Any = nwb.file.dataset(part.name)
    shape = tuple(int(n) for n in dataset.shape)
    size = shape if part.is_single else shape[1:]
    if size[2:] == (_WITH_ALPHA,):
        size = (*size[:2], _COLOURS)
    elif size[2:] == (1,):
        size = size[:2]
    if len(size) < 2 or size[2:] not in ((), (_COLOURS,)):
        raise nwb.wrong(dataset.parent, f"has frames {size}; {_EXPECTED} expected")
    if dataset.dtype.kind not in "fiu" or 0 in shape:
        raise nwb.wrong(dataset.parent, f"has frames {shape} of {dataset.dtype}")
    return size
