"""Panel *Laboratory*: experiments on the chosen model, and what they found."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, UInt8

from omnimouse_model.data.session import Session
from omnimouse_model.data.stimulus import fit_video
from omnimouse_model.lab.experiments import TUNED, ExperimentResult
from omnimouse_model.live.analysis_file import MAX_REPEATS
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.inference.background_task import BUSY_TIP, cost_text
from omnimouse_model.live.laboratory import Laboratory
from omnimouse_model.live.laboratory_jobs import BARCODES, FOLDS, LabResult, lab_names, label_of
from omnimouse_model.live.mask.stimulus_edits import StimulusEdits
from omnimouse_model.live.navigation import frame_at_sample, frame_rate
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.neurons.neuron_info import NeuronInfo
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.metrics.tuning import SIGNIFICANCE_LEVEL
from omnimouse_model.progress import duration_text
from omnimouse_widgets import palette
from omnimouse_widgets.views import record
from omnimouse_widgets.views.text.model import model_title

if TYPE_CHECKING:
    from omnimouse_model.lab.barcode_decoding import BarcodeDecoding
    from omnimouse_model.lab.exciting_search import ExcitingInputs

OF_MODEL: Final = "What is found is a property of the model, not of the animal."
TWINS_ONLY: Final = "Digital twins only."
BARCODES_TEXT: Final = (
    "A label of the neurons, such as the area, predicted from what the model has "
    f"learned of each neuron ({FOLDS}-fold nested cross-validation), beside shuffled "
    "labels."
)
NOT_RUN: Final = "Press Run"
NO_NEURON: Final = "Select a neuron"
NO_RESULT: Final = "Run it first: there is nothing to show or export"
DIRECTIONS: Final = (
    "Response of the neuron in focus to each direction of motion, 0° right, 90° up; yellow: the\n"
    "preferred direction; dotted: the true one, of a simulated neuron."
)
LEVELS: Final = "Response of the neuron in focus to each level, at its best direction."
FIELD: Final = (
    "Receptive field of the neuron in focus: average of the dots, weighted by the responses, over\n"
    "the frame at the cursor; cross, ellipse: centre and standard deviation of a fitted Gaussian,\n"
    "which includes the width of a dot."
)
INPUT: Final = "The input that was found, at the time of the cursor."
CONFUSION: Final = "Share of the neurons of each true {label} (row) per predicted one (column)."
_ELLIPSE_POINTS: Final = 48


class LaboratoryView(OfController):
    """Experiments on the chosen model: choice, run, result of one neuron and of all.

    Parameters
    ----------
    laboratory, stimulus_edits
        Experiments, and the edits among which a found input is shown.
    state, results, neuron_info
        What is on screen, and the neuron in focus.
    colouring
        Chooses the quantity that colours the neurons.
    """

    name = "laboratory"

    def __init__(
        self,
        laboratory: Laboratory,
        stimulus_edits: StimulusEdits,
        state: LiveState,
        results: Results,
        neuron_info: NeuronInfo,
        colouring: Colouring,
    ) -> None:
        self._laboratory, self._edits, self._info = laboratory, stimulus_edits, neuron_info
        self._state, self._results, self._colour_by = state, results, colouring.choose

    def blocks(self) -> Sequence[record.Block]:
        """Return choice and run, the plot, and what was found with its actions."""
        events, changed = self._state.events, self._laboratory.changed
        costs = [self._results.changed, self._results.events.learned]
        costs += [events.session, events.predictor_name, events.selection]
        shown = [changed, events.selection, self._info.changed, self._results.events.needs]
        return [
            record.Block(self._controls, [changed, *costs], grows=True),
            # The frame at the cursor: under a receptive field, or of a found video.
            record.Block(self._plot, [*shown, events.cursor, events.window]),
            record.Block(self._found, [*shown, events.edits], grows=True),
        ]

    def _controls(self) -> Sequence[record.Item | record.Row]:
        laboratory, is_busy = self._laboratory, self._laboratory.is_busy
        options = tuple((name, label_of(name), "") for name in lab_names())
        choice: list[record.Item] = [
            record.Choice(
                "experiment",
                "Experiment",
                "What is shown to the model, and what is measured",
                options,
                laboratory.chosen,
                laboratory.choose,
            )
        ]
        if laboratory.experiment is not None:
            help_text = "Repeats of each stimulus: more of them differ less by chance"
            now = laboratory.repeats, 1, MAX_REPEATS
            set_repeats = laboratory.set_repeats
            unit = " repeat" if laboratory.repeats == 1 else " repeats"
            choice.append(record.Number("repeats", "Repeats", help_text, *now, set_repeats, unit))
        run: list[record.Item] = []
        if laboratory.chosen == BARCODES and laboratory.labels:
            help_text = "The label that is predicted: a column of the neuron table"
            labels = tuple((label, label, "") for label in laboratory.labels)
            now_label = laboratory.label
            set_label = laboratory.set_label
            run.append(record.Choice("label", "Label", help_text, labels, now_label, set_label))
        # Without a result, the reason stands whole in the place of the plot.
        is_told = laboratory.problem and laboratory.chosen not in laboratory.results
        cost = laboratory.message if is_busy else " " if is_told else run_text(laboratory)
        run.append(record.Text("cost", cost, "quiet", f"{cost}\n{BUSY_TIP}", is_line=True))
        if is_busy:
            # In this row: a row of its own would move the plot.
            run.append(record.Progress("progress", "Experiment", laboratory.share))
            help_text = "Stop the experiment; the next run goes on where it was"
            run.append(record.Action("stop", "Stop", help_text, laboratory.stop))
        else:
            help_text = "Show the stimulus to the model; the screen stays in use meanwhile"
            run.append(record.Action("run", "Run", help_text, laboratory.start, laboratory.problem))
        error = laboratory.error
        return [
            record.Row("choice", tuple(choice), wide="experiment"),
            record.Text("explanation", f"{explanation(laboratory)} {OF_MODEL}", "quiet"),
            record.Row("running", tuple(run), wide="cost"),
            record.Text("dropped", laboratory.dropped, "warning"),
            record.Text("error", "" if error is None else f"✕ {error}", "problem"),
        ]

    def _plot(self) -> Sequence[record.Item]:
        content = lab_content(self._laboratory, self._state, self._info.shown)
        return [record.Legend("signs", direction_signs(content)), content]

    def _found(self) -> Sequence[record.Item | record.Row]:
        session, neuron = self._state.session, self._info.shown
        decoding = self._laboratory.decoding
        # A matrix is of all neurons: its line says what rows and columns are.
        line = "" if decoding is None else CONFUSION.format(label=decoding.label)
        return [
            record.Text("neuron", line or neuron_text(self._laboratory, session, neuron)),
            record.Text("found", summary(self._laboratory), "quiet", tip=self._model_id()),
            record.Row("actions", self._actions()),
        ]

    def _actions(self) -> tuple[record.Item, ...]:
        laboratory = self._laboratory
        no_result = "" if laboratory.chosen in laboratory.results else NO_RESULT
        actions: list[record.Item] = []
        if laboratory.experiment is not None:
            colour = partial(self._colour_by, "lab")
            help_text = "Colour the neurons by the result"
            actions.append(record.Action("colour", "Colour field", help_text, colour, no_result))
        if laboratory.search is not None and self._edits.get("picture") is not None:
            help_text = "Show the recorded video to the model again"
            actions.append(
                record.Action("what_if", "As recorded", help_text, self._edits.put_video)
            )
        elif laboratory.search is not None:
            help_text = "Show this input to the model in place of the video, in What if"
            actions.append(record.Action("what_if", "What if", help_text, self._edit, no_result))
        return (
            *actions,
            record.Menu(
                "export",
                "Export",
                "Save the result of every neuron as a table, the plot, or the inputs",
                tuple(self._exports()),
                no_result,
            ),
            record.Action(
                "python",
                "Copy as Python",
                "Copy the commands that repeat this experiment in a script",
                lambda: record.Clipboard(laboratory.as_python(), "The script is on the clipboard"),
                laboratory.problem,
            ),
        )

    def _edit(self) -> record.ShowPanel | None:
        picture = self._laboratory.picture()
        if picture is None:
            return None
        self._edits.put_video(picture)
        return record.ShowPanel("What if")

    def _model_id(self) -> str:
        result = self._laboratory.results.get(self._laboratory.chosen)
        return "" if result is None else f"model: {result.predictor_id}"

    def _exports(self) -> Sequence[record.Action]:
        laboratory, chosen = self._laboratory, self._laboratory.chosen

        def table(end: str) -> record.SaveFile:
            return record.SaveFile(f"{chosen}.{end}", laboratory.write)

        def picture(end: str) -> record.SavePicture:
            session, result = self._state.session, laboratory.results.get(chosen)
            texts = neuron_text(laboratory, session, self._info.shown)
            of = "" if session is None else f"{label_of(chosen)}, session: {session.id}"
            model = "" if result is None else f"model: {result.predictor_id}"
            lines = (of, model, texts, summary(laboratory))
            text = "\n".join(line for line in lines if line)
            return record.SavePicture(f"{chosen}.{end}", "content", text)

        if laboratory.search is not None:
            help_text = "Save the found inputs into a folder"
            inputs = partial(record.SaveFile, chosen, laboratory.write)
            files = [record.Action("files", "Inputs (files)…", help_text, inputs)]
        else:
            files = [*record.file_actions(record.TABLES, "Save the table", table)]
        return [*files, *record.file_actions(record.PICTURES, "Save the plot", picture)]


# -- texts ---------------------------------------------------------------------------
def explanation(laboratory: Laboratory) -> str:
    """Return a description of the chosen experiment, search or decoding."""
    if laboratory.experiment is not None:
        return laboratory.experiment.explanation
    if laboratory.search is not None:
        return f"{laboratory.search.explanation} {TWINS_ONLY}"
    return BARCODES_TEXT


def run_text(laboratory: Laboratory) -> str:
    """Return the number of predictions and their expected time, or why it can't run."""
    if laboratory.problem:
        return laboratory.problem
    n, seconds, kept = laboratory.n_windows, laboratory.seconds, laboratory.kept
    size = f"{n:,} predictions" if n else f"{2 * FOLDS} outer folds"
    cost = cost_text(size, seconds, is_measured=laboratory.is_measured)
    if kept is None or laboratory.is_measured:
        return cost
    done, of = kept
    if not done:
        return f"{cost}. Nothing is kept of the stopped run."
    left = "" if seconds is None else f"About {duration_text(seconds * (1 - done / of))} left. "
    return f"{left}{done:,} of {of:,} videos are kept. Run goes on there."


def summary(laboratory: Laboratory) -> str:
    """Return what the chosen experiment found of the population, "" before it ran."""
    result = laboratory.results.get(laboratory.chosen)
    if result is None:
        return ""
    # Its id, with the hash of its weights, is in the tooltip, and in what is saved.
    model = model_title(result.predictor_id, laboratory.predictor_name)
    return f"{result_text(result, laboratory.columns(result))} {model}"


def result_text(result: LabResult, columns: Mapping[str, np.ndarray]) -> str:
    """Return what was found of the population; `columns` are those of an experiment.

    Of a simulated session, they contain the errors.
    """
    parts = [result.summary]
    if "orientation_error_deg" in columns:
        errors = columns["orientation_error_deg"][columns["osi"] > TUNED]
        errors = errors[np.isfinite(errors)]
        if len(errors):
            error = f"{np.median(errors):z.1f}° ({len(errors):,} neurons)"
            parts.append(f"median difference of the preferred axis {error}")
    if "field_error_widths" in columns:
        errors = columns["field_error_widths"]
        errors = errors[np.isfinite(errors)]
        if len(errors):
            error = f"{np.median(errors):z.3f} screen widths ({len(errors):,} neurons)"
            parts.append(f"median difference of the place {error}")
    return f"{'; '.join(parts)}."


def neuron_text(laboratory: Laboratory, session: Session | None, neuron: int | None) -> str:
    """Return what the chosen experiment found of one neuron."""
    result = laboratory.result
    at = _place_of(result, neuron)
    if result is None or at is None or session is None:
        return ""
    columns = {name: float(values[at]) for name, values in laboratory.columns(result).items()}
    text = _found_text(result, columns)
    if not np.isfinite(columns.get("osi", columns[result.experiment.value])):
        # "Receptive field: column": there is no field at all.
        what = result.experiment.value_label.lower().partition(":")[0]
        text = f"no {what}: {result.why_unknown(at)}"
    return f"Unit {session.units.names[neuron]}: {text}"


def _found_text(result: ExperimentResult, columns: dict[str, float]) -> str:
    if "osi" in columns:
        preferred, axis = columns["preferred_deg"], columns["orientation_deg"]
        texts = [f"preferred {preferred:z.0f}°"] if np.isfinite(preferred) else []
        if not texts:
            texts = [f"axis of motion {axis:z.0f}°"] if np.isfinite(axis) else []
            texts.append(f"no preferred direction (p ≥ {SIGNIFICANCE_LEVEL:g})")
        text = f"{', '.join(texts)}, OSI {columns['osi']:z.2f}, DSI {columns['dsi']:z.2f}"
        true = columns.get("true_preferred_deg")
        return text if true is None else f"{text}; true {true:z.0f}°"
    if "row_px" in columns:
        return (
            f"row {columns['row_px']:z.1f}, column {columns['column_px']:z.1f} px, "
            f"s.d. {columns['sd_longer_px']:z.1f} × {columns['sd_shorter_px']:z.1f} "
            f"px, spatial selectivity (SSI) {columns['ssi']:z.2f}"
        )
    value, unit = columns[result.experiment.value], result.experiment.unit
    label = result.experiment.value_label.lower()
    number = f"{value:g} {unit}".strip()
    return f"{label} {number}, at {columns['direction_deg']:z.0f}°"


# -- plots ---------------------------------------------------------------------------
def lab_content(laboratory: Laboratory, state: LiveState, neuron: int | None) -> record.Content:
    """Return the plot of the chosen experiment, search or decoding.

    `neuron` is an index in the session, None without one.
    """
    decoding, result = laboratory.decoding, laboratory.result
    if laboratory.exciting is not None:
        frame = _found_frame(state, laboratory.exciting)
        return record.Image("content", INPUT, _gray(frame), palette.CURSOR)
    if decoding is not None:
        return _confusion(decoding)
    at = _place_of(result, neuron)
    if result is None:
        return record.Message("content", "Experiment", _waiting_text(laboratory))
    if at is None:
        return record.Message("content", "Experiment", NO_NEURON)
    if result.findings.average is not None:
        return _field(result, result.findings.average[at], state, at)
    if result.findings.levels is None or result.findings.curves is None:
        return record.Message("content", "Experiment", "")
    curve = result.findings.curves[at]
    if result.experiment.period is None:
        return _level_curve(result, result.findings.levels, curve)
    preferred = float(result.values[at])
    true = _true_direction(laboratory, result, at)
    angles = [(preferred, palette.CURSOR, False), (true, palette.RECORDED, True)]
    spokes = tuple(angle for angle in angles if np.isfinite(angle[0]))
    levels = result.findings.levels
    return record.Polar("content", DIRECTIONS, levels, curve, palette.PREDICTED, spokes)


def direction_signs(content: record.Content) -> tuple[tuple[str, str, str], ...]:
    """Return what the lines of responses to directions are, () for another plot."""
    if not isinstance(content, record.Polar):
        return ()
    names = {palette.CURSOR: "preferred direction", palette.RECORDED: "true one (simulated)"}
    spokes = tuple(
        ("┅" if is_dotted else "━", colour, names[colour])
        for _, colour, is_dotted in content.spokes
    )
    return (("━", content.colour, "response (s.d.) per direction"), *spokes)


def _waiting_text(laboratory: Laboratory) -> str:
    """Return what to do, or which experiment runs, while there is no result."""
    if laboratory.is_busy:
        return f"Running: {label_of(laboratory.running)}"
    return laboratory.problem or NOT_RUN


def _place_of(result: ExperimentResult | None, neuron: int | None) -> int | None:
    """Return the place of a neuron in a result, None if it has none."""
    if result is None or neuron is None:
        return None
    found = np.flatnonzero(result.neurons == neuron)
    return int(found[0]) if len(found) else None


def _true_direction(laboratory: Laboratory, result: ExperimentResult, at: int) -> float:
    """Return the true preferred direction of a simulated neuron, NaN of another."""
    true = laboratory.columns(result).get("true_preferred_deg")
    return float("nan") if true is None else float(true[at])


def _level_curve(result: ExperimentResult, levels: np.ndarray, curve: np.ndarray) -> record.Curves:
    # Levels double from one to the next: their places are equally far apart.
    places = np.arange(len(levels), dtype=float)
    unit = result.experiment.unit
    return record.Curves(
        "content",
        LEVELS,
        (record.Line("", palette.PREDICTED, places, curve),),
        result.experiment.label.lower() + (f" ({unit})" if unit else ""),
        "response (s.d.)",
        tuple((float(at), f"{level:g}") for at, level in enumerate(levels)),
        in_view=(0.0,),
    )


def _confusion(decoding: "BarcodeDecoding") -> record.Matrix:
    classes, shares = decoding.found.classes, decoding.found.confusion
    rows = [[f"{100 * share:z.0f} %" for share in row] for row in shares.tolist()]
    tips = [
        [f"{share} of {true} are predicted as {k}" for k, share in zip(classes, row, strict=True)]
        for true, row in zip(classes, rows, strict=True)
    ]
    return record.Matrix(
        "content",
        CONFUSION.format(label=decoding.label),
        classes,
        classes,
        shares,
        tuple(map(tuple, rows)),
        tuple(map(tuple, tips)),
        0.0,
        1.0,
    )


def _found_frame(state: LiveState, found: "ExcitingInputs") -> UInt8[np.ndarray, "height width"]:
    """Return the frame of a found video at the time of the cursor."""
    frames, spec = found.videos[0], state.spec
    step = found.rate_hz / frame_rate(spec)
    at = min(int(frame_at_sample(spec, state.cursor) * step + 1e-6), len(frames) - 1)
    return np.asarray(frames[at])


def _field(
    result: ExperimentResult, average: Float[np.ndarray, "row column"], state: LiveState, at: int
) -> record.Image:
    """Return a receptive field over the frame at the cursor, with centre and ellipse."""
    columns = {name: float(values[at]) for name, values in result.findings.columns.items()}
    # At the size of the frames: the value of the grid at each pixel.
    row, column = (
        np.arange(new) * old // new for new, old in zip(result.size, average.shape, strict=True)
    )
    centre = columns["column_px"], columns["row_px"]
    outline = _ellipse(columns)
    return record.Image(
        "content",
        FIELD,
        _over(average[row][:, column], _frame(state, result.size)),
        palette.CURSOR,
        centre if np.isfinite(centre).all() else None,
        np.zeros((0, 2)) if outline is None else outline,
    )


def _frame(state: LiveState, size: tuple[int, int]) -> UInt8[np.ndarray, "height width"] | None:
    """Return the frame at the cursor at the size of a field, None without a video."""
    window, spec = state.window, state.spec
    if window is None or window.session.stimulus is None or spec.video is None:
        return None
    at = frame_at_sample(spec, state.cursor)
    return np.asarray(fit_video(window.frames_u8[at : at + 1], size)[0], np.uint8)


def _gray(frame: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    return np.repeat(frame[..., None], 3, axis=2)


def _over(
    average: Float[np.ndarray, "height width"], frame: UInt8[np.ndarray, "height width"] | None
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a field in colours, over a frame where it is weak or unknown."""
    average = np.nan_to_num(average)
    most = max(float(np.abs(average).max()), 1e-12)
    table = palette.residual_table()
    steps = ((average / most + 1) / 2 * (len(table) - 1)).round().astype(np.intp)
    colours = table[steps][..., :3]
    if frame is None:
        return np.asarray(colours, np.uint8)
    # The picture is dimmed, so that the colours of the field stand out.
    weight = (np.abs(average) / most)[..., None]
    mixed = weight * colours + (1 - weight) * 0.55 * _gray(frame)
    return np.asarray(mixed.round(), np.uint8)


def _ellipse(columns: dict[str, float]) -> Float[np.ndarray, "point 2"] | None:
    """Return the ellipse of one standard deviation around the centre of a field."""
    longer, shorter = columns["sd_longer_px"], columns["sd_shorter_px"]
    tilt = np.radians(columns["axis_deg"])
    if not np.isfinite(longer + shorter + tilt):
        return None
    turn = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS)
    along, across = longer * np.cos(turn), shorter * np.sin(turn)
    # The angle counts upwards from the right, and y counts downwards.
    x = columns["column_px"] + along * np.cos(tilt) - across * np.sin(tilt)
    y = columns["row_px"] - along * np.sin(tilt) - across * np.cos(tilt)
    return np.stack([x, y], axis=1)
