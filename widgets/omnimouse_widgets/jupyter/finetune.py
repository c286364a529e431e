"""Fine-tuning widget: the panel *Fine-tuning* in a notebook, with traits and `wait`."""

from functools import partial
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, Float, Unicode

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.panel import RecordPart
from omnimouse_widgets.views.finetune import FinetuneView


class FineTune(RecordPart):
    """Fine-tuning of a model for a recording that it was not trained on.

    The widget is empty if the model knows the recording and no fine-tuning has run.

    Attributes
    ----------
    train
        Trained parameters: "embeddings", or "all" to include the core; None if the
        family of the model has no such option.
    steps
        Maximum number of steps; training stops earlier if the held-out score no longer
        increases. None if the family of the model has no such option.
    progress
        Progress from 0 to 1; read-only.
    status
        Progress, estimated cost or outcome, as text; read-only.
    is_shown
        Whether the widget has content; read-only.
    """

    # Both curves are sent as a whole: limit their redraws to five per second.
    INTERVAL_S = 0.2

    train = AnyTrait()
    steps = AnyTrait()
    progress = Float(0.0).tag(sync=True)
    status = Unicode("").tag(sync=True)
    is_shown = Bool(False).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._finetuning = controller.finetuning
        self._view = view = FinetuneView.of(controller)
        super().__init__(view, controller, **traits)
        for name in ("train", "steps"):
            read = partial(view.value, name)
            self.bind(name, view.signals, read, partial(self._set, name))
        self.bind("progress", view.signals, self._share)
        self.bind("status", view.signals, lambda: view.status)
        self.bind("is_shown", view.signals, lambda: view.is_shown)
        self.observe(self._show, "is_shown")
        self._show()

    # -- what code may call -----------------------------------------------------------
    def start(self) -> "FineTune":
        """Start or resume fine-tuning in a separate process; see `wait`."""
        self._view.start()
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
        finetuning = self._finetuning
        if not finetuning.wait(timeout_s):
            raise TimeoutError(f"Not done after {timeout_s:z.0f} s: {finetuning.message}.")
        if finetuning.error is not None:
            raise finetuning.error
        return self

    def stop(self) -> None:
        """Stop fine-tuning; the latest checkpoint remains usable."""
        self._finetuning.stop()

    def use(self) -> None:
        """Choose the result as the model; after a stop, the latest checkpoint."""
        self._view.use()

    # -- from state to screen ---------------------------------------------------------
    def _set(self, name: str, value: object) -> None:
        """Set a field by code; refuse a value that is not valid."""
        form, before = self._view.form, self._view.value(name)
        if before is None:
            raise ValueError(f"{name}: the chosen model has no such option.")
        form.set(name, value)
        (field,) = (each for each in form.fields() if each.name == name)
        if field.reason or form.value(name) != value:
            form.set(name, before)
            raise ValueError(f"{name}: {field.reason or f'{value!r} is not offered'}.")

    def _share(self) -> float:
        finetuning = self._finetuning
        return 1.0 if finetuning.is_finished else finetuning.share

    def _show(self, _: object = None) -> None:
        self.layout.display = None if self.is_shown else "none"

    def __repr__(self) -> str:
        return "Run this cell to fine-tune with a live curve."
