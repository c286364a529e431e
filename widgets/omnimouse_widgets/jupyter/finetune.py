"""Fine-tuning widget: start, watch and stop fine-tuning, and use its result."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from ipywidgets import VBox
from traitlets import Any as AnyTrait
from traitlets import Bool, Dict, Float, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_model.live.models.finetune import Point
from omnimouse_widgets.jupyter.form import SettingsForm, close_tree
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Buffer, Drawing, Part
from omnimouse_widgets.views import finetune as finetune_view
from omnimouse_widgets.views.finetune import (
    LOSS_COLOUR,
    SCORE_COLOUR,
    TIPS,
    FinetuneSettings,
    score_text,
    smoothed,
)
from omnimouse_widgets.views.form import Form

CONSTANTS: Final[dict[str, Any]] = {
    "tips": TIPS,
    "colours": {"loss": LOSS_COLOUR, "score": SCORE_COLOUR},
}


class FineTune(Part):
    """Fine-tuning of a model for a recording that it was not trained on.

    The widget is empty if the model knows the recording and no fine-tuning has run.

    Attributes
    ----------
    train
        Trained parameters: "embeddings", or "all" to include the core.
    steps
        Maximum number of steps; training stops earlier if the held-out score no longer
        increases.
    progress
        Progress from 0 to 1; read-only.
    status
        Progress, estimated cost or outcome, as text; read-only.
    is_shown
        Whether the widget has content; read-only.
    widget
        Form and part, as an ipywidget.
    """

    _esm = script("finetune")
    _css = style()
    # Both curves are sent as a whole: limit their redraws to five per second.
    INTERVAL_S = 0.2

    train = AnyTrait()
    steps = AnyTrait()
    progress = Float(0.0).tag(sync=True)
    status = Unicode("").tag(sync=True)
    is_shown = Bool(False).tag(sync=True)
    _constants = Dict(CONSTANTS).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._form = Form(FinetuneSettings)
        super().__init__(controller, **traits)
        for name in ("train", "steps"):
            read, write = partial(self._form.value, name), partial(self._set, name)
            self.bind(name, self._form.changed, read, write)
        self.form = SettingsForm(self._form, apply=self._start_from_page)
        self.widget = VBox([self, self.form])
        events, finetuning = controller.state.events, controller.finetuning
        for signal in (events.session, controller.results.changed, finetuning.changed):
            self._link(signal, self._follow)
        self._link(self._form.changed, self._follow)
        self._follow()

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of the text with buttons and of the curves."""
        controller = self._controller
        changed = [controller.finetuning.changed, self._form.changed]
        offered = [controller.state.events.session, controller.results.changed]
        return (
            Drawing(self._draw_view, [*offered, *changed]),
            Drawing(self._draw_curves, changed),
        )

    # -- what code may call -----------------------------------------------------------
    def start(self) -> "FineTune":
        """Start or resume fine-tuning in a separate process; see `wait`."""
        finetune_view.start(self._controller, self._form)
        return self

    def wait(self, timeout_s: float | None = None) -> "FineTune":
        """Wait until fine-tuning has ended and its result is the current model.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`; fine-tuning continues.
        Exception
            If fine-tuning failed.
        """
        finetuning = self._controller.finetuning
        if not finetuning.wait(timeout_s):
            raise TimeoutError(f"Not done after {timeout_s:z.0f} s: {finetuning.message}.")
        if finetuning.error is not None:
            raise finetuning.error
        return self

    def stop(self) -> None:
        """Stop fine-tuning; the latest checkpoint remains usable."""
        self._controller.finetuning.stop()

    def use(self) -> None:
        """Choose the result as the model; after a stop, the latest checkpoint."""
        finetune_view.use(self._controller, self._form.value("train"))

    # -- from the page ----------------------------------------------------------------
    def _start_from_page(self) -> None:
        with self.showing_problems():
            self.start()

    def on_start(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Start or resume fine-tuning."""
        self.start()

    def on_stop(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop fine-tuning."""
        self.stop()

    def on_use(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Choose the result as the model."""
        self.use()

    def on_dismiss(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop fine-tuning and remove its messages."""
        self._controller.finetuning.clear()

    # -- from state to screen ---------------------------------------------------------
    def _set(self, name: str, value: object) -> None:
        """Set a field by code; refuse a value that is not valid."""
        before = self._form.value(name)
        self._form.set(name, value)
        (field,) = (each for each in self._form.fields() if each.name == name)
        if field.reason or self._form.value(name) != value:
            self._form.set(name, before)
            raise ValueError(f"{name}: {field.reason or f'{value!r} is not offered'}.")

    def _view(self) -> finetune_view.FinetuneView:
        return finetune_view.finetune_view(self._controller, self._form)

    def _follow(self) -> None:
        view = self._view()
        self.set_trait("is_shown", view.is_shown)
        self.form.layout.display = None if view.has_choices else "none"
        # Text times False is "": a hidden widget has no status.
        self.set_trait("status", f"{view.title}: {view.text}" * view.is_shown)
        self.set_trait("progress", self._controller.finetuning.share)

    def _draw_view(self) -> None:
        view, finetuning = self._view(), self._controller.finetuning
        self.add_if_changed(
            "view",
            title=view.title,
            text=view.text,
            error=view.error,
            start=view.start,
            can_start=self._form.is_valid or not view.has_choices,
            use=view.use,
            is_busy=view.is_busy,
            has_choices=view.has_choices,
            folder=view.folder,
            share=finetuning.share if finetuning.stage == "training" else None,
            score=score_text(finetuning) if view.is_busy else "",
        )

    def _draw_curves(self) -> None:
        finetuning = self._controller.finetuning
        losses, scores = list(finetuning.losses), list(finetuning.validations)
        curves = (losses, smoothed(losses), scores)
        buffers: list[Buffer] = [_packed(points) for points in curves]
        # After early stopping the axis ends at the last step, not at the planned one.
        last = finetuning.step if finetuning.is_finished else finetuning.n_steps
        self.add_message("curves", buffers, last_step=last)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Display `widget`, which includes the form."""
        return self.widget._repr_mimebundle_(**options)

    def close(self) -> None:
        """Remove part and form from every page."""
        close_tree(self.form)
        self.widget.close()
        super().close()

    def __repr__(self) -> str:
        return "Run this cell to fine-tune with a live curve."


def _packed(points: Sequence[Point]) -> np.ndarray:
    """Return float32 (2 n,): the n steps, then the n values."""
    return np.array(points, np.float32).reshape(-1, 2).T.ravel()
