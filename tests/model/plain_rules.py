"""The rules of the session format in the plainest numpy, to compare the reader with.

Slow on purpose: whole index matrices, one loop per interval, nothing shared with the
package under test.
"""

import json
from pathlib import Path

import numpy as np
import yaml


class PlainStream:
    """One sampled device, read whole."""

    def __init__(self, folder: Path) -> None:
        meta = yaml.safe_load((folder / "meta.yml").read_text())
        self.step = 1.0 / meta["sampling_rate"]
        self.start, self.end = meta["start_time"], meta["end_time"]
        if (folder / "data.npy").exists():
            self.data = np.load(folder / "data.npy")
        else:
            shape = (meta["n_timestamps"], meta["n_signals"])
            self.data = np.fromfile(folder / "data.mem", meta["dtype"]).reshape(shape)
        self.shift = np.zeros(self.data.shape[1])
        if meta["phase_shift_per_signal"]:
            self.shift = np.load(folder / "meta/phase_shifts.npy").astype(np.float64)
        self.std = np.load(folder / "meta/stds.npy").reshape(1, -1)
        self.mean = np.load(folder / "meta/means.npy").reshape(1, -1)

    @property
    def valid(self) -> tuple[float, float]:
        return self.start + self.shift.max(), self.end + self.shift.min()

    def rows(self, times: np.ndarray) -> np.ndarray:
        shifted = times[:, None] - self.shift[None, :] - self.start
        return np.floor(shifted / self.step).astype(int)

    def at(self, times: np.ndarray) -> np.ndarray:
        """float32 values, every time inside the data."""
        return np.take_along_axis(self.data, self.rows(times), 0).astype(np.float32)

    def gaps(self) -> list[tuple[float, float]]:
        """Spans around missing rows."""
        reach = 0.05 + max(2 * self.step, 0.1 * 0.05)
        at = self.start + np.flatnonzero(np.isnan(self.data).any(1)) * self.step
        spans = [(t - reach, t + reach) for t in at]
        if len(at) and at[0] - self.start < reach:
            spans.append((self.start, at[0] + reach))
        if len(at) and self.end - at[-1] < reach:
            spans.append((at[-1] - reach, self.end))
        return spans


class PlainSession:
    """A session folder, read whole."""

    def __init__(self, root: Path) -> None:
        names = ("responses", "eye_tracker", "treadmill")
        self.streams = {n: PlainStream(root / n) for n in names if (root / n).exists()}
        self.root = root
        self.slots = np.load(root / "screen/timestamps.npy")
        combined = root / "screen/combined_meta.json"
        if combined.exists():
            self.trials = json.loads(combined.read_text())
        else:
            files = sorted((root / "screen/meta").glob("?????.yml"))
            self.trials = {f.stem: yaml.safe_load(f.read_text()) for f in files}

    def grid(self) -> tuple[np.ndarray, float, float]:
        spans = [s.valid for s in self.streams.values()]
        spans.append((self.slots[0], self.slots[-1]))
        low, high = max(a for a, _ in spans) + 0.5, min(b for _, b in spans) - 0.5
        return np.arange(low, high, 1.0 / 30.0), low, high

    def starts(self, tiers: list[str], stride: int, blanks: bool) -> np.ndarray:
        grid, _, high = self.grid()
        wanted = {*tiers, *(["blank"] if blanks else [])}
        first = [m["first_frame_idx"] for m in self.trials.values()]
        ends = [*self.slots[first[1:]], np.inf]
        inside = np.zeros(len(grid), bool)
        for meta, begin, end in zip(self.trials.values(), self.slots[first], ends, strict=True):
            tier = meta.get("tier")
            if ("blank" if tier is None else tier) in wanted:
                inside |= (grid >= begin) & (grid < end)
        for name in ("eye_tracker", "treadmill"):
            if name in self.streams:
                stream = self.streams[name]
                inside &= (grid >= stream.start) & (grid < stream.end)
                for begin, end in stream.gaps():
                    inside &= ~((grid >= begin) & (grid < end))
        kept = [
            i for i in range(len(grid) - 59) if inside[i : i + 60].all() and grid[i + 59] < high
        ]
        return grid[kept][::stride]

    def frames(self, times: np.ndarray) -> np.ndarray:
        """Raw frames (time, height, width[, 3]) float32."""
        slots = np.searchsorted(self.slots, times + 1e-4) - 1
        shown = []
        for slot in slots:
            for key, meta in self.trials.items():
                kind = meta["modality"].lower()
                count = meta["num_frames"] if kind == "video" else 1
                first = meta["first_frame_idx"]
                if first <= slot < first + count:
                    shown.append(self._frame(key, meta, kind, slot - first))
        return np.stack(shown).astype(np.float32)

    def _frame(self, key: str, meta: dict, kind: str, frame: int) -> np.ndarray:
        if kind in ("blank", "invalid"):
            return np.full(meta["image_size"], meta["interleave_value"])
        data = np.load(self.root / "screen/data" / f"{key}.npy")
        return data[frame] if kind == "video" else data
