"""Sessions of a training: folders by name, train windows, and those that are held out.

Simulated mice are created if they do not exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np

from omnimouse_model.data.clock import GRID_RATE_HZ, previous_index
from omnimouse_model.data.open import is_session
from omnimouse_model.data.session import Session, Window
from omnimouse_model.data.window_spec import WINDOW_S, default_spec
from omnimouse_model.errors import FinetuneError
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.simulate import (
    DEMO_FURTHER,
    SMOKE_MICE,
    STUDY_MICE,
    TRAINING_MICE,
    write_session,
)
from omnimouse_model.simulate.spiking_laboratory import (
    ANIMALS,
    UNSEEN_SPIKES,
    VERSION,
    write_animal,
)
from omnimouse_model.simulate.truth import Truth, has_truth, open_truth
from omnimouse_model.storage.write import cache_dir
from omnimouse_model.training.config import RunSettings, SessionChoice, Trained
from omnimouse_model.training.distributed import Team, current_team

MICE = {spec.name: spec for spec in (*TRAINING_MICE, *DEMO_FURTHER, *SMOKE_MICE, *STUDY_MICE)}
"""Specs of the simulated mice for training, by name."""
_SPIKING = tuple(name for name in ANIMALS if name != UNSEEN_SPIKES)


def check_mouse(name: str) -> None:
    """Check a session's name, before any mouse is simulated.

    Raises
    ------
    ValueError
        The name is neither an existing path nor a simulated mouse.
    """
    known = (*MICE, *_SPIKING)
    if not Path(name).exists() and name not in known:
        raise ValueError(f"{name!r} is neither a session folder nor one of {', '.join(known)}.")


def sessions_in(place: Path) -> list[Path]:
    """Return the path of a session, or of all sessions of a folder, sorted by name.

    Raises
    ------
    ValueError
        There is no session.
    """
    if is_session(place):
        return [place]
    # Sorted: file systems list folders in any order, and ranks share sessions by index.
    inner = sorted(place.iterdir()) if place.is_dir() else []
    paths = [path for path in inner if is_session(path)]
    if not paths:
        raise ValueError(f"{place} is no session, nor a folder of sessions.")
    return paths


def session_place(
    name: str, mice: Path | None = None, report: Callable[[str], None] = lambda text: None
) -> Path:
    """Return the folder of a session; simulate a mouse that does not exist yet.

    Parameters
    ----------
    name
        Path of a session folder, or name of a simulated mouse.
    mice
        Folder of the simulated mice; by default in the cache directory.
    report
        Called with a message for each simulated mouse.

    Raises
    ------
    ValueError
        The name is neither of them.
    """
    check_mouse(name)
    if Path(name).exists():
        return Path(name)
    report(f"mouse {name} …")
    folder = mice or cache_dir() / "mice"
    if name in _SPIKING:
        return write_animal(name, mice or folder / f"spikes-v{VERSION}")
    return write_session(MICE[name], folder / name)


@lru_cache(maxsize=64)
def shuffled(seed: int, key: str, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch, a permutation of `count` numbers."""
    return np.random.default_rng([seed, key_number(key), epoch]).permutation(count)


def key_number(key: str) -> int:
    """Return a number of a session's key for seeds, equal in every process."""
    # crc32, because Python salts hash() of strings differently in every process.
    return crc32(key.encode())


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSession:
    """A session opened for training, with its train windows.

    Attributes
    ----------
    starts
        Starts of the train windows, seconds on the session clock.
    weight
        Sampling weight.
    truth
        Ground truth of a simulated session, or None.
    held_out
        Starts of windows of the train tier that only validation reads.
    mouse
        Name of the session in the config; empty for one that no config names.
    """

    session: Session
    starts: np.ndarray
    weight: float
    truth: Truth | None
    held_out: np.ndarray = field(default_factory=lambda: np.zeros(0))
    mouse: str = ""

    @property
    def key(self) -> str:
        """Key of the session's parameters in the network: its id."""
        return self.session.id

    def target_rates(self, window: Window, source: str, sees_responses: bool) -> np.ndarray:
        """Return the targets of the predicted rates, float32 (60, P).

        Raises
        ------
        ValueError
            `source` is "truth" and the session has no ground truth.
        """
        if source == "responses":
            return window.responses
        if self.truth is None:
            raise ValueError(f"Session {self.key!r} has no ground truth; use targets: responses.")
        # Row k of the truth belongs to response sample k, so the same sampling rule
        # (previous sample) keeps targets and recorded responses aligned.
        signal = self.session.responses
        rows = previous_index(window.times("responses"), signal.start, signal.rate_hz)
        # Fluctuations can only be inferred from visible responses. Without these, the
        # best possible prediction is the mean given stimulus and behaviour.
        stored = self.truth.full if sees_responses else self.truth.drive
        return (stored.part(rows) / self.session.response_scale).astype(np.float32)


def without_windows(session: Session) -> str:
    """Return why nothing can be trained on a session without a train window."""
    tiers = ", ".join(session.tiers()) or "none"
    return f"Session {session.id!r} has no whole window of tier 'train'; its tiers are {tiers}."


def _chosen(source: TrainingSession, choice: SessionChoice, folder: Path) -> TrainingSession:
    """Return a session with weight, key and ground truth of its choice in a config."""
    session = source.session
    return replace(
        source,
        # The network keeps the parameters of neurons under the id of their session.
        session=replace(session, id=choice.neurons) if choice.neurons else session,
        weight=choice.weight,
        truth=open_truth(folder) if has_truth(folder) else None,
        mouse=choice.mouse,
    )


def training_sessions(
    sessions: Sequence[Session],
    settings: RunSettings,
    open_one: Callable[[Session], TrainingSession],
) -> list[TrainingSession]:
    """Return open sessions with their train windows, and with what a config says of them.

    Parameters
    ----------
    sessions
        Those of this process, as `Training.start` gets them.
    settings
        Record of the run (`training.config.run_record`).
    open_one
        Returns a session with its train windows.
    """
    sources = [open_one(session) for session in sessions]
    choices = list(zip(settings.sessions, settings.places, strict=False))
    if not choices:
        return sources
    own = current_team().share_of(choices)
    return [
        _chosen(source, choice, Path(place))
        for source, (choice, place) in zip(sources, own, strict=True)
    ]


def check_distinct(sessions: Sequence[TrainingSession], team: Team) -> None:
    """Raise `ValueError` if two sessions of the ranks have one id."""
    keys = [key for own in team.gather([s.key for s in sessions]) for key in own]
    if len(set(keys)) < len(keys):
        raise ValueError(
            f"Two sessions have the same id, of {', '.join(sorted(keys))}: each "
            "needs one of its own."
        )


def check_alone(sessions: Sequence[TrainingSession], team: Team, title: str) -> None:
    """Raise `ValueError` if there are several processes, or two sessions have one id."""
    if team.size > 1:
        raise ValueError(f"{title} trains in one process.")
    check_distinct(sessions, team)


def training_session(session: Session) -> TrainingSession:
    """Return a session with its train windows (stride 1, blanks included)."""
    # As in the official training: windows start at every screen sample.
    starts = session.window_starts("train", include_blanks=True, spec=default_spec())
    return TrainingSession(session=session, starts=starts, weight=1.0, truth=None)


# -- split of the train tier into windows for training and for validation -------------
# The official recipe holds out 5 % of the train windows at random. Windows start at every
# screen sample, so neighbouring windows share all samples except one. Here, intervals of
# time are held out instead, and no train window overlaps a held-out window.
SHARE = 0.05
# Official stride of validation windows in fine-tuning, in screen samples: 1 s.
STRIDE = 30
INTERVAL_S = 10.0
"""Length of one held-out interval; shorter in short sessions."""
PARTS = 20
"""Minimum number of intervals of a short session, if windows fit into them."""


def hold_out(session: Session, seed: int) -> TrainingSession:
    """Return a session with train windows and held-out windows, drawn with a seed.

    Raises
    ------
    FinetuneError
        There are no train windows, or too few to hold out some.
    """
    source = training_session(session) if session.tiers().get("train") else None
    if source is None or not len(source.starts):
        raise FinetuneError(
            "no_train",
            f"{without_windows(session)} Name the trials to learn from 'train', or remove "
            "every tier.",
        )
    starts = source.starts
    # Every interval also costs the train windows that overlap its borders, so intervals
    # shorter than a window would cost far more windows than they hold out.
    length = min(INTERVAL_S, covered_s(starts) / PARTS)
    interval = np.floor((starts - starts[0]) / max(length, WINDOW_S)).astype(int)
    numbers = np.random.default_rng(seed).permutation(np.unique(interval))
    held = np.zeros(len(starts), bool)
    for number in numbers:
        if held.sum() >= SHARE * len(starts):
            break
        held |= interval == number
    held_out_starts = spaced(starts[held])
    # Distance of each train window to the nearest held-out window before and after it.
    near = np.searchsorted(held_out_starts, starts)
    distance = np.minimum(
        np.abs(starts - held_out_starts[np.maximum(near - 1, 0)]),
        np.abs(starts - held_out_starts[np.minimum(near, len(held_out_starts) - 1)]),
    )
    # Starts at least one window length apart do not overlap. Starts are float seconds,
    # hence the tolerance.
    train = starts[distance > WINDOW_S - 1e-6]
    if not len(train):
        raise FinetuneError(
            "too_short",
            f"Session {session.id!r} has only {len(starts):,} train windows of "
            f"{WINDOW_S:g} s, too few to hold some out: record longer, or name more "
            "trials 'train'.",
        )
    return replace(source, starts=train, held_out=held_out_starts)


def covered_s(starts: np.ndarray) -> float:
    """Return the seconds that windows with sorted starts cover together.

    Gaps of a recording are in no window and are not counted.
    """
    return float(np.minimum(np.diff(starts), WINDOW_S).sum()) + WINDOW_S


def spaced(starts: np.ndarray) -> np.ndarray:
    """Return those of the sorted starts that are at least the official stride apart."""
    least = STRIDE / GRID_RATE_HZ - 1e-6
    spaced_starts = [starts[0]]
    for start in starts[1:]:
        if start - spaced_starts[-1] >= least:
            spaced_starts.append(start)
    return np.array(spaced_starts)


# -- sessions that cannot be fine-tuned to ---------------------------------------------
def check_unknown(predictor: Predictor, session: Session, train: Trained) -> None:
    """Raise `FinetuneError` if a model knows the session, and not all of it is trained."""
    known, name = predictor.needs.n_neurons.get(session.id), predictor.predictor_id
    if known is not None and known != session.n_neurons:
        raise FinetuneError(
            "neurons",
            f"{name!r} knows session {session.id!r} with {known:,} neurons, this recording "
            f"has {session.n_neurons:,}: is it the same export? Give the other one another "
            "name.",
        )
    if known is not None and train != "all":
        raise FinetuneError(
            "known",
            f"{name!r} knows session {session.id!r} already: use it as it is, or fine-tune "
            'all of it to the session (train="all").',
        )


def check_name(session: Session) -> None:
    """Raise `FinetuneError` if the id of a session cannot be part of a parameter's name."""
    # Parameter names use dots as separators, and torch refuses module names with dots.
    if "." in session.id:
        raise FinetuneError(
            "session_id",
            f"Session {session.id!r} has a dot in its name, which no checkpoint can "
            "hold: rename its folder, or its data_key.",
        )
