"""Stimulus of an NWB file: presentations, templates and trials."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.frames import fit_video
from omnimouse_model.data.io.hdf5 import Hdf5
from omnimouse_model.data.readers.build.decode_text import texts_of
from omnimouse_model.data.readers.build.notes import Notes
from omnimouse_model.data.readers.build.presentations import (
    Part,
    PresentationIntervals,
    build_stimulus,
    video_parts,
)
from omnimouse_model.data.readers.build.size_limits import MAX_FRAMES, check_extent
from omnimouse_model.data.readers.nwb.file import NwbFile
from omnimouse_model.data.stimulus import Stimulus
from omnimouse_model.data.window_spec import VIDEO_SIZE

if TYPE_CHECKING:
    import h5py

_COLOURS, _WITH_ALPHA = 3, 4
_MIN_S = 3.0
"""A window of 2 s with a margin of 0.5 s at both ends."""
_EXPECTED = "(height, width[, 3])"


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

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
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
        return (
            stored
            if stored.shape[1:] == size
            else fit_video(stored, (size[0], size[1]))
        )


def read_stimulus(nwb: NwbFile, t0: float, notes: Notes) -> Stimulus | None:
    """Return frames and trials of all presentations, None if there are none.

    Parameters
    ----------
    t0
        Native time of the first response: time 0 of the session.
    """
    all_series = [*nwb.groups_of("ImageSeries", "IndexSeries", "OpticalSeries")]
    # Series under /stimulus/templates are only shown if a presentation refers to them.
    presented = [g for g in all_series if "/stimulus/presentation" in g.name]
    intervals = read_intervals(nwb)
    parts: list[Part] = []
    for group in presented:
        parts += _parts(nwb, group, intervals, notes)
    if not parts:
        return None
    size = _size(nwb, parts, notes)

    source = partial(NwbVideo, nwb.file)
    stimulus = build_stimulus(parts, intervals, t0, size, source, notes)
    span = stimulus.valid_interval()
    if span.stop - span.start < _MIN_S:
        notes.warn(
            "short_stimulus",
            f"the screen shows for {span.stop - span.start:.2g} s in all, too little "
            "for a window: left out",
        )
        return None
    return stimulus


def read_intervals(nwb: NwbFile) -> PresentationIntervals:
    """Return the trial table, empty if there is none."""
    tables = [t for t in nwb.groups_of("TimeIntervals") if t.name.endswith("/trials")]
    if not tables:
        return PresentationIntervals()
    table = tables[0]
    ends = [nwb.file.table(f"{table.name}/{name}_time") for name in ("start", "stop")]
    if any(values.dtype.kind not in "fiu" for values in ends):
        kinds = " and ".join(str(values.dtype) for values in ends)
        raise nwb.wrong(table, f"has starts and ends of {kinds}, not numbers")
    on, off = (values.astype(np.float64) for values in ends)
    if on.shape != off.shape or on.ndim != 1 or not np.isfinite(on).all():
        raise nwb.wrong(table, f"has {on.shape} starts and {off.shape} ends")
    columns: dict[str, list[Any]] = {}
    for name in nwb.names(table):
        shape = nwb.shape(table, name)
        # Other shapes are ragged columns and their indices.
        if shape != on.shape or name in ("start_time", "stop_time"):
            continue
        values = nwb.file.table(f"{table.name}/{name}")
        plain = values.dtype.kind in "biuf"
        columns[name] = values.tolist() if plain else texts_of(values)
    # Of a session with a video, a trial lasts until the next one.
    columns.setdefault("duration_s", (off - on).tolist())
    return PresentationIntervals.sorted(on, off, columns)


def _parts(
    nwb: NwbFile, group: "h5py.Group", intervals: PresentationIntervals, notes: Notes
) -> list[Part]:
    """Return the parts of one presentation, none if its frames cannot be read."""
    shape = nwb.shape(group)
    name = group.name.rsplit("/", 1)[-1]
    # Frames in other files are never opened; the dataset of the series is then empty.
    if nwb.file.find("external_file", group) is not None and 0 in (shape or (0,)):
        notes.warn(
            "external_stimulus",
            f"{group.name} is in files of its own ("
            + ", ".join(texts_of(nwb.file.table(f"{group.name}/external_file"))[:3])
            + "), which are not read",
        )
        return []
    if not shape or not shape[0]:
        notes.warn("empty_stimulus", f"{group.name} holds no frames")
        return []
    times = nwb.onsets(group, shape[0])
    # An IndexSeries: numbers of images instead of frames.
    if len(shape) == 1:
        return _stills(nwb, group, times, notes)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise nwb.wrong(group, f"has frames {shape[1:]}; {_EXPECTED} expected")
    return video_parts(f"{group.name}/data", times, intervals, name)


def _stills(
    nwb: NwbFile, group: "h5py.Group", times: np.ndarray, notes: Notes
) -> list[Part]:
    """Return the parts of images shown by number, each until the next one."""
    order = nwb.file.table(f"{group.name}/data").astype(np.int64)
    series = nwb.file.find("indexed_timeseries", group)
    images = nwb.file.find("indexed_images", group)
    # Older files refer to the frames of a series, newer ones to single images.
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
    if len(order) and (order.min() < 0 or order.max() >= len(names)):
        raise nwb.wrong(
            group, f"shows image {order.max()} of {len(names)} that there are"
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


def _size(nwb: NwbFile, parts: list[Part], notes: Notes) -> tuple[int, ...]:
    """Return the size of all frames, or OmniMouse's if they differ."""
    # A session has one frame size, and no size is right for all presentations.
    # One part per array: a session may show thousands of parts of it.
    by_name = {part.name: part for part in parts if part.name}
    sizes = {_frame_size(nwb, part): None for part in by_name.values()}
    if len(sizes) == 1:
        return next(iter(sizes))
    notes.assume(
        "several_sizes",
        "presentations differ in size: all are averaged to gray at OmniMouse's size",
    )
    return VIDEO_SIZE


def _frame_size(nwb: NwbFile, part: Part) -> tuple[int, ...]:
    """Return the frame size of an array, (height, width[, 3]), without alpha."""
    dataset: Any = nwb.file.dataset(part.name)
    shape = tuple(int(n) for n in dataset.shape)
    size = shape if part.is_single else shape[1:]
    if size[2:] == (_WITH_ALPHA,):
        size = (*size[:2], _COLOURS)
    if len(size) < 2 or size[2:] not in ((), (_COLOURS,)):
        raise nwb.wrong(dataset.parent, f"has frames {size}; {_EXPECTED} expected")
    if dataset.dtype.kind not in "fiu" or 0 in shape:
        raise nwb.wrong(dataset.parent, f"has frames {shape} of {dataset.dtype}")
    return size
