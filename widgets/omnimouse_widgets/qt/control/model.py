"""Model section: predictor, device and freshness; what the model knows; its download."""

from collections.abc import Callable
from functools import partial
from typing import Final

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QInputDialog, QWidget

from omnimouse_model.data.hub.exchange import CHECKPOINTS
from omnimouse_model.inference.families import fit_names
from omnimouse_model.inference.registry import must_be_fetched, predictor_names
from omnimouse_model.live.controller import OfController
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.inference.workers import WorkerWatch
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.models.choice import ModelChoice, ModelDownloads, mask_of_file
from omnimouse_model.live.models.finetune import Finetuning, model_name
from omnimouse_model.live.neurons.colour_by import Colouring
from omnimouse_model.live.results import NOT_FITTED, Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.compatibility import FALLBACK, Compatibility, check_compatibility
from omnimouse_model.predict.devices import Residence, process_bytes
from omnimouse_widgets.qt.style import controls
from omnimouse_widgets.qt.style.file_dialog import choose_file, choose_folder
from omnimouse_widgets.qt.style.form import ElidedLabel, Form, QuietLine, reserve_space, row_of
from omnimouse_widgets.qt.style.redraw import Redraw
from omnimouse_widgets.qt.style.theme import SteadyLabel, ToneLabel, wrapped_label
from omnimouse_widgets.views.finetune import open_label, open_tip
from omnimouse_widgets.views.text.controls import (
    CONNECT,
    FILE_MASK,
    REFINE,
    REPEAT,
    RESTART,
    STOP,
    WAIT,
)
from omnimouse_widgets.views.text.model import (
    FINETUNE_TIP,
    MEANINGS,
    SILENT,
    freshness_text,
    is_unfitted,
    known_text,
    model_text,
    model_tip,
    stand_in_text,
)
from omnimouse_widgets.views.text.tier_score import (
    no_score_text,
    shown_score_tip,
    shown_tier_score_lines,
)

PATIENCE_MS: Final = 150
"""Delay before "predicting…" is shown; for faster results it would only flicker."""
FILE, FOLDER, ADDRESS = "file…", "folder…", "address…"
"""Model choices that open a dialog."""
MIB: Final = 2**20
FALLBACK_TIP: Final = (
    f"Fit {FALLBACK} to this recording and use it; the recording stays open.\n"
    f'In Python: om.load_predictor("{FALLBACK}", [session])'
)
MODEL_TIP: Final = "Use the model that was trained on this sample"


class Patience(QTimer):
    """Timer that sets `is_long` once a request is pending for `PATIENCE_MS`."""

    def __init__(self, results: Results, parent: QWidget) -> None:
        super().__init__(parent)
        self._results = results
        self.is_long = False
        self.setSingleShot(True)
        self.setInterval(PATIENCE_MS)

    def follow(self) -> None:
        """Start or stop the timer for the current request."""
        # A timer that is running continues: restarting it at every partial result would
        # never let it end.
        if not self._results.is_awaited:
            self.stop()
            self.is_long = False
        elif not self.is_long and not self.isActive():
            self.start()


class ModelSection(QWidget, OfController):
    """Predictor and device choice, and freshness of the displayed prediction.

    Attributes
    ----------
    panel_wanted
        Emitted with the title of a panel that is brought to the front.
    """

    panel_wanted = Signal(str)

    def __init__(
        self,
        state: LiveState,
        results: Results,
        baseline: Results,
        editor: MaskEditor,
        model: ModelChoice,
        downloads: ModelDownloads,
        colouring: Colouring,
        finetuning: Finetuning,
        requests: Requests,
        workers: WorkerWatch,
    ) -> None:
        super().__init__()
        self._state, self._results, self._baseline = state, results, baseline
        self._editor, self._model, self._downloads = editor, model, downloads
        self._colouring, self._finetuning, self._requests = colouring, finetuning, requests
        self._workers = workers
        self._patience = Patience(results, self)
        self._baseline_patience = Patience(baseline, self)
        for patience in (self._patience, self._baseline_patience):
            patience.timeout.connect(partial(self._out_of_patience, patience))
        self._build()
        form = Form(self)
        form.add("Model", row_of(self.model, self.device, stretch=0))
        form.add_rows(self.download, self.info, self.finetune)
        form.add("Result", row_of(self.dot, self.freshness, self.cancel, stretch=1))
        form.add("Score", row_of(self.tier_score, self.refine, stretch=0))
        form.add_rows(
            self.tier_details,
            self.stored,
            self.error,
            self.again,
            self.connect_button,
            self.silent,
            row_of(self.wait, self.restart),
        )
        events, models = state.events, downloads
        info_signals = [events.session, results.changed, finetuning.changed]
        self.redraw = Redraw(
            self,
            (self._draw_model, [events.predictor_name, models.changed,
                                finetuning.finished]),
            (self._draw_device, [events.device, results.events.devices]),
            (self._draw_freshness, [results.changed, baseline.changed,
                                     workers.changed]),
            (self._draw_tier_score, [results.changed, baseline.changed, events.scores_tier,
                                     events.mask, colouring.changed]),
            (self._draw_silence, [workers.changed]),
            (self.download.draw, [models.changed]),
            (self.info.draw, info_signals),
            (self._draw_finetune, info_signals),
        )  # fmt: skip

    def _build(self) -> None:
        self.model = controls.combo_box(self._choose, name="Model")
        self.model.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.model.setMinimumContentsLength(10)
        # Three groups: predictors without files, checkpoints of the hub, local
        # checkpoints.
        for name in (*predictor_names(), *fit_names()):
            self.model.addItem(model_text(name), name)
            self.model.setItemData(
                self.model.count() - 1, model_tip(name), Qt.ItemDataRole.ToolTipRole
            )
        self.model.insertSeparator(self.model.count())
        for name in CHECKPOINTS:
            self.model.addItem(name, name)
        self.model.addItem("other model of the hub…", ADDRESS)
        self.model.insertSeparator(self.model.count())
        self.model.addItem("checkpoint or predictions file…", FILE)
        self.model.addItem("checkpoint or predictions folder…", FOLDER)
        self.device = controls.combo_box(
            self._model.choose_device,
            name="Device",
            tooltip="Device that computes the predictions; auto: the fastest available",
        )
        self.device.setMaximumWidth(76)
        self.download = DownloadSection(self._downloads)
        self.info = ModelInfoSection(
            self._state, self._results, self._model, self._finetuning, self._open_finetuning
        )
        self.finetune = controls.push_button("", "", self._open_finetuning)
        self.dot, self.freshness = ToneLabel(), ElidedLabel()
        self.cancel = controls.push_button(*STOP, self._requests.cancel)
        reserve_space(self.cancel)
        self.tier_score, self.tier_details = wrapped_label(), SteadyLabel()
        self.refine = controls.push_button(REFINE[1][0], "", self._refine)
        self.stored = controls.push_button(*FILE_MASK, self._use_stored)
        self.error = wrapped_label("alert")
        self.silent, workers = wrapped_label("alert"), self._workers
        self.wait = controls.push_button(*WAIT, workers.wait)
        self.restart = controls.push_button(*RESTART, workers.restart)
        self.connect_button = controls.push_button(*CONNECT, self._requests.connect)
        self.again = controls.push_button(*REPEAT, self._requests.send_again)

    # -- what the user does -----------------------------------------------------------
    def _choose(self, name: str) -> None:
        dialogs = {FILE: _choose_file, FOLDER: _choose_folder, ADDRESS: _enter_address}
        chosen = dialogs[name](self) if name in dialogs else name
        # Qt's dialogs return "" if they are cancelled.
        if chosen:
            self._model.choose(chosen)
        # After a cancelled dialog the box must show the current model again.
        self._draw_model()

    def _refine(self) -> None:
        self._requests.score_tier(not self._state.scores_tier)

    def _use_stored(self) -> None:
        mask = mask_of_file(self._state, self._results.needs)
        if mask is not None:
            self._editor.set_mask(mask, "Mask of the predictions")

    def _open_finetuning(self) -> None:
        self.panel_wanted.emit("Fine-tuning")

    def _out_of_patience(self, patience: Patience) -> None:
        patience.is_long = True
        self._draw_freshness()

    # -- from state to screen -----------------------------------------------------
    def _draw_tier_score(self) -> None:
        state, found = self._state, self._results.tier_score
        lines = shown_tier_score_lines(self._state, self._results, self._baseline, self._colouring)
        score, *details = lines or [no_score_text(self._state, self._results)]
        is_decoding = state.mask is not None and state.mask.behavior_mode == "target"
        # The rows below must not move while scores come in: two lines for windows and
        # gain, two for the channels.
        self.tier_details.reserve(4 if is_decoding else 2)
        self.tier_score.setText(score)
        self.tier_details.set_text("\n".join(details))
        for label in (self.tier_score, self.tier_details):
            label.setToolTip(shown_score_tip(self._state, self._results, self._colouring))
        text, tip = REFINE[state.scores_tier]
        self.refine.setText(text)
        self.refine.setToolTip(tip)
        self.refine.setEnabled(found is None or not found.is_complete)

    def _draw_model(self) -> None:
        name = self._state.predictor_name
        # A download changes "hub" to "downloaded".
        for released in CHECKPOINTS:
            place = "hub" if must_be_fetched(released) else "downloaded"
            at = self.model.findData(released)
            self.model.setItemText(at, f"{released} · {place}")
        for tuned in self._finetuning.results:
            # Runs can finish while the application is open: add only new results.
            if self.model.findData(str(tuned.path)) < 0:
                self.model.insertItem(0, tuned.text, str(tuned.path))
        if name and self.model.findData(name) < 0:
            self.model.insertItem(0, model_name(name), name)
        self.model.setCurrentIndex(self.model.findData(name))
        self.model.setToolTip(
            f"Model: {MEANINGS.get(name, name or 'none')}\n"
            "Choose the demo model, a baseline, a model of the hub (downloaded once), "
            "or the file or folder of a checkpoint or of predictions."
        )

    def _draw_finetune(self) -> None:
        text = open_label(self._finetuning)
        self.finetune.setText(text)
        self.finetune.setToolTip(open_tip(self._finetuning))
        # One offer is enough.
        self.finetune.setVisible(bool(text) and self.info.finetune.isHidden())

    def _draw_device(self) -> None:
        """List the available devices and the chosen one, which may be unavailable."""
        chosen = self._state.device
        devices = dict.fromkeys((*self._results.devices, chosen))
        controls.set_items(self.device, [(device, device) for device in devices])
        self.device.setCurrentIndex(self.device.findData(chosen))

    def _draw_silence(self) -> None:
        is_silent = self._workers.is_silent
        controls.show_text(self.silent, SILENT if is_silent else "")
        self.wait.setVisible(is_silent)
        self.restart.setVisible(is_silent)

    def _draw_freshness(self) -> None:
        results, baseline = self._results, self._baseline
        self._patience.follow()
        self._baseline_patience.follow()
        fit = self._workers.fit
        sign, tone, text = freshness_text(
            results, is_long=self._patience.is_long, fit=fit, name=self._state.predictor_name
        )
        self.dot.setText(sign)
        self.dot.set_tone(tone)
        # In this line, because a line of its own would move all that is below.
        how = f"⚠ {results.notice}" if results.notice else ""
        self.freshness.set_text(" · ".join(filter(None, (text, how))))
        self.freshness.setToolTip(f"Age of the displayed prediction: {text}\n{how}".strip())
        self.cancel.setVisible(self._patience.is_long or self._baseline_patience.is_long)
        stored = mask_of_file(self._state, results.needs)
        self.stored.setVisible(stored is not None)
        knowledge = self.info.knowledge
        is_unknown = knowledge is not None and not knowledge.is_supported
        # `ModelInfoSection` explains a model that does not know the neurons, or is not
        # fitted, with a remedy.
        is_told = is_unknown or is_unfitted(self._state.predictor_name, results)
        controls.show_text(self.error, "" if is_told else results.error or "")
        host = results.asked_host if results.error else ""
        self.connect_button.setText(CONNECT[0].format(host))
        self.connect_button.setVisible(bool(host))
        was_stopped = results.was_stopped or baseline.was_stopped
        self.again.setVisible(bool(self.error.text()) or was_stopped)


def _choose_file(parent: QWidget) -> str:
    kinds = "Checkpoints and predictions (*.safetensors *.ckpt *.nwb)"
    return choose_file(parent, "model", "Open a model", kinds)


def _choose_folder(parent: QWidget) -> str:
    title = "Open the folder of a checkpoint or of predictions (.zarr)"
    return choose_folder(parent, "model", title)


def _enter_address(parent: QWidget) -> str:
    label = "hf://owner/model, or omnimouse-1M … omnimouse-300M:"
    text, is_accepted = QInputDialog.getText(parent, "A model of the hub", label)
    return text.strip() if is_accepted else ""


class ModelInfoSection(QWidget):
    """One line of information; if needed also missing inputs and a remedy."""

    def __init__(
        self,
        state: LiveState,
        results: Results,
        model: ModelChoice,
        finetuning: Finetuning,
        open_finetuning: Callable[[], None],
    ) -> None:
        super().__init__()
        self._state, self._results, self._model = state, results, model
        self._finetuning = finetuning
        self.line = QuietLine()
        reserve_space(self.line)
        self.remedy, self.missing = wrapped_label("alert"), wrapped_label()
        self.missing.setToolTip("Inputs that the model needs and this recording lacks")
        self.instead = controls.push_button("", "", lambda: model.choose(model.suitable))
        self.stand_in = wrapped_label("quiet")
        self.finetune = controls.push_button("", FINETUNE_TIP, open_finetuning)
        rows = (self.remedy, self.instead, self.stand_in, self.finetune, self.missing)
        Form(self).add_rows(self.line, *rows)

    @property
    def knowledge(self) -> Compatibility | None:
        """Compatibility of model and session; None until both are known."""
        session, needs = self._state.session, self._results.needs
        # `needs` is known only after the model has been loaded.
        if session is None or needs is None:
            return None
        return check_compatibility(needs, session)

    def draw(self) -> None:
        """Show the current information.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        knowledge, residence = self.knowledge, self._results.residence
        texts = [] if knowledge is None else [known_text(knowledge)]
        texts += [] if residence is None else place_text(residence)
        line = " · ".join(texts)
        self.line.set_text(line)
        self.line.setToolTip("" if residence is None else place_tooltip(residence, knowledge))
        self.line.setVisible(bool(line))
        # A fine-tuning of this recording is the remedy: do not offer another one.
        is_finetuned = self._finetuning.is_of_screen
        remedy = "" if knowledge is None or is_finetuned else knowledge.remedy
        controls.show_text(self.remedy, f"✕ {remedy}" if remedy else "")
        unfamiliar = self._model.unfamiliar
        is_to_be_fitted = is_unfitted(self._state.predictor_name, self._results)
        why = stand_in_text(unfamiliar, self._state.predictor_name)
        controls.show_text(self.stand_in, NOT_FITTED if is_to_be_fitted else why)
        self.finetune.setVisible(bool(unfamiliar) and not is_finetuned)
        self.finetune.setText(
            f"{'Fit' if unfamiliar in fit_names() else 'Fine-tune'} {unfamiliar}…"
        )
        self._draw_instead(is_shown=bool(remedy))
        missing = () if knowledge is None else knowledge.missing
        controls.show_text(self.missing, "\n".join(f"• {text}" for text in missing))

    def _draw_instead(self, *, is_shown: bool) -> None:
        self.instead.setVisible(is_shown)
        if is_shown:
            name = self._model.suitable
            self.instead.setText(f"Use {name} instead")
            self.instead.setToolTip(FALLBACK_TIP if name == FALLBACK else MODEL_TIP)


def place_text(residence: Residence) -> list[str]:
    """Return the short name of the hardware and the memory of the process."""
    # None if the process has ended or the system does not report it.
    n_bytes = process_bytes(residence.process_id)
    memory = [] if n_bytes is None else [size_text(n_bytes)]
    return [residence.hardware.partition(",")[0], *memory]


def place_tooltip(residence: Residence, knowledge: Compatibility | None) -> str:
    """Return the tooltip with known neurons, hardware, size of the weights and memory."""
    lines = [f"Device: {residence.hardware}"]
    if knowledge is not None and knowledge.n_known is None:
        lines.insert(0, "The model needs no embeddings: it predicts any recording")
    elif knowledge is not None and not knowledge.is_stored:
        lines.insert(0, "Neurons of this recording for which the model has embeddings")
    if residence.n_bytes:
        lines.append(f"Weights: {size_text(residence.n_bytes)}")
    if (n_bytes := process_bytes(residence.process_id)) is not None:
        lines.append(f"Memory of the process: {size_text(n_bytes)}")
    return "\n".join(lines)


def size_text(n_bytes: int) -> str:
    """Return e.g. `14 MB` or `1.2 GB`, in units of 1,024."""
    # From 1,000 MB on, `:.3g` would switch to an exponent.
    if n_bytes < 1000 * MIB:
        return f"{n_bytes / MIB:.3g} MB"
    return f"{n_bytes / MIB / 1024:.2g} GB"


class DownloadSection(QWidget):
    """Progress bar with a stop button; afterwards the problem, resume and dismiss."""

    def __init__(self, downloads: ModelDownloads) -> None:
        super().__init__()
        models = self._models = downloads
        self.bar = controls.progress_bar("Downloaded")
        tooltip = "Stop the download; the downloaded part stays on disk"
        self.stop = controls.push_button("Stop", tooltip, models.stop)
        self.progress = wrapped_label()
        self.problem = wrapped_label("alert", is_selectable=True)
        self.resume = controls.push_button("", "", models.start_or_resume)
        self.dismiss = controls.dismiss_button(models.clear)
        Form(self).add_rows(
            self.progress,
            row_of(self.bar, self.stop, stretch=0),
            self.problem,
            row_of(self.resume, self.dismiss, stretch=0),
        )

    def draw(self) -> None:
        """Show the current download.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        models = self._models
        busy: tuple[QWidget, ...] = (self.bar, self.stop, self.progress)
        for widget in busy:
            widget.setVisible(models.is_busy)
        self.progress.setText(f"◌ {models.name}: {models.message}…")
        controls.set_share(self.bar, models.share)
        # A new attempt removes the message about the previous one.
        problem = "" if models.is_busy else problem_of(models)
        self.problem.setText(problem)
        for widget in (self.problem, self.resume, self.dismiss):
            widget.setVisible(bool(problem))
        is_new = models.is_offered
        text = "Download" if is_new else "Resume"
        self.resume.setText("Try again" if models.error is not None else text)
        self.resume.setToolTip(
            "Download the model from the hub and use it"
            if is_new
            else "Continue after the last byte that was received"
        )
        self.dismiss.setToolTip(
            "Cancel: choose another model above" if is_new else "Cancel: keep the model"
        )


def problem_of(models: ModelDownloads) -> str:
    """Return why the requested model is missing, or ""."""
    if not models.name:
        return ""
    if models.error is not None:
        return f"✕ {models.name} was not downloaded: {models.error}"
    if models.is_offered:
        return f"{models.name} is not on this machine. Download it or choose another."
    if models.stopped_at is not None:
        at = f"{100 * models.stopped_at:z.0f} %"
        return f"{models.name}: stopped at {at}; the downloaded part stays on disk."
    return ""
