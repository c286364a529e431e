"""Experiments on a model: a stimulus, the responses to it, their analysis and its errors.

The file is long because the experiments by name stand beside what runs them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from omnimouse_model.data.session import Session
from omnimouse_model.data.window_spec import WindowSpec
from omnimouse_model.display import data_frame
from omnimouse_model.inference.dask_map import TaskPredictor
from omnimouse_model.inference.registry import Source, resolve_predictor
from omnimouse_model.lab.responses import (
    Piece,
    ResponseStore,
    VideoTask,
    cached_store,
    collected_responses,
    count_windows,
    existing_store,
    require_video,
    video_pieces,
)
from omnimouse_model.lab.stimuli.gratings_and_dots import (
    Level,
    drifting_gratings,
    gaussian_dots,
    grating_levels,
    pink_noise,
    sparse_noise,
)
from omnimouse_model.lab.stimuli.stimulus import Stimulus
from omnimouse_model.lab.tuning import (
    ReceptiveFields,
    axes_of,
    directions_of,
    levels_of,
    on_off_fields,
    receptive_fields,
)
from omnimouse_model.masks.neuron_table import TUNED as IS_TUNED
from omnimouse_model.masks.neuron_table import tuned_column
from omnimouse_model.metrics.tuning import SIGNIFICANCE_LEVEL, orientation_distance
from omnimouse_model.predict.predictor import Predictor, fits_of
from omnimouse_model.progress import QUIET, Job, shows_progress
from omnimouse_model.simulate.demo import opened
from omnimouse_model.simulate.truth import has_truth, open_truth

# -- results of an experiment per neuron, and their arrays in a results store ---------
ANALYSIS_VERSION: Final = 4
"""Raised when an analysis changes: findings of another version are computed again."""
_ROUNDING: Final = 1e-5
"""Range of responses, relative to the largest, that rounding alone explains.

Networks compute in single precision, with a relative error of 1e-7 in each step.
"""
_ROUNDING_AT_0: Final = 1e-7
"""The same for responses around 0: normalised ones, whose terms are of the order of 1."""
_COLUMN: Final = "column_"
"""Beginning of the name of an array that is a column."""
_OTHERS: Final = ("levels", "curves", "average")


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Findings of an experiment for each neuron.

    Attributes
    ----------
    columns
        Numbers of each neuron, by name.
    levels, curves
        What was shown, and the mean response of each neuron to it; None for fields.
    average
        Average of the stimulus, weighted by the responses, on a grid that covers the
        frame; None for tuning.
    """

    columns: Mapping[str, Float[np.ndarray, " neuron"]]
    levels: Float[np.ndarray, " level"] | None = None
    curves: Float[np.ndarray, "neuron level"] | None = None
    average: Float32[np.ndarray, "neuron row column"] | None = None


def varies(responses: Float[np.ndarray, "event neuron"]) -> Bool[np.ndarray, " neuron"]:
    """Return whether the responses of each neuron differ by more than rounding.

    A neuron whose responses are all equal has no preferred stimulus: what an analysis
    returns for it is an angle or a place of rounding errors.
    """
    low = np.fmin.reduce(responses, axis=0, initial=np.inf)
    high = np.fmax.reduce(responses, axis=0, initial=-np.inf)
    scale = np.maximum(np.abs(low), np.abs(high))
    return np.asarray((high > low) & (high - low > np.maximum(_ROUNDING * scale, _ROUNDING_AT_0)))


def only_varying(findings: Findings, responses: Float[np.ndarray, "event neuron"]) -> Findings:
    """Return findings without the numbers of neurons whose responses do not vary."""
    is_known = varies(responses)
    columns = {
        name: np.where(is_known, values, np.nan) for name, values in findings.columns.items()
    }
    average = findings.average
    if average is not None:
        average = np.where(is_known[:, None, None], average, np.float32(np.nan))
    return replace(findings, columns=columns, average=average)


def findings_arrays(findings: Findings) -> dict[str, np.ndarray]:
    """Return all arrays of findings by name."""
    arrays = {f"{_COLUMN}{name}": one for name, one in findings.columns.items()}
    others = {name: getattr(findings, name) for name in _OTHERS}
    return arrays | {name: one for name, one in others.items() if one is not None}


def findings_of(arrays: Mapping[str, np.ndarray], value: str, n_neurons: int) -> Findings | None:
    """Return findings from their arrays, the inverse of `findings_arrays`.

    None if they are no findings of so many neurons with the column `value`.
    """
    columns = {
        name.removeprefix(_COLUMN): one for name, one in arrays.items() if name.startswith(_COLUMN)
    }
    levels, curves, average = (arrays.get(name) for name in _OTHERS)
    n_levels = () if levels is None else levels.shape
    shapes = [(one, (n_neurons,)) for one in columns.values()]
    shapes += [] if curves is None else [(curves, (n_neurons, *n_levels))]
    shapes += [] if average is None else [(average, (n_neurons, *average.shape[-2:]))]
    is_right = all(one.shape == shape and one.dtype.kind == "f" for one, shape in shapes)
    is_known = value in columns and len(n_levels) == (curves is not None)
    return Findings(columns, levels, curves, average) if is_right and is_known else None


# -- experiments by name: what each shows, and how the responses are analysed ---------
Size = tuple[int, int]
"""Height and width of the frames in pixels."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: what it shows, and how the responses are analysed.

    Attributes
    ----------
    name, label, explanation
        Name for programs; label and sentence for people.
    value, value_label, unit
        Column that colours the neurons, its label and its unit.
    period
        Value at which `value` begins again, None for a quantity that is no angle.
    repeats
        Default number of repeats.
    lag_s
        Delay of the responses to the events.
    show
        `show(size, repeats=…, seed=…, **settings)` makes the stimulus.
    analyse
        `analyse(responses, stimulus, size, job)` returns the findings.
    """

    name: str
    label: str
    explanation: str
    value: str
    value_label: str
    unit: str
    period: float | None
    repeats: int
    lag_s: float
    show: Callable[..., Stimulus] = field(repr=False)
    analyse: Callable[..., Findings] = field(repr=False)


def _directions(responses: np.ndarray, shown: Stimulus, *_: object) -> Findings:
    found = directions_of(responses, shown.values)
    return Findings(
        {
            "osi": found.osi,
            "p_orientation": found.p_orientation,
            "dsi": found.dsi,
            "p_direction": found.p_direction,
            "orientation_deg": found.orientation_deg,
            "preferred_deg": found.preferred_deg,
        },
        found.directions_deg,
        found.response,
    )


def _levels(quantity: str, responses: np.ndarray, shown: Stimulus, *_: object) -> Findings:
    found = levels_of(responses, shown)
    columns = {
        f"preferred_{quantity}": found.preferred,
        "direction_deg": found.direction_deg,
    }
    return Findings(columns, found.levels, found.response)


def _fields(responses: np.ndarray, shown: Stimulus, size: Size, job: Job) -> Findings:
    found = receptive_fields(responses, shown, size, job=job)
    return Findings(_field_columns(found), average=found.average)


def _on_off_fields(responses: np.ndarray, shown: Stimulus, size: Size, job: Job) -> Findings:
    found = on_off_fields(responses, shown, size, job)
    columns = _field_columns(found.field) | {
        f"{name}_{which}": peak
        for which, one in (("on", found.on), ("off", found.off))
        for name, peak in (
            ("largest", np.nanmax(one, axis=(1, 2))),
            ("smallest", np.nanmin(one, axis=(1, 2))),
        )
    }
    return Findings(columns, average=found.field.average)


def _field_columns(found: ReceptiveFields) -> dict[str, np.ndarray]:
    longer, shorter, angle = axes_of(found.covariance_px)
    return {
        "row_px": found.center_px[:, 0],
        "column_px": found.center_px[:, 1],
        "ssi": found.selectivity,
        "sd_longer_px": longer,
        "sd_shorter_px": shorter,
        "axis_deg": angle,
    }


def _noise(size: Size, *, repeats: int, seed: int, **settings: Any) -> Stimulus:
    return pink_noise(size, repeats, seed=seed, **settings)


def _squares(size: Size, *, repeats: int, seed: int, **settings: Any) -> Stimulus:
    return sparse_noise(size, n_videos=6 * repeats, seed=seed, **settings)


def _level_experiment(
    name: str, label: str, quantity: Level, unit: str, levels: tuple[float, ...]
) -> Experiment:
    return Experiment(
        name,
        label,
        f"Gratings of {len(levels)} levels in eight directions; the curve is that of "
        "each neuron's best direction.",
        f"preferred_{quantity}",
        f"Preferred {label.lower()}",
        unit,
        None,
        2,
        0.0,
        partial(grating_levels, quantity=quantity, levels=levels),
        partial(_levels, quantity),
    )


_ALL: Final = (
    Experiment(
        "directions",
        "Direction: gratings",
        "Gratings that move in 16 directions; periods and speeds take turns.",
        "preferred_deg",
        "Preferred direction",
        "°",
        360.0,
        9,
        0.0,
        drifting_gratings,
        _directions,
    ),
    # Epochs of the noise last less than half a second; calcium responses follow later.
    Experiment(
        "noise",
        "Direction: pink noise",
        "Noise that moves in one of 16 directions for half a second at a time.",
        "preferred_deg",
        "Preferred direction",
        "°",
        360.0,
        9,
        0.3,
        _noise,
        _directions,
    ),
    Experiment(
        "fields",
        "Receptive field: white dots",
        "A white dot that flashes at 135 places.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.1,
        partial(gaussian_dots, is_on=True),
        _fields,
    ),
    Experiment(
        "black_fields",
        "Receptive field: black dots",
        "A black dot that flashes at 135 places.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.1,
        partial(gaussian_dots, is_on=False),
        _fields,
    ),
    Experiment(
        "sparse_fields",
        "Receptive field: sparse noise",
        "White and black squares that flash at 135 places, ten at a time.",
        "column_px",
        "Receptive field: column",
        "px",
        None,
        2,
        0.15,
        _squares,
        _on_off_fields,
    ),
    _level_experiment(
        *("period", "Spatial period", "period_deg", "°"),
        levels=(10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0),
    ),
    _level_experiment(
        *("frequency", "Temporal frequency", "temporal_hz", "Hz"), levels=(0.5, 1.0, 2.0, 4.0, 8.0)
    ),
    _level_experiment(
        *("contrast", "Contrast", "contrast", ""), levels=(0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
    ),
    _level_experiment(
        *("size", "Size", "diameter_deg", "°"), levels=(10.0, 20.0, 30.0, 45.0, 60.0, 90.0)
    ),
)
EXPERIMENTS: Final = {experiment.name: experiment for experiment in _ALL}
"""Experiments by name."""


if TYPE_CHECKING:
    from pandas import DataFrame


DEFAULT_SIZE: Final = (36, 64)
TUNED: Final = 0.3
"""OSI above which a neuron counts as tuned."""


CONSTANT = "its predicted responses do not depend on the stimulus"
SILENT = "it is predicted to respond to nothing that was shown"
BEYOND = "its place would be beyond the frame, where nothing was shown"
UNSELECTIVE = f"it is not selective for direction (p ≥ {SIGNIFICANCE_LEVEL:g})"
"""Why a neuron has no value; also of all neurons."""
_TESTED_BY: Final = {"preferred_deg": "p_direction", "orientation_deg": "p_orientation"}
"""Angles, and the columns of the tests without which they are angles of noise."""


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentResult:
    """Responses of a model in an experiment, and what was found of each neuron.

    It describes the model, not the animal.

    Attributes
    ----------
    experiment, stimulus, size
        What was done and shown, and the height and width of the frames.
    responses
        Mean response to each event, in normalised units.
    neurons
        Indices of the neurons in the session.
    findings
        Tuning or receptive fields.
    predictor_id, session_id, repeats, seed
        What was measured, and how often.
    unit_ids
        Ids of the neurons in the recording.
    """

    experiment: Experiment
    stimulus: Stimulus
    size: Size
    responses: Float[np.ndarray, "event neuron"]
    neurons: Int64[np.ndarray, " neuron"]
    findings: Findings
    predictor_id: str
    session_id: str
    repeats: int
    seed: int
    unit_ids: np.ndarray

    def __repr__(self) -> str:
        """Return what was asked of which model, and what was found."""
        return (
            f"{self.experiment.label}; {self.predictor_id} on {self.session_id}: {self.summary}\n"
            "A row per neuron: .to_dataframe(); tuning curves and averages: .findings"
        )

    @property
    def values(self) -> Float[np.ndarray, " neuron"]:
        """Value of each neuron that colours the field: `experiment.value`."""
        return self.columns[self.experiment.value]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Columns of the findings, with the angles of selective neurons alone.

        That of a neuron that does not pass the test of its selectivity is one of noise.
        """
        columns = dict(self.findings.columns)
        for angle, test in _TESTED_BY.items():
            if angle in columns and test in columns:
                is_passed = columns[test] < SIGNIFICANCE_LEVEL
                columns[angle] = np.where(is_passed, columns[angle], np.nan)
        return columns

    @property
    def varies(self) -> Bool[np.ndarray, " neuron"]:
        """Whether the responses of each neuron depend on the stimulus at all.

        Columns of the others are NaN.
        """
        return varies(self.responses)

    @property
    def is_unselective(self) -> Bool[np.ndarray, " neuron"]:
        """Whether each neuron has no value as it does not pass the test of its selectivity."""
        test = self.findings.columns.get(_TESTED_BY.get(self.experiment.value, ""))
        nobody = np.zeros(len(self.neurons), bool)
        return nobody if test is None else np.asarray(test >= SIGNIFICANCE_LEVEL)

    @property
    def missing(self) -> str:
        """Why no neuron has a value; "" if one has."""
        if np.isfinite(self.values).any():
            return ""
        # That of a neuron that varies, if one does.
        return self.why_unknown(int(np.argmax(self.varies)))

    def why_unknown(self, at: int) -> str:
        """Return why a neuron, by its place in `neurons`, has no value."""
        if not self.varies[at]:
            return CONSTANT
        if self.is_unselective[at]:
            return UNSELECTIVE
        return BEYOND if "ssi" in self.findings.columns else SILENT

    @property
    def summary(self) -> str:
        """What was found of the population: "40 neurons, 32 videos; OSI above 0.3: 45 %"."""
        columns = self.findings.columns
        # Without a preferred direction, a neuron has selectivities.
        is_known = np.isfinite(columns.get("osi", self.values))
        parts = [f"{len(self.neurons):,} neurons, {self.stimulus.n_videos} videos"]
        if not is_known.any():
            return f"{parts[0]}; no result for any neuron: {self.missing}"
        if not is_known.all():
            parts.append(f"a result for {is_known.sum():,} of them")
        if "osi" in columns:
            share = (columns["osi"] > TUNED)[is_known].mean()
            parts.append(f"OSI above {TUNED}: {100 * share:z.0f} %")
            if "p_orientation" in columns:
                tuned = (columns["p_orientation"] < 0.01)[is_known].mean()
                parts.append(f"p of the OSI below 0.01: {100 * tuned:z.0f} %")
        elif "ssi" in columns:
            parts.append(f"median SSI {np.nanmedian(columns['ssi'][is_known]):z.2f}")
        else:
            label, median = self.experiment.value_label.lower(), np.nanmedian(self.values)
            parts.append(f"median {label} {median:g} {self.experiment.unit}".strip())
        return "; ".join(parts)

    def to_dataframe(self) -> "DataFrame":
        """Return a table with a row per neuron, its provenance in `attrs`.

        Of directions, an angle is NaN where the neuron does not pass the test of this
        selectivity (p < .05), and `tuned` is whether it passes one of the two tests at half
        of this level (p < .025), as in `om.recorded_tuning`.
        """
        columns = self.columns
        table = data_frame({"neuron": self.neurons, "unit_id": self.unit_ids, **columns})
        if tests := [columns[name] for name in _TESTED_BY.values() if name in columns]:
            table[IS_TUNED] = tuned_column(tests)
        table.attrs |= {
            "experiment": self.experiment.name,
            "stimulus": self.stimulus.name,
            "predictor": self.predictor_id,
            "session": self.session_id,
            "repeats": self.repeats,
            "seed": self.seed,
        }
        return table


@shows_progress
def run_experiment(
    experiment: str | Experiment,
    predictor: Predictor | Source | Path,
    session: Session | str | Path,
    neurons: Int64[np.ndarray, " neuron"] | None = None,
    *,
    repeats: int | None = None,
    seed: int = 0,
    results: str | Path | None = None,
    cache: Path | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    connect: Collection[str] = (),
    kept_only: bool = False,
    job: Job = QUIET,
    **settings: Any,
) -> ExperimentResult:
    """Run an experiment on a model that sees video.

    Parameters
    ----------
    experiment
        One of `EXPERIMENTS`, or its name.
    predictor
        A predictor, or its name, path or factory. A scheduler needs one of the latter,
        because its workers load the predictor.
    session
        An open session, or its name or path.
    neurons
        All by default.
    repeats
        Repeats of each stimulus; the experiment's own number by default.
    results
        Folder `x.zarr` that keeps the responses, so that a stopped experiment goes on
        there, and what was found.
    cache
        Folder in which each experiment has such a folder of its own.
    scheduler
        Distribute the videos over the workers of a Dask scheduler: "local", "local:4"
        or an address, see `dask_map.map_pieces`.
    device
        Device of a predictor that is loaded by name.
    kept_only
        Read kept responses only: predict and write nothing.
    connect
        Hosts from which members of an ensemble may be downloaded; see `load_predictor`.
    job
        Progress and stop request; see `progress.Job`.
    settings
        Further settings of the stimulus.

    Raises
    ------
    UnsupportedRequestError
        The model sees no video, or the recording has none.
    ResultsFileError
        `results` holds another experiment.
    StoppedError
        `job.cancelled()` returned True, or `kept_only` and some responses are missing.
    ValueError
        There is no such experiment, no repeat or no neuron, or a scheduler gets a
        predictor object.
    WorkerError
        The scheduler or its workers failed; finished videos are in `results`.

    Examples
    --------
    >>> ridge = om.load_predictor("video-ridge", [session])
    >>> found = om.lab.run_experiment("directions", ridge, session, repeats=1)
    >>> found.findings.curves.shape
    (40, 16)
    """
    chosen = experiment_named(experiment) if isinstance(experiment, str) else experiment
    # The source is kept, because workers load the predictor from it.
    source = predictor
    session, predictor = opened(session), resolve_predictor(source, device, connect)
    require_video(predictor, session)
    spec = predictor.needs.spec
    size = frame_size(spec)
    repeats = chosen.repeats if repeats is None else repeats
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; 1 or more expected.")
    if neurons is not None and not len(neurons):
        raise ValueError("neurons is empty: name at least one.")
    show = partial(chosen.show, size, repeats=repeats, seed=seed, **settings)
    stimulus = show()
    if neurons is None:
        neurons = np.arange(session.n_neurons)
    asked = VideoTask(
        TaskPredictor.of(source, device, predictor, scheduler, connect),
        session,
        # Workers make it again: its frames are not sent.
        show if scheduler else lambda: stimulus,
        neurons,
        chosen.lag_s,
    )
    each = count_windows(stimulus, spec) // stimulus.n_videos
    pieces = _no_pieces if kept_only else partial(video_pieces, asked, each)
    about = {
        "experiment": chosen.name,
        "stimulus": stimulus.name,
        "repeats": repeats,
        "seed": seed,
        "settings": {name: repr(value) for name, value in sorted(settings.items())},
        "size": list(size),
        "lag_s": chosen.lag_s,
        **_provenance(stimulus, predictor, session, neurons),
    }
    shape = (stimulus.n_videos, len(stimulus.values), len(neurons))
    store = None
    if cache is not None and kept_only:
        store = existing_store(cache, about, shape)
    elif cache is not None:
        store = cached_store(cache, about, shape, stimulus.events.video)
    elif results is not None:
        store = ResponseStore(Path(results), about, shape)
    responses = collected_responses(pieces, stimulus, len(neurons), store, job, scheduler)
    return ExperimentResult(
        chosen,
        stimulus,
        size,
        responses,
        neurons,
        _findings(chosen, store, kept_only, responses, stimulus, size, job),
        str(predictor.predictor_id),
        session.id,
        repeats,
        seed,
        np.asarray(session.units.names)[neurons],
    )


def _findings(
    chosen: Experiment,
    store: ResponseStore | None,
    kept_only: bool,
    responses: np.ndarray,
    *shown: Any,
) -> Findings:
    """Return what responses tell of each neuron; fits of fields take minutes.

    The store keeps it, unless it is read only.
    """
    # An experiment of the caller may have the name of another one.
    if store is None or EXPERIMENTS.get(chosen.name) is not chosen:
        return only_varying(chosen.analyse(responses, *shown), responses)
    kept = store.findings(ANALYSIS_VERSION)
    found = kept and findings_of(kept, chosen.value, responses.shape[1])
    if found:
        return found
    found = only_varying(chosen.analyse(responses, *shown), responses)
    if not kept_only:
        store.keep_findings(findings_arrays(found), ANALYSIS_VERSION)
    return found


def _no_pieces(_: list[int]) -> list[Piece]:
    return []


def experiment_named(name: str) -> Experiment:
    """Return an experiment; raise `ValueError` with the names if there is none."""
    if name not in EXPERIMENTS:
        raise ValueError(f"No experiment {name!r}; there are {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


def windows_of(
    experiment: Experiment, spec: WindowSpec, repeats: int | None = None, **settings: Any
) -> int:
    """Return the number of windows that a model predicts in an experiment: its cost."""
    n = experiment.repeats if repeats is None else repeats
    stimulus = experiment.show(frame_size(spec), repeats=n, seed=0, **settings)
    return count_windows(stimulus, spec)


def frame_size(spec: WindowSpec) -> Size:
    """Return the size of the frames that a model reads."""
    video = spec.video
    return DEFAULT_SIZE if video is None else (video.height, video.width)


def _provenance(
    stimulus: Stimulus, predictor: Predictor, session: Session, neurons: np.ndarray
) -> dict[str, Any]:
    """Return what else responses depend on: stimulus, model, recording, neurons."""
    events = asdict(stimulus.events) | dict(stimulus.table)
    return {
        "parameters": dict(stimulus.parameters),
        "events": {name: values.tolist() for name, values in events.items()},
        "predictor": str(predictor.predictor_id),
        "session": session.id,
        "recording": session.fingerprint,
        "neurons": np.asarray(neurons).tolist(),
        "versions": {"omnimouse-app": version("omnimouse-app"), **fits_of(predictor)},
    }


# -- errors of recovered tuning and places in a simulated session ---------------------
@dataclass(frozen=True, slots=True, eq=False)
class KnownTuning:
    """True tuning parameters of the neurons of a simulated session.

    Attributes
    ----------
    preferred_deg
        Preferred direction of motion: 0 to the right, 90 up.
    center
        Row and column of the receptive field, in pixels of 36 x 64.
    """

    preferred_deg: Float[np.ndarray, " neuron"]
    center: Float[np.ndarray, "neuron 2"]

    def orientation_error(
        self, orientation_deg: Float[np.ndarray, " neuron"]
    ) -> Float[np.ndarray, " neuron"]:
        """Return the angle to the true orientations, 0 to 90 degrees."""
        found, true = np.radians(orientation_deg), np.radians(self.preferred_deg)
        return np.asarray(np.degrees(orientation_distance(found, true)))


_WIDTH = 64
"""Width in pixels of the simulated frames."""


def known_tuning(session: Session) -> KnownTuning | None:
    """Return the true tuning of a simulated session, None for a recording."""
    if session.format != "experanto" or not has_truth(session.path):
        return None
    tuning = open_truth(session.path).tuning
    # The wave vector points against the preferred motion, and rows count downwards.
    preferred = np.degrees(np.pi - tuning["direction"]) % 360
    return KnownTuning(preferred, np.asarray(tuning["centre_yx"], float))


def errors_of(
    columns: Mapping[str, Float[np.ndarray, " neuron"]],
    session: Session,
    size: tuple[int, int],
    neurons: Int64[np.ndarray, " neuron"],
) -> dict[str, np.ndarray]:
    """Return true values and errors of the columns of an experiment.

    Empty for a recording, and for experiments whose truth is not stored.

    Parameters
    ----------
    size
        Height and width of the frames that were shown.
    neurons
        Indices of the neurons in the session.
    """
    truth = known_tuning(session)
    if truth is None:
        return {}
    truth = KnownTuning(truth.preferred_deg[neurons], truth.center[neurons])
    if "orientation_deg" in columns:
        error = truth.orientation_error(columns["orientation_deg"])
        return {"true_preferred_deg": truth.preferred_deg, "orientation_error_deg": error}
    if "row_px" in columns:
        places = np.stack([columns["row_px"], columns["column_px"]], axis=1)
        away = places / size[1] - truth.center / _WIDTH
        return {"field_error_widths": np.hypot(away[:, 0], away[:, 1])}
    return {}
