"""Export of the screen's content to files: tables, arrays, and other bytes.

Each file states its condition: recording, window, inputs, targets and predictor. Files
are written atomically and in the background.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnimouse_model.data.session import Session, Window
from omnimouse_model.display import number_text
from omnimouse_model.errors import ExportError
from omnimouse_model.live.inference.background_task import (
    BackgroundTask,
    HasBackgroundTask,
    ReportProgress,
)
from omnimouse_model.live.inference.engine import IN_THREADS, Execution
from omnimouse_model.live.mask.presets import preset_named
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import Results, ScoresOnScreen
from omnimouse_model.live.state import LiveState
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.masks.mask import input_cells
from omnimouse_model.masks.neuron_table import table_columns
from omnimouse_model.metrics.named import METRICS, Metric
from omnimouse_model.predict.predictor import Prediction, in_window_units
from omnimouse_model.storage.arrays.npy import packed_arrays
from omnimouse_model.storage.files import expanded
from omnimouse_model.storage.tables import csv_bytes, parquet_bytes
from omnimouse_model.storage.write import explained, write_bytes

# -- self-contained text about scores: definition, neurons, condition, predictor ------
CORRELATION = (
    "single-trial Pearson correlation of the predicted with the recorded responses "
    "over the target samples of the window"
)


def definition_of(metric: Metric) -> str:
    """Return how the scores of a window are defined."""
    if metric.name == "correlation":
        return CORRELATION
    return f"{metric.unit}, {metric.definition}; over the target samples of the window"


def definition_of_shown(metric: Metric, scores: ScoresOnScreen) -> str:
    """Return how the scores on screen are defined, with their windows."""
    if not scores.tier:
        return definition_of(metric)
    means = ""
    if metric.name == "correlation":
        of = "these windows" if scores.is_pooled else "the train part of the recording"
        means = f", about the means of {of}"
    return f"{metric.unit}{means}, {scores.evidence}"


def score_text(state: LiveState, results: Results) -> str:
    """Return several lines about the scores on screen; "" without scores.

    Condition and predictor are those of the prediction that was scored, which can be
    older than the mask on screen.
    """
    shown, population = results.neuron_scores, results.population
    if shown is None or population is None or state.window is None:
        return ""
    scores = shown.values
    scored = np.flatnonzero(np.isfinite(scores))
    if not len(scored) or state.session is None or state.mask is None:
        return ""
    lines = [
        *_mean_lines(state, results),
        f"median: {state.metric.text(float(np.median(scores[scored])), 3)} over "
        f"{len(scored):,} neurons",
        f"definition: {definition_of_shown(state.metric, shown)}",
        condition_text(state, state.mask, population),
    ]
    selected = [n for n in state.selection if np.isfinite(scores[n])]
    if selected:
        names = state.session.units.names
        values = ", ".join(f"{names[n]}: {number_text(float(scores[n]), 3)}" for n in selected)
        lines.append(f"selected neurons: {values}")
    return "\n".join(lines)


def _mean_lines(state: LiveState, results: Results) -> list[str]:
    """Return a line with the mean over the tier and its interval; none without it."""
    found = results.tier_score
    if found is None or found.score is None or found.score.refusal:
        return []
    mean = found.estimate
    interval = ""
    if np.isfinite(mean.low):
        low, high = number_text(mean.low, 3), number_text(mean.high, 3)
        interval = f", 95 % interval [{low}, {high}]"
    return [f"score: mean {state.metric.text(mean.value, 3)}{interval}"]


def condition_text(state: LiveState, mask: Mask, prediction: Prediction | None) -> str:
    """Return one line each about predictor, session and condition."""
    assert state.session is not None
    assert state.window is not None
    predictor = "none" if prediction is None else prediction.predictor_id
    mask_id = mask.mask_id if prediction is None else prediction.mask_id
    lines = [
        f"predictor: {predictor}",
        f"session: {state.session.id}, window from {state.window.start_s:z.2f} s",
        f"condition: {_condition(state, mask, mask_id)}",
    ]
    return "\n".join(lines)


def _condition(state: LiveState, mask: Mask, mask_id: str) -> str:
    """Return the inputs of the predictor; of an older mask, only its id is known."""
    # The counts below would be those of the newer mask.
    if mask.mask_id != mask_id:
        return f"a previous mask, {mask_id}"
    name = preset_named(state.preset).label if state.preset else "made by hand"
    note = f" ({mask.note})" if mask.note else ""
    visible = int(mask.visible.any(axis=0).sum())
    return (
        f"{name}{note}; {visible:,} neurons visible, {int(mask.frames.sum())} of "
        f"{len(mask.frames)} frames visible, behaviour {mask.behavior_mode}; mask "
        f"{mask_id}"
    )


# -- export of the screen's content to files: tables, arrays, and other bytes ---------
README = """\
What OmniMouse showed, in one window of {duration} s. Rows of ({n}, neuron) arrays are
samples at {rate} Hz; columns are the recording's neurons in stored order.

times_s ({n},)             seconds on the clock of the recording, 0 at the first response sample
recorded ({n}, neuron)     {unit}
predicted ({n}, neuron)    the same unit; NaN where there was no target or no prediction
scale (neuron,)           units of the recording per unit of normalised responses
mask ({n}, neuron)         0 hidden, 1 visible, 2 target
seen, asked ({n}, neuron)  visible samples, and target samples that were scored
frames ({n_frames},)              video frames that the model saw
{score} (neuron,)               {definition};
                          NaN where there is none
{tier_score}unit_id, area (neuron,)   the recording's own ids, and brain areas, "" unknown
selected (n,)             neurons whose traces were on screen
behavior_times_s ({n_behavior},), behavior_names (channel,)
behavior_recorded, behavior_predicted ({n_behavior}, channel)
                          z-scored; there only where it was recorded, or asked

{condition}
"""


@dataclass(frozen=True, slots=True, eq=False)
class ScreenContent:
    """Snapshot of the screen's content at the time of an export."""

    session: Session
    window: Window
    mask: Mask
    selection: tuple[int, ...]
    prediction: Prediction | None
    scores: np.ndarray | None
    behavior: np.ndarray | None
    condition: str
    metric: Metric = METRICS["correlation"]
    neuron_scores: ScoresOnScreen | None = None
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)
    measured_definitions: Mapping[str, str] = field(default_factory=dict)

    @property
    def score_name(self) -> str:
        """Name of the column of scores: "r" for a correlation."""
        return "r" if self.metric.name == "correlation" else self.metric.name

    @property
    def shown_scores(self) -> np.ndarray | None:
        """Scores (P,) on screen: over a tier where they are known, else `scores`."""
        return None if self.neuron_scores is None else self.neuron_scores.values

    @property
    def shown_definition(self) -> str:
        """Definition of `shown_scores` in words, with the windows that were scored."""
        if self.neuron_scores is None:
            return definition_of(self.metric)
        return definition_of_shown(self.metric, self.neuron_scores)

    @property
    def tier_columns(self) -> dict[str, np.ndarray]:
        """Name -> scores over a tier, e.g. "r_test"; empty if there are none."""
        shown = self.neuron_scores
        if shown is None or not shown.tier:
            return {}
        return {f"{self.score_name}_{shown.tier}": shown.values}

    @property
    def definitions(self) -> dict[str, str]:
        """Name of each column of scores and experiments -> its definition in words."""
        return {
            self.score_name: definition_of(self.metric),
            **dict.fromkeys(self.tier_columns, self.shown_definition),
            **self.measured_definitions,
        }


def screen_content(state: LiveState, results: Results, colouring: Colouring) -> ScreenContent:
    """Return a snapshot of the screen's content.

    Raises
    ------
    ExportError
        No session is open, or the current request is not answered.
    """
    session, window, mask = state.session, state.window, state.mask
    if session is None or window is None or mask is None:
        raise ExportError("Open a recording first: there is nothing to export.")
    population = results.population
    # Never export an older prediction together with a newer mask.
    is_pending = results.is_awaited or results.population_freshness == "stopped"
    if is_pending or (population is not None and population.mask_id != mask.mask_id):
        raise ExportError(
            "The prediction of this mask is not finished, and an older one is not "
            "exported: wait for it, or choose Predict again."
        )
    condition = condition_text(state, mask, population)
    return ScreenContent(
        session, window, mask, state.selection, population, results.scores,
        results.behavior, condition, state.metric, results.neuron_scores,
        colouring.measured_columns(), colouring.definitions(),
    )  # fmt: skip


# -- the neurons --------------------------------------------------------------------
def neuron_columns(content: ScreenContent) -> dict[str, np.ndarray]:
    """Return the columns (P,) of the table of neurons, by name."""
    session, mask = content.session, content.mask
    table = table_columns(session, mask, scores=content.scores)
    columns = {
        "neuron": np.arange(session.n_neurons),
        "unit_id": session.units.unit_id,
        "area": table["area"],
        **({} if session.units.probe is None else {"probe": table["probe"]}),
        "plane": table["plane"],
        "x_um": table["x"],
        "y_um": table["y"],
        "depth_um": table["depth"],
        "state": table["state"],
        "seen_samples": input_cells(mask).sum(axis=0),
        "asked_samples": scored_cells(mask).sum(axis=0),
        # The score on screen is the first one.
        **content.tier_columns,
        content.score_name: table["score"],
        "selected": np.isin(np.arange(session.n_neurons), content.selection),
    }
    for name in session.units.properties:
        if name in table:
            columns[f"property_{name}" if name in columns else name] = table[name]
    return columns | dict(content.measured)


def neuron_csv(content: ScreenContent, neurons: np.ndarray | None = None) -> bytes:
    """Return the table of all neurons, or of some in their order, as CSV.

    Lines with # above it state the condition.
    """
    definitions = (f"{name}: {how}" for name, how in content.definitions.items())
    columns = _rows_of(neuron_columns(content), neurons)
    return csv_bytes(columns, "\n".join([content.condition, *definitions]))


def neuron_parquet(content: ScreenContent, neurons: np.ndarray | None = None) -> bytes:
    """Return the same table as Parquet; the metadata state the condition."""
    about = {"condition": content.condition, **content.definitions}
    return parquet_bytes(_rows_of(neuron_columns(content), neurons), about)


def _rows_of(columns: dict[str, np.ndarray], neurons: np.ndarray | None) -> dict[str, np.ndarray]:
    if neurons is None:
        return columns
    return {name: values[neurons] for name, values in columns.items()}


# -- the arrays ---------------------------------------------------------------------
def arrays_of(content: ScreenContent) -> dict[str, np.ndarray]:
    """Return arrays by name; `README` describes them."""
    session, window, mask = content.session, content.window, content.mask
    n, units, times = session.n_neurons, session.units, window.timestamps
    predicted = np.full(window.responses.shape, np.nan, np.float32)
    if content.prediction is not None:
        values = in_window_units(content.prediction, window)
        predicted[:, content.prediction.neurons] = values
    unknown = np.full(n, np.nan, np.float32)
    arrays = {
        "README": np.array(_readme(content)),
        "times_s": times["responses"],
        "recorded": window.responses,
        "predicted": predicted,
        "scale": session.response_scale,
        "mask": mask.cells,
        "seen": input_cells(mask),
        "asked": scored_cells(mask),
        "frames": mask.frames,
        content.score_name: unknown if content.scores is None else content.scores,
        **content.tier_columns,
        "unit_id": units.unit_id,
        "area": np.full(n, "") if units.area is None else units.area.astype(str),
        "selected": np.array(content.selection, np.int64),
    }
    # The behaviour streams of a window are concatenated along their channels, so that
    # the times of one stream are enough.
    streams = [name for name in session.behavior if name in times]
    if streams and session.behavior_names:
        arrays["behavior_times_s"] = times[streams[0]]
        arrays["behavior_names"] = np.array(session.behavior_names)
        arrays["behavior_recorded"] = window.behavior
    if content.behavior is not None:
        arrays["behavior_predicted"] = content.behavior
    return arrays


def _readme(content: ScreenContent) -> str:
    """Return the description of the arrays."""
    spec = content.window.spec
    unit = "responses as the model has them: recording / scale"
    if spec.responses == "count":
        unit = "counts per bin"
    return README.format(
        duration=f"{spec.duration_s:g}",
        rate=f"{spec.response_rate_hz:g}",
        unit=unit,
        n=spec.n_samples,
        n_frames=spec.n_frames,
        n_behavior=spec.n_behavior,
        score=content.score_name,
        definition=definition_of(content.metric),
        tier_score="".join(
            f"{name} (neuron,)          {content.definitions[name]}\n"
            for name in content.tier_columns
        ),
        condition=content.condition,
    )


def npz_bytes(content: ScreenContent) -> bytes:
    """Return `arrays_of` as one compressed .npz."""
    return packed_arrays(arrays_of(content))


# -- writing ------------------------------------------------------------------------
WAIT = "Wait for it, or stop it, and export again."
MakeContent = Callable[[ReportProgress], bytes]
"""Makes the bytes of a file; reporting progress raises to stop it."""
_KINDS: dict[str, Callable[[ScreenContent], bytes]] = {
    "csv": neuron_csv,
    "parquet": neuron_parquet,
    "npz": npz_bytes,
}


class Exports(HasBackgroundTask):
    """Background task that writes the screen's content to files.

    Attributes
    ----------
    written_path
        File written last; None during a write and after an error.
    """

    def __init__(
        self,
        state: LiveState,
        results: Results,
        colouring: Colouring,
        execution: Execution = IN_THREADS,
    ) -> None:
        self._state, self._results, self._colouring = state, results, colouring
        self.written_path: Path | None = None
        self._task = BackgroundTask(_write, self._take, execution)
        state.events.session.connect(self._on_session)

    @property
    def condition(self) -> str:
        """Text about recording, mask and predictor on screen; see `screen_content`."""
        return self._content().condition

    def _content(self) -> ScreenContent:
        return screen_content(self._state, self._results, self._colouring)

    def is_ready(self, *checks: Callable[[], object]) -> bool:
        """Whether an export is possible now; if not, set `error`.

        Call it before asking the user for a file. The default check is that the
        screen's content can be exported; other checks raise `ExportError`.
        """
        try:
            # A second file would cancel the first one, because a task runs one request.
            if self.is_busy:
                raise ExportError(f"Another file is being written. {WAIT}")
            for check in checks or (lambda: self.condition,):
                check()
        except ExportError as error:
            self.refuse(error)
            return False
        return True

    def export(self, path: str | Path, kind: str = "") -> None:
        """Write the table of neurons ("csv", "parquet") or the arrays ("npz").

        The default kind is the file's suffix. Errors are in `error`.
        """
        path = expanded(path)
        try:
            made = self.maker(kind or path.suffix.removeprefix(".").lower())
        except ExportError as error:
            return self.refuse(error)
        self.write(path, made)

    def maker(self, kind: str) -> MakeContent:
        """Return what makes a file of a kind from a snapshot of the screen.

        Raises
        ------
        ExportError
            There is no such kind, or nothing to export.
        """
        make = _KINDS.get(kind)
        if make is None:
            endings = ", ".join(f".{each}" for each in _KINDS)
            raise ExportError(f"{kind!r} is no kind of file: end its name in {endings}.")
        # Taken on the drawing thread: the state may change while the file is written.
        content = self._content()
        return lambda _: make(content)

    def write(self, path: str | Path, make_content: MakeContent) -> None:
        """Write the bytes that `make_content` returns, called in the background.

        Only one file is written at a time; a second one is refused.
        """
        path = expanded(path).absolute()
        if self.is_busy:
            message = f"{path.name} is not written: another file is. {WAIT}"
            return self.refuse(ExportError(message))
        self.dismiss()
        self._task.start((path, make_content), f"Writing {path.name}")

    def refuse(self, error: ExportError) -> None:
        """Set an error."""
        self.written_path = None
        self._task.fail(error)

    def dismiss(self) -> None:
        """Clear the written file and the error."""
        self.written_path = None
        self._task.clear_error()
        self.changed.emit()

    def _on_session(self) -> None:
        """Clear messages about the previous recording."""
        if not self.is_busy:
            self.dismiss()

    def _take(self, path: Path) -> None:
        self.written_path = path


def _write(request: tuple[Path, MakeContent], report: ReportProgress) -> Iterator[Path]:
    path, make_content = request
    content = make_content(report)
    report(f"Writing {path.name}")
    try:
        # A write that fails leaves an existing file as it was.
        write_bytes(path, content)
    except OSError as error:
        raise ExportError(f"Not written: {explained(error)}") from None
    yield path
