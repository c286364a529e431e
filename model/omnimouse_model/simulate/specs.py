"""Specifications of the simulated mice: seeds, sizes and tiers.

A mouse is a population (its seed fixes the neurons) and a recording (its own seed fixes
stimulus, behaviour and noise). Two specs with the same population seed are two sessions
of the same neurons, in the same stored order.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b

# Rate of responses and video, rate of the devices, and frame size (rows, columns), as
# in the official recordings. A block is half a second of gray and a 10-s video.
RATE_HZ = 30
DEVICE_RATE_HZ = 20
FRAME_SHAPE = (36, 64)
VIDEO_FRAMES = 300
BLANK_SAMPLES = 15
BLOCK_SAMPLES = BLANK_SAMPLES + VIDEO_FRAMES

VERSION = 1
"""Version of the simulator; any change of the simulated numbers needs a new one."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Number of held-out 10-s trials of each tier."""

    validation: int
    final_test_1: int
    oracle_clips: int
    oracle_repeats: int

    @property
    def oracle(self) -> int:
        """Trials of the oracle tier."""
        return self.oracle_clips * self.oracle_repeats

    @property
    def total(self) -> int:
        """Trials of all held-out tiers."""
        return self.validation + self.final_test_1 + self.oracle


@dataclass(frozen=True, slots=True)
class MouseSpec:
    """One simulated session.

    Attributes
    ----------
    name
        Name of the folder and of the mouse in commands.
    data_key
        Session id; the part before the first "-" is the animal.
    population_seed, session_seed
        Seed of the neurons, and seed of their recording.
    n_neurons
        Size of the population.
    minutes
        Requested length; rounded to a whole number of trials (10.5 s).
    held_out
        Trials that are not in the train tier.
    """

    name: str
    data_key: str
    population_seed: int
    session_seed: int
    n_neurons: int
    minutes: float
    held_out: HeldOut

    def __post_init__(self) -> None:
        if self.n_neurons < 1:
            raise ValueError(f"A mouse needs at least one neuron, found {self.n_neurons}.")
        if self.n_trials <= self.held_out.total:
            raise ValueError(
                f"{self.name!r}: {self.minutes} minutes are {self.n_trials} trials, "
                f"but {self.held_out.total} are held out; use more minutes."
            )

    @property
    def n_trials(self) -> int:
        """Number of 10-s videos."""
        return max(1, round(self.minutes * 60 * RATE_HZ / BLOCK_SAMPLES))

    @property
    def n_samples(self) -> int:
        """Number of response samples at 30 Hz."""
        return self.n_trials * BLOCK_SAMPLES

    @property
    def fingerprint(self) -> str:
        """Hash of the simulator version and of all fields of the spec."""
        # The version is hashed too, so that a folder of an older simulator is not
        # mistaken for this session.
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        return blake2b(text.encode(), digest_size=12).hexdigest()


_LONG = HeldOut(validation=15, final_test_1=18, oracle_clips=1, oracle_repeats=10)
_SHORT = HeldOut(validation=5, final_test_1=19, oracle_clips=1, oracle_repeats=8)

DEMO_TRAINING = MouseSpec("demo", "90000-1-1", 90000, 910001, 1000, 45.0, _LONG)
"""The demo mouse in the recording on which the demo model is trained."""

DEMO_FURTHER = tuple(
    MouseSpec(f"demo-{k}", f"90000-{k}-1", 90000, 910000 + k, 1000, 45.0, _LONG)
    for k in range(3, 8)
)
"""Five further recordings of the same neurons, with other videos, for training."""

DEMO_SHOWN = MouseSpec("demo-shown", "90000-2-1", 90000, 910002, 1000, 12.0, _SHORT)
"""The same neurons in a recording that is not used for training."""

COMPANIONS = tuple(
    MouseSpec(f"mouse-{k}", f"9000{k}-1-1", 90000 + k, 920000 + k, 256, 40.0, _LONG)
    for k in range(1, 8)
)
"""Seven further mice of the training set."""

UNSEEN = MouseSpec("unseen", "90009-1-1", 90009, 930001, 400, 12.0, _SHORT)
"""A mouse that is not used for training."""

_TINY = HeldOut(validation=1, final_test_1=1, oracle_clips=1, oracle_repeats=1)
SMOKE_MICE = tuple(
    MouseSpec(f"smoke-{k}", f"9010{k}-1-1", 90100 + k, 940000 + k, 40, 1.5, _TINY) for k in (1, 2)
)
"""Two small mice, simulated in seconds, to test that training works."""

_BRIEF = HeldOut(validation=1, final_test_1=6, oracle_clips=1, oracle_repeats=1)
STUDY_MICE = tuple(
    MouseSpec(f"study-{k}", f"90{200 + k}-1-1", 90200 + k, 950000 + k, 48, 4.0, _BRIEF)
    for k in range(1, 17)
)
"""Sixteen small mice for a scaling study with nested collections."""

TRAINING_MICE = (DEMO_TRAINING, *COMPANIONS)
DEMO_MICE = (*TRAINING_MICE, DEMO_SHOWN, UNSEEN)
