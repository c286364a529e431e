"""Stored state: last session, recent recordings and analyses, backups, scores."""

import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnimouse_model.data.readers.build.notes import ReadOptions
from omnimouse_model.data.session import Session
from omnimouse_model.errors import SessionFormatError
from omnimouse_model.evaluation.tier_score import TierScore
from omnimouse_model.live.analysis_file import SUFFIX
from omnimouse_model.masks import Mask
from omnimouse_model.predict.compatibility import FALLBACK
from omnimouse_model.simulate.demo import is_demo
from omnimouse_model.storage.trees import decode, read_json, read_or_set_aside, write_state
from omnimouse_model.storage.web import display_address, web_address
from omnimouse_model.storage.write import OutputBusyError, claimed, config_dir

# -- stored scores of a recording, which choose the first neurons and the first window
# A new view shows the best, a median and the worst predicted neuron, and a window of
# median score. It needs scores before the first prediction: those of the demo are
# shipped, those of other recordings are stored when a tier is complete.
SHIPPED: Final = Path(__file__).parent / "demo_scores.json"
"""Scores of the demo session; `python -m tests.acceptance.first_scores` writes them."""
MIN_SHARE: Final = 0.25
"""Share of the neurons that must have a score, so that a small mask is not stored."""


@dataclass(frozen=True, slots=True)
class FirstScores:
    """Scores of the neurons of a recording, and the window that is shown first.

    Attributes
    ----------
    session, n_neurons
        Id of the recording, and number of its neurons.
    tier
        Tier of the scores.
    start_s
        Start of the first window, in s on the session clock: the tier's window whose
        score is the median.
    best, median, worst
        Index of a neuron each.
    predictor, mask_id
        Name or file of the predictor of the scores, and id of their mask; "" if an
        older version stored them.
    """

    session: str
    n_neurons: int
    tier: str
    start_s: float
    best: int
    median: int
    worst: int
    predictor: str = ""
    mask_id: str = ""

    @property
    def neurons(self) -> tuple[int, ...]:
        """The neurons, from the best to the worst."""
        return tuple(self.ranks)

    @property
    def ranks(self) -> dict[int, str]:
        """Rank of each neuron in words, from the best to the worst."""
        return {self.best: "best", self.median: "median", self.worst: "worst"}

    def ranks_for(self, predictor_name: str, mask: Mask | None) -> dict[int, str]:
        """Return the ranks if the scores are of this predictor and mask, else none."""
        is_same = mask is not None and self.mask_id == mask.mask_id
        return self.ranks if is_same and self.predictor == predictor_name else {}


def first_scores(session: Session, found: TierScore, predictor_name: str) -> FirstScores | None:
    """Return the first neurons and window by a complete score; None for few targets."""
    score = found.score
    if score is None or not found.window_scores:
        return None
    values = score.per_neuron
    is_known = np.isfinite(values)
    if is_known.sum() < max(3, MIN_SHARE * session.n_neurons):
        return None
    neurons, values = score.neurons[is_known], values[is_known]
    order = neurons[np.argsort(-values, kind="stable")].tolist()
    starts = sorted(found.window_scores, key=lambda start: found.window_scores[start])
    return FirstScores(
        session.id,
        session.n_neurons,
        found.tier,
        starts[len(starts) // 2],
        order[0],
        order[len(order) // 2],
        order[-1],
        predictor_name,
        found.mask.mask_id,
    )


def shipped_scores(session: Session) -> FirstScores | None:
    """Return the scores of the demo session; None for other recordings."""
    return read_scores(SHIPPED, session)


def read_scores(path: Path, session: Session) -> FirstScores | None:
    """Return the scores in a file; None if it is missing or of another recording."""
    try:
        found = decode(FirstScores, read_json(path), path)
    except SessionFormatError:  # missing, damaged, of another version
        return None
    neurons = (found.best, found.median, found.worst)
    is_same = (found.session, found.n_neurons) == (session.id, session.n_neurons)
    is_valid = all(0 <= neuron < session.n_neurons for neuron in neurons) and found.start_s >= 0
    return found if is_same and is_valid else None


# -- last saved session: the screen's content, stored across restarts and crashes -----
@dataclass(frozen=True, slots=True)
class LastSession:
    """Last saved session.

    Attributes
    ----------
    baseline
        Predictor that the model is compared with, "" for none; at first the one that
        answers any mask.
    options
        Options that the session is read with; see `ReadOptions`.
    pins
        Pinned conditions of the session; see `Pins.to_dict`.
    analysis
        The screen's content as `Analysis.to_dict` returns it; may be empty.
    file, digest
        File of the analysis, and the hash of its content when this program read or wrote
        it; "" for none.
    brush_radius
        Radius of the field's brush in screen pixels, 0 if not known.
    unfamiliar
        Model in whose place `predictor` answers, see `ModelChoice.unfamiliar`.
    run, at
        Number of the process that wrote this, "" after a normal end; time in seconds
        since the epoch.
    """

    session: str = ""
    predictor: str = ""
    preset: str = ""
    start_s: float = 0.0
    baseline: str = FALLBACK
    options: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, Any] = field(default_factory=dict)
    analysis: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    run: str = ""
    at: float = 0.0
    brush_radius: float = 0.0
    digest: str = ""
    unfamiliar: str = ""


def write_last_session(last: LastSession, path: Path | None = None) -> None:
    """Write the session atomically; log, and do not raise, if it cannot be written."""
    values = {field.name: getattr(last, field.name) for field in fields(last)}
    write_state(path or config_dir() / "live.json", values)


def read_last_session(path: Path | None = None) -> LastSession | None:
    """Return the last saved session, None if there is none or it is damaged."""
    return read_or_set_aside(path or config_dir() / "live.json", LastSession, _check)


def _check(last: LastSession) -> None:
    decode(ReadOptions, last.options, "the last session", "options")


# -- stored state: last session, recent recordings and analyses, backups, scores ------
logger = logging.getLogger(__name__)

MAX_RECENT = 8
UNSAVED = ", unsaved "
MAX_WINDOWS = 8
"""Maximum number of windows at a time whose state is saved."""
MAX_UNSAVED = 20
"""Maximum number of backups of unsaved analyses that were never opened."""


class StateStore:
    """Storage of the last session, recent analyses and backups of unsaved analyses.

    Parameters
    ----------
    path
        File of the last session; True for the user's `live.json`, False to store
        nothing. While another window uses it, "live-2.json" and so on: each window has
        a state of its own, and a new one takes the newest that no window uses.

    Attributes
    ----------
    is_after_crash
        Whether the last session that was loaded ended without a normal end.
    """

    def __init__(self, path: Path | bool) -> None:
        self._is_enabled = path is not False
        self._path = path if isinstance(path, Path) else config_dir() / "live.json"
        self._file: Path | None = None
        self._claim = ExitStack()
        self._latest_s = -math.inf
        self.is_after_crash = False
        # Copies are written on threads of their own.
        self._lock = threading.Lock()

    def load(self) -> LastSession:
        """Return the last saved session, an empty one if there is none."""
        file = self._claimed_file()
        last = None if file is None else read_last_session(file)
        return last or LastSession()

    def save(self, last: LastSession) -> None:
        """Save the session."""
        file = self._claimed_file()
        if file is not None:
            # The clock may have jumped back: then another state would seem to be newer.
            at = max(time.time(), self._latest_s + 1e-3)
            write_last_session(replace(last, run=str(os.getpid()), at=at), file)

    def end(self) -> None:
        """Mark the saved session as ended normally; another window may then take it."""
        last = self.load()
        if last.run and self._file is not None:
            write_last_session(replace(last, run=""), self._file)
        self._claim.close()

    def _claimed_file(self) -> Path | None:
        """Return the file of this window; None if nothing is stored, or all are in use."""
        with self._lock:
            if not self._is_enabled or self._file is not None:
                return self._file
            names = [self._path.name] + [
                f"{self._path.stem}-{number}.json" for number in range(2, MAX_WINDOWS + 1)
            ]
            files = [self._path.with_name(name) for name in names]
            saved = {file: read_last_session(file) for file in files}
            times = {file: -math.inf if last is None else last.at for file, last in saved.items()}
            # The newest first, then those that do not exist, in their order.
            files.sort(key=times.__getitem__, reverse=True)
            self._latest_s = max(times.values())
            for file in files:
                try:
                    self._claim = claimed(file)
                except OutputBusyError:
                    continue
                except OSError as error:  # a drive without locks: windows share one file
                    logger.warning("%s cannot be locked: %s", file, error)
                self._file = file
                # Nobody else runs with this file: its process has ended.
                last = saved[file]
                self.is_after_crash = last is not None and bool(last.run)
                return file
            self._is_enabled = False
            logger.warning("%d windows are open: the state of this one is not saved.", MAX_WINDOWS)
            return None

    @property
    def is_second_window(self) -> bool:
        """Whether another window had the usual file when this one took its own."""
        return self._file not in (None, self._path)

    def file_of_window(self, stem: str) -> Path:
        """Return the path of another file of this window, such as docks-2.json of the second."""
        file = self._claimed_file() or self._path
        return file.with_name(stem + file.name.removeprefix(self._path.stem))

    @property
    def is_enabled(self) -> bool:
        """Whether anything is stored."""
        return self._is_enabled

    @property
    def folder(self) -> Path:
        """Folder of the stored files."""
        return self._path.parent

    def scores_of(self, session: Session) -> FirstScores | None:
        """Return the scores that choose the first view of a recording, or None.

        Those of the demo are part of the package, and others do not replace them.
        """
        shipped = shipped_scores(session)
        if shipped is not None or not self._is_enabled:
            return shipped
        return read_scores(self._scores_path(session), session)

    def note_scores(self, session: Session, score: TierScore, predictor_name: str) -> None:
        """Store the complete scores of a tier, the first time for a recording."""
        if not self._is_enabled or not score.is_complete:
            return
        path = self._scores_path(session)
        stored = read_scores(path, session)
        # Those of an older version do not name the predictor.
        if stored is None or not stored.mask_id:
            scores = first_scores(session, score, predictor_name)
            if scores is not None:
                write_state(path, asdict(scores))

    def _scores_path(self, session: Session) -> Path:
        name = hashlib.sha256(session.fingerprint.encode()).hexdigest()[:32]
        return self.folder / "scores" / f"{name}.json"

    @property
    def recent(self) -> tuple[Path, ...]:
        """Existing files of recently saved or opened analyses, newest first."""
        if not self._is_enabled:
            return ()
        try:
            paths = map(Path, self._texts(self._recent_path)[:MAX_RECENT])
            return tuple(path for path in paths if path.is_file())
        except (OSError, ValueError):  # not a valid path
            return ()

    def note_recent(self, path: Path) -> None:
        """Put a saved or opened analysis first in the list of recent ones.

        A copy of an unsaved analysis is then never deleted automatically.
        """
        if not self._is_enabled:
            return
        with self._lock:
            self._put_first(path)
            # A copy that was opened is in use, even if it was not saved under another
            # name.
            if path.parent == self.unsaved_folder and path.name not in self._in_use:
                write_state(self._in_use_path, sorted({*self._in_use, path.name}))

    @property
    def recent_recordings(self) -> tuple[str, ...]:
        """Paths and addresses of recently opened recordings, newest first."""
        return self._texts(self._recordings_path)[:MAX_RECENT] if self._is_enabled else ()

    def note_recording(self, session: Session) -> None:
        """Put an opened recording first in the list; samples are listed elsewhere."""
        source = session.source
        # Arrays in memory have no place.
        if not self._is_enabled or isinstance(source, Mapping) or is_demo(session.path):
            return
        address = web_address(source)
        # Without credentials, which are never stored.
        place = str(Path(source).absolute()) if address is None else display_address(address)
        places = dict.fromkeys([place, *self.recent_recordings])
        write_state(self._recordings_path, list(places)[:MAX_RECENT])

    @property
    def unsaved_folder(self) -> Path:
        """Folder of backups of unsaved analyses."""
        return self.folder / "unsaved"

    def back_up(self, name: str, write: Callable[[Path], None]) -> tuple[Path, tuple[Path, ...]]:
        """Write a copy of an unsaved analysis and put it first in the recent list.

        Return its path, and the paths of deleted older copies: of copies that were
        never opened, the newest `MAX_UNSAVED` stay.

        Raises
        ------
        OSError
            The copy cannot be written.
        """
        with self._lock:
            folder = self.unsaved_folder
            folder.mkdir(parents=True, exist_ok=True)
            at = time.strftime("%Y-%m-%d %H.%M.%S")
            stem = name.partition(UNSAVED)[0] + UNSAVED + at
            path, n = folder / f"{stem}{SUFFIX}", 1
            while path.exists():
                n += 1
                path = folder / f"{stem} ({n}){SUFFIX}"
            write(path)
            self._put_first(path)
            return path, self._prune(path)

    def _prune(self, newest: Path) -> tuple[Path, ...]:
        """Delete the oldest copies that were never opened; return their paths."""
        try:
            copies = self.unsaved_folder.glob(f"*{SUFFIX}")
            others = [p for p in copies if p.name not in self._in_use and p != newest]
            others.sort(key=lambda p: p.stat().st_mtime)
            old = others[: max(len(others) + 1 - MAX_UNSAVED, 0)]
            # The clock may have jumped back: then this copy would seem to be an old one.
            latest_ns = max((p.stat().st_mtime_ns for p in others), default=0)
            if newest.stat().st_mtime_ns <= latest_ns:
                os.utime(newest, ns=(latest_ns + 1000, latest_ns + 1000))
        except OSError as error:
            logger.warning("Older copies are not deleted: %s", error)
            return ()
        deleted = []
        for path in old:
            try:
                path.unlink()
                deleted.append(path)
            except OSError as error:
                logger.warning("%s is not deleted: %s", path.name, error)
        return tuple(deleted)

    def _put_first(self, path: Path) -> None:
        paths = dict.fromkeys([str(path), *map(str, self.recent)])
        write_state(self._recent_path, list(paths)[:MAX_RECENT])

    @property
    def _in_use(self) -> tuple[str, ...]:
        """Names of copies that were opened or saved again."""
        return self._texts(self._in_use_path)

    @staticmethod
    def _texts(path: Path) -> tuple[str, ...]:
        return read_or_set_aside(path, tuple[str, ...]) or ()

    @property
    def _in_use_path(self) -> Path:
        return self.folder / "unsaved_in_use.json"

    @property
    def _recordings_path(self) -> Path:
        return self.folder / "recent_recordings.json"

    @property
    def _recent_path(self) -> Path:
        return self.folder / "recent_analyses.json"
