"""What an NWB file says was on the screen: presentations, templates, trials."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from omnimouse_model.data.frames import VIDEO_SIZE, fit_video
from omnimouse_model.data.hdf5 import Hdf5
from omnimouse_model.data.readers.notes import Notes
from omnimouse_model.data.readers.nwb_file import NwbFile, texts_of
from omnimouse_model.data.stimulus import BLANK_TIER, MEAN_GRAY, Stimulus, Trials

if TYPE_CHECKING:
    import h5py

_HELD = 1.5
"""A frame lasts for so many of the usual steps; then nothing is known."""
_TIERS = ("tier", "split", "stimulus_set")


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A run of frames of one trial: of a dataset, or nothing known (name "")."""

    name: str
    times: np.ndarray
    frames: np.ndarray
    kind: str
    stim_id: str


class NwbFilm:
    """Frames of each trial in the datasets of the file; see `Film`."""

    def __init__(self, file: Hdf5, names: list[str], frames: list[np.ndarray]) -> None:
        self._file, self._names, self._frames = file, names, frames

    def has(self, trial: int) -> bool:
        """Whether a trial's frames are in the file."""
        return bool(self._names[trial])

    def read(
        self, trial: int, first: int, stop: int, size: tuple[int, ...]
    ) -> np.ndarray:
        """Frames (n, *size) of a trial; of another size, averaged to the model's."""
        dataset = self._file.dataset(self._names[trial])
        chosen = self._frames[trial][first:stop]
        if len(dataset.shape) == len(size):  # one image, in a dataset of its own
            image = self._file.read(dataset, ())
            stored = np.repeat(image[None], len(chosen), axis=0)
        else:
            low = int(chosen.min())
            run = self._file.read(dataset, slice(low, int(chosen.max()) + 1))
            stored = run[chosen - low]
        return stored if stored.shape[1:] == size else fit_video(stored)


def read_stimulus(nwb: NwbFile, t0: float, notes: Notes) -> Stimulus | None:
    """Frames and trials of all presentations, or None where there are none."""
    presented = [*nwb.of("ImageSeries", "IndexSeries", "OpticalSeries")]
    shown = [g for g in presented if "/stimulus/presentation" in g.name]
    intervals = _Intervals(nwb)
    parts: list[_Part] = []
    for group in shown:
        parts += _parts(nwb, group, intervals, notes)
    if not parts:
        notes.assume("missing_stream", "the session has no screen")
        return None
    parts.sort(key=lambda part: float(part.times[0]))
    parts = _with_holes(_without_overlap(parts, notes))
    size = _size(nwb, parts, notes)
    count = np.array([len(part.times) for part in parts])
    trial = np.repeat(np.arange(len(parts), dtype=np.int32), count)
    first = np.cumsum(count) - count
    slot_t = np.concatenate([part.times for part in parts])
    frame = np.asarray(np.arange(len(slot_t)) - first[trial], np.int32)
    on = slot_t[first] - t0
    named = np.array([bool(part.name) for part in parts])
    about = [intervals.at(float(part.times[0])) for part in parts]
    table = Trials(
        key=np.array([f"{i:05d}" for i in range(len(parts))], np.str_),
        kind=np.array([part.kind for part in parts], np.str_),
        tier=np.array(
            [
                a.get("tier", BLANK_TIER) if n else BLANK_TIER
                for a, n in zip(about, named, strict=True)
            ],
            np.str_,
        ),
        first_slot=first.astype(np.int32),
        n_slots=count.astype(np.int32),
        t_on=on,
        t_off=np.append(on[1:], slot_t[-1] - t0),
        readable=named,
        blank_value=np.where(named, np.nan, MEAN_GRAY).astype(np.float32),
        stim_id=np.array([part.stim_id for part in parts], np.str_),
        trial_idx=np.array([str(a.get("id", "")) for a in about], np.str_),
        valid_trial=np.array(["True" if n else "blank" for n in named], np.str_),
        extra=tuple({k: v for k, v in a.items() if k != "tier"} for a in about),
    )
    film = NwbFilm(nwb.file, [p.name for p in parts], [p.frames for p in parts])
    return Stimulus(slot_t, trial, frame, size, film, table)


def _parts(
    nwb: NwbFile, group: "h5py.Group", intervals: "_Intervals", notes: Notes
) -> list[_Part]:
    """Trials of one presentation."""
    shape = nwb.shape(group)
    name = group.name.rsplit("/", 1)[-1]
    if nwb.child(group, "external_file") is not None and 0 in (shape or (0,)):
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
    times = nwb.clock(group, shape[0]).all_times()
    if len(shape) == 1:
        return _stills(nwb, group, times, notes)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise nwb.wrong(group, f"has frames {shape[1:]}; (height, width[, 3]) expected")
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    gaps = np.flatnonzero(np.diff(times) > _HELD * step) + 1
    cuts = np.searchsorted(times, intervals.starts(times[0], times[-1]) - 1e-6)
    edges = np.unique(np.concatenate([[0], gaps, cuts, [len(times)]]))
    return [
        _Part(f"{group.name}/data", times[a:b], np.arange(a, b), "video", name)
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _stills(
    nwb: NwbFile, group: "h5py.Group", times: np.ndarray, notes: Notes
) -> list[_Part]:
    """Images shown by number, each until the next one."""
    order = nwb.file.table(f"{group.name}/data").astype(np.int64)
    series = nwb.child(group, "indexed_timeseries")
    images = nwb.child(group, "indexed_images")
    if series is not None:
        names = [f"{series.name}/data"] * int(nwb.shape(series)[0])
        frames = np.arange(len(names))
    elif images is not None:
        names = _image_names(nwb, images)
        frames = np.zeros(len(names), np.int64)
    else:
        notes.warn("external_stimulus", f"{group.name} does not say what it shows")
        return []
    if len(order) and (order.min() < 0 or order.max() >= len(names)):
        raise nwb.wrong(
            group, f"shows image {order.max()} of {len(names)} that there are"
        )
    label = group.name.rsplit("/", 1)[-1]
    return [
        _Part(names[i], times[k : k + 1], frames[[i]], "image", f"{label}/{i}")
        for k, i in enumerate(order.tolist())
    ]


def _image_names(nwb: NwbFile, images: "h5py.Group") -> list[str]:
    listed = nwb.child(images, "order_of_images")
    if listed is None:
        return [f"{images.name}/{name}" for name in nwb.names(images)]
    references = nwb.file.table(listed.name).reshape(-1)
    return [nwb.referred(r, listed.name).name for r in references]


def _without_overlap(parts: list[_Part], notes: Notes) -> list[_Part]:
    """Leave out what begins before the part before it has ended."""
    kept: list[_Part] = []
    dropped = 0
    for part in parts:
        if kept and part.times[0] <= kept[-1].times[-1]:
            dropped += 1
            continue
        kept.append(part)
    if dropped:
        notes.warn(
            "overlapping_stimuli",
            f"{dropped} presentations begin while another is shown; left out",
        )
    return kept


def _with_holes(parts: list[_Part]) -> list[_Part]:
    """Put a trial of nothing known after films that end before the next begins."""
    filled: list[_Part] = []
    usual = [float(np.median(np.diff(p.times))) for p in parts if len(p.times) > 1]
    step = float(np.median(usual)) if usual else 1 / 30
    for i, part in enumerate(parts):
        filled.append(part)
        nothing = np.zeros(1, np.int64)
        last = i + 1 == len(parts)
        if part.kind == "image" and not last:
            continue  # it stays until the next one
        own = float(np.median(np.diff(part.times))) if len(part.times) > 1 else step
        held = _median_hold(parts) if part.kind == "image" else own
        end = float(part.times[-1]) + held
        if last or parts[i + 1].times[0] - part.times[-1] > _HELD * own:
            filled.append(_Part("", np.array([end]), nothing, "invalid", ""))
    return filled


def _median_hold(parts: list[_Part]) -> float:
    """How long images usually stay."""
    onsets = np.array([p.times[0] for p in parts if p.kind == "image"])
    return float(np.median(np.diff(onsets))) if len(onsets) > 1 else 0.5


def _size(nwb: NwbFile, parts: list[_Part], notes: Notes) -> tuple[int, ...]:
    """The size of all frames; the model's where they differ."""
    sizes: dict[tuple[int, ...], None] = {}
    for name in dict.fromkeys(part.name for part in parts if part.name):
        dataset: Any = nwb.file.dataset(name)
        shape = tuple(int(n) for n in dataset.shape)
        is_frame = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
        is_image = any(p.kind == "image" and p.name == name for p in parts)
        sizes[shape if is_image and is_frame else shape[1:]] = None
        if dataset.dtype.kind not in "fiu" or 0 in shape:
            raise nwb.wrong(dataset.parent, f"has frames {shape} of {dataset.dtype}")
    if len(sizes) == 1:
        return next(iter(sizes))
    notes.assume(
        "several_sizes",
        "presentations differ in size: all are averaged to gray and to the model's",
    )
    return VIDEO_SIZE


class _Intervals:
    """The trial table, where there is one."""

    def __init__(self, nwb: NwbFile) -> None:
        self._on = self._off = np.zeros(0)
        self._columns: dict[str, list[Any]] = {}
        for table in nwb.of("TimeIntervals"):
            if table.name.endswith("/trials"):
                self._read(nwb, table)

    def _read(self, nwb: NwbFile, table: "h5py.Group") -> None:
        on = nwb.file.table(f"{table.name}/start_time").astype(np.float64)
        off = nwb.file.table(f"{table.name}/stop_time").astype(np.float64)
        if on.shape != off.shape or on.ndim != 1 or not np.isfinite(on).all():
            raise nwb.wrong(table, f"has {on.shape} starts and {off.shape} ends")
        order = np.argsort(on, kind="stable")
        for name in nwb.names(table):
            shape = nwb.shape(table, name)
            if shape != on.shape or name in ("start_time", "stop_time"):
                continue
            values = nwb.file.table(f"{table.name}/{name}")
            plain = values.dtype.kind in "biuf"
            listed = values.tolist() if plain else texts_of(values)
            self._columns[name] = [listed[i] for i in order]
        self._on, self._off = on[order], off[order]

    def starts(self, first: float, last: float) -> np.ndarray:
        """Onsets of trials within a span."""
        return self._on[(self._on > first) & (self._on <= last)]

    def at(self, when: float) -> dict[str, Any]:
        """The columns of the trial that covers a time; its split as `tier`."""
        row = int(np.searchsorted(self._on, when + 1e-6, side="right")) - 1
        if row < 0 or when >= self._off[row]:
            return {}
        found = {name: values[row] for name, values in self._columns.items()}
        split = next((found[name] for name in _TIERS if name in found), None)
        if split is not None and str(split):
            found["tier"] = str(split)
        return found
