"""Neurons of a simulated mouse: anatomy, tuning, shared fluctuations, calcium signals.

A population depends on its seed alone. Four visual areas share one field of view,
imaged in four planes. Each area has its own map of the screen, mirrored at the border
of V1.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from omnimouse_model.simulate.specs import RATE_HZ


# -- random processes: leaky integrators and Ornstein-Uhlenbeck noise -----------------
# Every random number of a session comes from a stream named by (seed, purpose, block). No
# part of a simulation depends on how many random numbers another part uses.
class Purpose(IntEnum):
    """Purpose of a stream of random numbers."""

    # The numbers are part of the seeds: a changed number changes every simulated
    # session, so they are fixed.
    ANATOMY = 1
    TUNING = 2
    COUPLING = 3
    IMAGING = 4
    CALIBRATION = 5
    TEXTURES = 11
    VIDEO = 12
    TIERS = 13
    BEHAVIOR = 14
    DEVICE_NOISE = 15
    LATENTS = 16
    EVENTS = 17


def stream(seed: int, purpose: Purpose, block: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and block of a session or population."""
    sequence = np.random.SeedSequence([seed, int(purpose), block])
    return np.random.Generator(np.random.PCG64(sequence))


def decay(tau_s: float | np.ndarray) -> np.ndarray:
    """Return the factor by which an exponential decays within one sample of 30 Hz."""
    factor = np.exp(-1.0 / (RATE_HZ * np.asarray(tau_s, np.float64)))
    return np.asarray(factor, np.float32)


def integrate(
    inputs: Float[np.ndarray, "time column"],
    keep: Float[np.ndarray, " column"],
    state: Float[np.ndarray, " column"],
) -> Float[np.ndarray, "time column"]:
    """Integrate with a leak per column, from `state`: state = keep * state + input."""
    outputs = np.empty_like(inputs)
    # Written row by row into the output: the loop over time is needed, and this way it
    # allocates nothing.
    for t in range(len(inputs)):
        np.multiply(keep, state, out=outputs[t])
        outputs[t] += inputs[t]
        state = outputs[t]
    return outputs


def wander(
    rng: np.random.Generator, length: int, tau_s: tuple[float, ...]
) -> Float[np.ndarray, "time column"]:
    """Return Ornstein-Uhlenbeck processes of unit variance, one per time scale."""
    keep = decay(np.array(tau_s))
    # A start from the stationary distribution, so that there is no transient.
    state = rng.standard_normal(len(tau_s)).astype(np.float32)
    return integrate(innovations(rng, length, keep), keep, state)


def innovations(
    rng: np.random.Generator, length: int, keep: Float[np.ndarray, " column"]
) -> Float[np.ndarray, "time column"]:
    """Return the inputs for which `integrate` gives a process of unit variance."""
    noise = rng.standard_normal((length, len(keep)), dtype=np.float32)
    # Stationary variance of an AR(1) process: input variance / (1 - keep²).
    noise *= np.sqrt(1 - keep * keep)
    return noise


# -- neurons of a simulated mouse: anatomy, tuning, shared fluctuations, calcium ------
AREAS = ("V1", "LM", "AL", "RL")
FIELD_UM = 960.0
PLANE_DEPTHS_UM = (140.0, 190.0, 240.0, 290.0)

# V1 border in the field, and factors per area: AL and RL prefer faster motion, higher
# areas have larger receptive fields.
_BORDER_UM = 400.0
_AREA_SPEED = np.array([1.0, 1.0, 1.4, 1.4])
_AREA_SIZE = np.array([1.0, 1.15, 1.1, 1.3])
_SPEEDS_HZ = (1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Position of each neuron: index into AREAS, plane, micrometres in the field."""

    area: Int[np.ndarray, " neuron"]
    plane: Int[np.ndarray, " neuron"]
    xyz_um: Float[np.ndarray, "neuron 3"]
    soma_radius_um: Float[np.ndarray, " neuron"]


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """Tuning of each neuron; lengths in screen pixels, angles in radians.

    `direction` is the direction of the wave vector of the receptive field, clockwise
    from right on the screen, since rows count downwards. The preferred motion is the
    opposite one: π − `direction` in the convention of `analysis.direction_tuning`, which counts
    counter-clockwise from right.
    """

    centre_yx: Float[np.ndarray, "neuron 2"]
    wavelength: Float[np.ndarray, " neuron"]
    direction: Float[np.ndarray, " neuron"]
    phase: Float[np.ndarray, " neuron"]
    envelope_sd: Float[np.ndarray, " neuron"]
    speed_hz: Float[np.ndarray, " neuron"]
    direction_index: Float[np.ndarray, " neuron"]
    is_complex: Bool[np.ndarray, " neuron"]
    power: Float[np.ndarray, " neuron"]
    behavior_gain: Float[np.ndarray, "neuron 4"]


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """Effect of shared and private fluctuations on the log rate of each neuron.

    `loadings` (neuron, latent) are weights of shared processes with time scales
    `tau_s`. Each neuron has a private process with its own size and time scale.
    """

    tau_s: tuple[float, ...]
    loadings: Float[np.ndarray, "neuron latent"]
    private_sd: Float[np.ndarray, " neuron"]
    private_tau_s: Float[np.ndarray, " neuron"]


@dataclass(frozen=True, slots=True, eq=False)
class Calcium:
    """Events per second at rest, and the decay of the signal in seconds."""

    event_hz: Float[np.ndarray, " neuron"]
    tau_s: Float[np.ndarray, " neuron"]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """All fixed properties of the neurons of a mouse, in stored order."""

    seed: int
    anatomy: Anatomy
    tuning: Tuning
    coupling: Coupling
    calcium: Calcium

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return len(self.anatomy.area)


def draw_population(seed: int, n_neurons: int) -> Population:
    """Draw the population of a mouse."""
    anatomy = _draw_anatomy(stream(seed, Purpose.ANATOMY), n_neurons)
    tuning_rng = stream(seed, Purpose.TUNING)
    tuning = _draw_tuning(tuning_rng, anatomy)
    calcium = Calcium(
        # The event rate sets the single-trial ceiling: with fewer events shot noise
        # dominates the signal.
        event_hz=1.0 * np.exp(0.5 * tuning_rng.standard_normal(n_neurons)),
        tau_s=tuning_rng.uniform(0.15, 0.3, n_neurons),
    )
    coupling = _draw_coupling(stream(seed, Purpose.COUPLING), anatomy)
    return Population(seed, anatomy, tuning, coupling, calcium)


def area_at(x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
    """Return the index into AREAS: V1 is medial (large x), then RL, AL, LM by y."""
    border = _BORDER_UM + 60.0 * np.sin(np.pi * y_um / FIELD_UM)
    lateral = np.where(y_um < 300.0, 3, np.where(y_um < 580.0, 2, 1))
    return np.where(x_um > border, 0, lateral)


_LARGEST_GAP_UM = 19.0
"""Distance of the centres of two largest somata that touch: 8.5 + 8.5 + 2 µm."""

_FULL_AFTER = 100
"""Neurons of a plane without a free place after which the plane counts as full."""


def _draw_anatomy(rng: np.random.Generator, n_neurons: int) -> Anatomy:
    radius = np.clip(rng.normal(6.5, 0.7, n_neurons), 5.0, 8.5)
    plane = rng.permutation(np.arange(n_neurons) % len(PLANE_DEPTHS_UM))
    x, y = np.empty(n_neurons), np.empty(n_neurons)
    # Somata of each square of each plane; one that overlaps is in a square around.
    squares: dict[tuple[int, int, int], list[tuple[float, float, float]]] = {}
    n_failed = [0] * len(PLANE_DEPTHS_UM)
    for neuron in range(n_neurons):
        # Rejection of overlapping somata in a plane. After 200 attempts an overlap is
        # accepted, and at once in a plane in which many neurons found no place: it is full.
        number, gap = int(plane[neuron]), float(radius[neuron]) + 2.0
        for _ in range(200 if n_failed[number] < _FULL_AFTER else 1):
            place = rng.uniform(24.0, FIELD_UM - 24.0, 2)
            right, down = place.tolist()
            row, column = int(down // _LARGEST_GAP_UM), int(right // _LARGEST_GAP_UM)
            if not any(
                (other[0] - right) ** 2 + (other[1] - down) ** 2 < (other[2] + gap) ** 2
                for near_row in (row, row - 1, row + 1)
                for near_column in (column, column - 1, column + 1)
                for other in squares.get((number, near_row, near_column), ())
            ):
                break
        else:
            n_failed[number] += 1
        x[neuron], y[neuron] = place
        squares.setdefault((number, row, column), []).append((right, down, gap - 2.0))
    depth = np.array(PLANE_DEPTHS_UM)[plane] + rng.uniform(-8.0, 8.0, n_neurons)
    xyz = np.stack([x, y, depth], axis=1).astype(np.float32)
    return Anatomy(area_at(x, y), plane, xyz, radius.astype(np.float32))


def retinotopy(anatomy: Anatomy) -> Float[np.ndarray, "neuron 2"]:
    """Return the centre (row, column) on the screen, without scatter.

    Columns increase with distance from the border of V1 on both sides. Rows run along
    the field in V1 and once through each lateral area.
    """
    x, y = anatomy.xyz_um[:, 0].astype(float), anatomy.xyz_um[:, 1].astype(float)
    medial = (x - _BORDER_UM) / (FIELD_UM - _BORDER_UM)
    lateral = (_BORDER_UM + 30.0 - x) / (_BORDER_UM + 30.0)
    across = np.clip(np.where(anatomy.area == 0, medial, lateral), 0, 1)
    first = np.array([0.0, 580.0, 300.0, 0.0])[anatomy.area]
    last = np.array([FIELD_UM, FIELD_UM, 580.0, 300.0])[anatomy.area]
    along = np.clip((y - first) / (last - first), 0, 1)
    # Maps of adjacent areas are mirror images, so they join at their shared border.
    along = np.where(np.isin(anatomy.area, (1, 3)), 1 - along, along)
    # Centres stay 6 to 8 pixels from the edge of the 36 x 64 screen.
    return np.stack([6.0 + 24.0 * along, 8.0 + 48.0 * across], axis=1)


def _draw_tuning(rng: np.random.Generator, anatomy: Anatomy) -> Tuning:
    n = len(anatomy.area)
    # Long wavelengths and mild powers were chosen in a study of the demo model: with
    # sharper tuning a neuron meets its preferred stimulus too seldom for a model to
    # learn from minutes of data.
    wavelength = np.exp(rng.uniform(np.log(12.0), np.log(26.0), n))
    speed = np.array(_SPEEDS_HZ)[rng.choice(3, n, p=(0.35, 0.4, 0.25))]
    envelope = wavelength * rng.uniform(0.35, 0.5, n) * _AREA_SIZE[anatomy.area]
    # Gaze acts directly on the rate too. From the shift of the image alone, gaze could
    # be decoded only with a model of the video.
    gain = rng.standard_normal((n, 4)) * (0.25, 0.18, 0.16, 0.16)
    return Tuning(
        centre_yx=retinotopy(anatomy) + rng.normal(0.0, 2.0, (n, 2)),
        wavelength=wavelength,
        direction=rng.uniform(0, 2 * np.pi, n),
        phase=rng.uniform(0, 2 * np.pi, n),
        envelope_sd=envelope,
        speed_hz=speed * _AREA_SPEED[anatomy.area],
        direction_index=rng.beta(2.0, 1.5, n),
        is_complex=rng.random(n) < 0.65,
        power=rng.uniform(1.0, 1.4, n),
        behavior_gain=1.3 * (gain + np.array([0.22, 0.08, 0.0, 0.0])),
    )


# Time scales in seconds of the shared processes, one latent each. They cover the range
# from single events to slow changes of state.
_GLOBAL_TAU_S = (0.6, 4.0)
_AREA_TAU_S = (0.4, 0.7, 1.2, 2.5)
_LOCAL_TAU_S = (0.12, 0.25, 0.5, 1.0, 2.0, 5.0)
_ASSEMBLY_TAU_S = (0.2, 0.5, 1.0, 2.0, 6.0, 15.0)


def _draw_coupling(rng: np.random.Generator, anatomy: Anatomy) -> Coupling:
    """Draw shared fluctuations: global, per area, local, and scattered assemblies."""
    n = len(anatomy.area)
    everywhere = 0.75 + 0.45 * rng.standard_normal((n, len(_GLOBAL_TAU_S)))
    in_area = anatomy.area[:, None] == np.arange(len(AREAS))
    of_area = in_area * (0.5 + 0.4 * rng.standard_normal((n, len(AREAS))))
    members = rng.random((n, len(_ASSEMBLY_TAU_S))) < 0.25
    strength = np.abs(rng.standard_normal(members.shape)) * 0.8
    sign = np.where(rng.random(members.shape) < 0.8, 1.0, -1.0)
    parts = (everywhere, of_area, _local(rng, anatomy), members * strength * sign)
    shared = np.concatenate(parts, axis=1)
    # Unit length first, so that `total` alone sets the size of the fluctuations of a
    # neuron and `private_share` their division.
    shared /= np.sqrt((shared**2).sum(axis=1, keepdims=True))
    total = rng.uniform(0.4, 0.6, n)
    private_share = rng.uniform(0.1, 0.3, n)
    loadings = shared * (total * np.sqrt(1 - private_share))[:, None]
    return Coupling(
        tau_s=(*_GLOBAL_TAU_S, *_AREA_TAU_S, *_LOCAL_TAU_S, *_ASSEMBLY_TAU_S),
        loadings=loadings.astype(np.float32),
        private_sd=(total * np.sqrt(private_share)).astype(np.float32),
        private_tau_s=np.exp(rng.uniform(np.log(0.5), np.log(15.0), n)),
    )


def _local(rng: np.random.Generator, anatomy: Anatomy) -> Float[np.ndarray, "neuron k"]:
    """Draw loadings of latents that act around three positions of the tissue each."""
    bumps = 3 * len(_LOCAL_TAU_S)
    places = rng.uniform(0, FIELD_UM, (bumps, 2))
    heights = rng.choice([-1.0, 1.0], bumps, p=(0.3, 0.7)) * rng.uniform(0.6, 1.4, bumps)
    apart = anatomy.xyz_um[:, None, :2] - places
    # Bumps of 170 µm standard deviation: nearby neurons share fluctuations.
    weight = heights * np.exp(-0.5 * (apart**2).sum(-1) / 170.0**2)
    by_latent = weight.reshape(len(anatomy.area), len(_LOCAL_TAU_S), 3)
    return 0.9 * by_latent.sum(axis=2)


# -- events and their calcium-like signal, with exact conditional means ---------------
# The signal is linear in the events, and the events are Poisson given the rate. The
# expectation of the signal is therefore the same filter applied to the rate, without
# sampling or approximation.
# Responses are divided by their standard deviation, but by at least 1. The scale lifts
# the standard deviations of all neurons well above 1.
SCALE = 20.0
# Mean of the exponential measurement noise, which keeps responses positive.
FLOOR = 0.05
# Event sizes are gamma of shape 2 and mean 1: variance 0.5, second moment 1.5.
_SIZE_SECOND_MOMENT = 1.5
# Ends the inversion of `_sizes` where rounding keeps the cumulative probability below
# the drawn number.
_MAX_EVENTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class CalciumBlock:
    """Responses of a block, and their means given the drive, and given all latents."""

    responses: Float[np.ndarray, "time neuron"]
    drive: Float[np.ndarray, "time neuron"]
    full: Float[np.ndarray, "time neuron"]


class CalciumImaging:
    """Convert rates to signals; the state of the signal is kept between blocks."""

    def __init__(self, calcium: Calcium) -> None:
        self._event_rate = (calcium.event_hz / RATE_HZ).astype(np.float32)
        self._keep = np.tile(decay(calcium.tau_s), 3)
        self._state = np.zeros(3 * len(self._event_rate), np.float32)

    def record(
        self,
        drive: Float[np.ndarray, "time neuron"],
        full: Float[np.ndarray, "time neuron"],
        rng: np.random.Generator,
    ) -> CalciumBlock:
        """Draw the events of a block and filter them; inputs are relative rates."""
        expected = drive * self._event_rate
        actual = full * self._event_rate
        events = _events(actual, rng)
        # Signal and both conditional means pass the same integrator side by side, so
        # that they cannot differ in their filter or their state.
        inputs = np.concatenate([events, expected, actual], axis=1)
        signals = integrate(inputs, self._keep, self._state)
        # A view would keep the signals of the whole block in memory.
        self._state = signals[-1].copy()
        clean, mean_drive, mean_full = np.split(signals, 3, axis=1)
        floor = FLOOR * rng.standard_exponential(actual.shape, dtype=np.float32)
        return CalciumBlock(
            SCALE * (clean + floor), SCALE * (mean_drive + FLOOR), SCALE * (mean_full + FLOOR)
        )


def noise_variance(
    mean_full: Float[np.ndarray, " neuron"], calcium: Calcium
) -> Float[np.ndarray, " neuron"]:
    """Return the variance of the responses around `full`, averaged over time."""
    keep = decay(calcium.tau_s).astype(np.float64)
    # Campbell's theorem for a leaky integrator: mean rate / (1 - keep), variance rate
    # E[size²] / (1 - keep²). It is linear in the rate, so its average over time needs
    # the mean of `full` alone.
    rate = (mean_full / SCALE - FLOOR) * (1 - keep)
    shot = _SIZE_SECOND_MOMENT * rate / (1 - keep**2)
    return SCALE**2 * (shot + FLOOR**2)


def _events(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return summed event sizes: Poisson counts, each event of gamma size, mean one."""
    # One uniform number per cell decides the count (inversion). Most cells have no
    # event at 30 Hz, so sizes are drawn only for the few others.
    chance = rng.random(rate.shape, dtype=np.float32)
    events = np.flatnonzero(chance > np.exp(-rate))
    sizes = np.zeros(rate.size, np.float32)
    sizes[events] = _sizes(chance.reshape(-1)[events], rate.reshape(-1)[events], rng)
    return sizes.reshape(rate.shape)


def _sizes(chance: np.ndarray, rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the summed event size of each sample; `chance` decides the count."""
    mean = rate.astype(np.float64)
    total = np.zeros(len(mean))
    mass = np.exp(-mean)
    reached, count = mass.copy(), 0
    more = np.flatnonzero(chance > reached)
    while len(more) and count < _MAX_EVENTS:
        count += 1
        # In (0, 1], so that the logarithm is finite. A gamma of shape 2 is the sum of
        # two exponentials.
        pair = 1.0 - rng.random((2, len(more)))
        total[more] -= 0.5 * np.log(pair[0] * pair[1])
        mass *= mean / count
        reached += mass
        more = more[chance[more] > reached[more]]
    return total
