"""Model information section: known neurons, missing inputs, device and memory."""

from typing import Final

from qtpy.QtWidgets import QWidget

from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.models.finetune import Finetuning
from omnimouse_model.live.results import Results
from omnimouse_model.live.state import LiveState
from omnimouse_model.predict.compatibility import (
    FALLBACK,
    Compatibility,
    check_compatibility,
)
from omnimouse_model.predict.devices import Residence, process_bytes
from omnimouse_widgets.qt.style.controls import push_button, show_text
from omnimouse_widgets.qt.style.form import Form, QuietLine
from omnimouse_widgets.qt.style.theme import wrapped_label
from omnimouse_widgets.views.text.model import FINETUNE_TIP, stand_in_text

MIB: Final = 2**20
FALLBACK_TIP: Final = (
    f"Fit {FALLBACK} to this session and use it; the session stays open.\n"
    f'In Python: om.load_predictor("{FALLBACK}", [session])'
)
MODEL_TIP: Final = "Use the model that was trained on this sample"


class ModelInfoSection(QWidget):
    """One line of information; if needed also missing inputs and a remedy."""

    def __init__(
        self, state: LiveState, results: Results, model: ModelChoice, finetuning: Finetuning
    ) -> None:
        super().__init__()
        self._state, self._results, self._model = state, results, model
        self._finetuning = finetuning
        self.line = QuietLine()
        self.remedy, self.missing = wrapped_label("alert"), wrapped_label()
        self.missing.setToolTip("Inputs that the model needs and this session lacks")
        self.instead = push_button("", "", lambda: model.choose(model.suitable))
        self.stand_in = wrapped_label("quiet")
        self.finetune = push_button("", FINETUNE_TIP, lambda: model.choose(model.unfamiliar))
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
        self.line.setToolTip("" if residence is None else place_tooltip(residence))
        self.line.setVisible(bool(line))
        # A fine-tuning of this recording is the remedy: do not offer another one.
        is_finetuned = self._finetuning.is_of_screen
        remedy = "" if knowledge is None or is_finetuned else knowledge.remedy
        show_text(self.remedy, f"✕ {remedy}" if remedy else "")
        unfamiliar = "" if is_finetuned else self._model.unfamiliar
        show_text(self.stand_in, stand_in_text(unfamiliar))
        self.finetune.setVisible(bool(unfamiliar))
        self.finetune.setText(f"Fine-tune {unfamiliar}…")
        self._draw_instead(is_shown=bool(remedy))
        missing = () if knowledge is None else knowledge.missing
        show_text(self.missing, "\n".join(f"• {text}" for text in missing))

    def _draw_instead(self, *, is_shown: bool) -> None:
        self.instead.setVisible(is_shown)
        if is_shown:
            name = self._model.suitable
            self.instead.setText(f"Use {name} instead")
            self.instead.setToolTip(FALLBACK_TIP if name == FALLBACK else MODEL_TIP)


def known_text(knowledge: Compatibility) -> str:
    """Return e.g. `✓ 1,000 of 1,000 neurons known`."""
    sign = "✓" if knowledge.is_supported else "✕"
    known = " known" if knowledge.n_known else ""
    return f"{sign} {knowledge.text}{known}"


def place_text(residence: Residence) -> list[str]:
    """Return the short name of the hardware and the memory of the process."""
    # None if the process has ended or the system does not report it.
    n_bytes = process_bytes(residence.process_id)
    memory = [] if n_bytes is None else [size_text(n_bytes)]
    return [residence.hardware.partition(",")[0], *memory]


def place_tooltip(residence: Residence) -> str:
    """Return the tooltip with hardware, size of the weights and memory."""
    lines = [
        "Neurons of this session for which the model has embeddings",
        f"Device: {residence.hardware}",
    ]
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
