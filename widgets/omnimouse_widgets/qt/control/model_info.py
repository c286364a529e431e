"""Model information section: known neurons, missing inputs, device and memory."""

from typing import Final

from qtpy.QtWidgets import QPushButton, QWidget

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.fallback_baseline import ask_fitted
from omnimouse_model.predict.compatibility import FITTED, Knowledge, knowledge_of
from omnimouse_model.predict.devices import Residence, process_bytes
from omnimouse_widgets.qt.style.form import Form, QuietLine
from omnimouse_widgets.qt.style.theme import quiet_label

MIB: Final = 2**20


class KnowsSection(QWidget):
    """One line of information; if needed also missing inputs and a remedy."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.line = QuietLine()
        self.remedy, self.lacks = quiet_label("alert"), quiet_label()
        self.instead = QPushButton(f"Ask {FITTED} instead")
        self.instead.setToolTip(
            f"Fits {FITTED} to this session, and asks it; the session stays open.\n"
            f'In Python: om.load_predictor("{FITTED}", [session])'
        )
        self.instead.clicked.connect(lambda: ask_fitted(self._controller))
        form = Form(self)
        for widget in (self.line, self.remedy, self.instead, self.lacks):
            form.add("", widget)

    @property
    def knowledge(self) -> Knowledge | None:
        """Compatibility of model and session; None until both are known."""
        session, needs = self._controller.state.session, self._controller.results.needs
        # `needs` is known only after the model has been loaded.
        if session is None or needs is None:
            return None
        return knowledge_of(needs, session)

    def draw(self) -> None:
        """Show the current information.

        The panel calls this: an empty section is not visible and would not redraw.
        """
        knowledge, residence = self.knowledge, self._controller.results.residence
        known = [] if knowledge is None else [known_words(knowledge)]
        place = [] if residence is None else place_words(residence)
        line = " · ".join([*known, *place])
        self.line.set_words(line)
        self.line.setToolTip("" if residence is None else place_tooltip(residence))
        self.line.setVisible(bool(line))
        # A fine-tuning of this recording is the remedy: do not offer another one.
        is_at_it = self._controller.finetuning.is_of_screen
        remedy = "" if knowledge is None or is_at_it else knowledge.remedy
        self.remedy.setText(f"✕ {remedy}")
        self.remedy.setVisible(bool(remedy))
        self.instead.setVisible(bool(remedy))
        lacks = () if knowledge is None else knowledge.lacks
        self.lacks.setText("\n".join(f"• {words}" for words in lacks))
        self.lacks.setToolTip("What the model wants and this session does not have")
        self.lacks.setVisible(bool(lacks))


def known_words(knowledge: Knowledge) -> str:
    """Return e.g. `✓ 1,000 of 1,000 neurons known`."""
    sign = "✓" if knowledge.is_answered else "✕"
    known = " known" if knowledge.n_known else ""
    return f"{sign} {knowledge.words}{known}"


def place_words(residence: Residence) -> list[str]:
    """Return the short name of the hardware and the memory of the process."""
    # None if the process has ended or the system does not tell.
    held = process_bytes(residence.process_id)
    memory = [] if held is None else [size_words(held)]
    return [residence.hardware.partition(",")[0], *memory]


def place_tooltip(residence: Residence) -> str:
    """Return the tooltip with hardware, size of the weights and memory."""
    lines = [
        "Neurons of this session that the model has embeddings for",
        f"Computes on: {residence.hardware}",
    ]
    if residence.n_bytes:
        lines.append(f"Weights: {size_words(residence.n_bytes)}")
    if (held := process_bytes(residence.process_id)) is not None:
        lines.append(f"Its process holds {size_words(held)} of memory now")
    return "\n".join(lines)


def size_words(n_bytes: int) -> str:
    """Return e.g. `14 MB` or `1.2 GB`, in units of 1,024."""
    # From 1,000 MB on, `:.3g` would switch to an exponent.
    if n_bytes < 1000 * MIB:
        return f"{n_bytes / MIB:.3g} MB"
    return f"{n_bytes / MIB / 1024:.2g} GB"
