"""Pinned conditions: pin, remove, show, rename, and restore with their recording."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.live.inference.client import Requests
from omnimouse_model.live.mask.editor import MaskEditor
from omnimouse_model.live.mask.presets import is_preset, preset_named
from omnimouse_model.live.models.choice import ModelChoice
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.pin import MAX_PINS, SPAN_CHOICES, Pin, SpanChoice, is_same_predictor
from omnimouse_model.live.pin_predictions import PinPredictions

logger = logging.getLogger(__name__)

FULL = f"{MAX_PINS} conditions are pinned: unpin one first."
ALREADY = "Pinned already: {letter} {name}."
NO_ROOM = "“{name}” is not pinned again: {most} conditions are pinned; unpin one first."


class Pins:
    """Pinned conditions of the open session, in `state.pins`.

    Parameters
    ----------
    requests
        Requests of the live engine; pins are predicted when it is idle.
    model
        Chooses the predictor of a pin, and says which models are not on this machine.
    editor
        Shows the mask of a pin, and records the removal of a pin as an undo step.

    Attributes
    ----------
    predictions
        Results of the pins, and predictions over the span of the traces.
    changed
        Emitted after each update of pins, results or messages.
    notice
        Message why the latest action pinned nothing, "" if it succeeded.
    """

    def __init__(
        self, requests: Requests, lock: threading.RLock, model: ModelChoice, editor: MaskEditor
    ) -> None:
        self.notice = ""
        client = requests.client
        self._client, self._lock = client, lock
        self._model, self._editor = model, editor
        self._state = client.state
        # Pins of the recordings that were open before, by fingerprint.
        self._by_recording: dict[str, tuple[Pin, ...]] = {}
        self._saved: tuple[str, Mapping[str, Any]] = ("", {})
        self._absent: frozenset[str] = frozenset()
        # `events.session` no longer has the previous session when its pins are stored.
        self._session = self._state.session
        self.predictions = PinPredictions(requests.engine, client, lock, self.problem_of)
        requests.cancelled.connect(self.predictions.stop)
        self.changed = self.predictions.changed
        events = self._state.events
        events.session.connect(self._on_session)
        events.predictor_name.connect(self._on_predictor)
        for signal in (events.mask, events.predictor_name):
            signal.connect(self._clear_notice)
        editor.on_unpin = self._on_unpin
        model.downloads.changed.connect(self._on_download)

    # -- actions ----------------------------------------------------------------------
    def pin(self, name: str = "") -> Pin:
        """Pin the condition on screen in the first free slot, and return the pin.

        Without a name, the pin gets a unique one; a condition that is already pinned
        is then not pinned twice, but shown, and `notice` has a message.

        Raises
        ------
        ValueError
            No session is open, no predictor is chosen, or all slots are taken.
        """
        with self._lock:
            state, predictor = self._state, self._client.predictor
            if state.mask is None or predictor is None:
                raise ValueError("Open a recording and choose a model, then pin.")
            # A name given by the user distinguishes two pins of the same condition.
            if not name and (pin := self.same_pin) is not None:
                return self._show_pinned(pin)
            slot = self._free_slot(0)
            if slot is None:
                raise ValueError(FULL)
            pin = Pin(
                slot,
                name or self._own_name,
                state.mask,
                state.preset,
                predictor,
                state.predictor_name,
            )
            self._set((*state.pins, pin))
        return pin

    def pin_or_notify(self) -> None:
        """Pin the condition on screen, if any; set `notice` if pins are full."""
        if self.can_pin or self.same_pin is not None:
            self.pin()
        elif self.is_full:
            self.notice = FULL
            self.changed.emit()

    @property
    def condition_name(self) -> str:
        """Name of the condition on screen: label of its preset, or "by hand"."""
        preset = self._state.preset
        return preset_named(preset).label if is_preset(preset) else "by hand"

    @property
    def same_pin(self) -> Pin | None:
        """Pin with the mask and predictor on screen; None if there is none."""
        mask, predictor = self._state.mask, self._client.predictor
        for pin in self._state.pins:
            is_same = mask is not None and pin.mask.mask_id == mask.mask_id
            if is_same and is_same_predictor(pin.predictor, predictor):
                return pin
        return None

    @property
    def _own_name(self) -> str:
        """Unused name: the condition's name, then with its model, then a number."""
        name, taken = self.condition_name, {pin.name for pin in self._state.pins}
        models = {p.predictor_name for p in self._state.pins if p.name == name}
        if models and self._state.predictor_name not in models:
            name = f"{name} · {model_name(self._state.predictor_name)}"
        numbered = (f"{name} {n}" for n in range(2, MAX_PINS + 2))
        return next(each for each in (name, *numbered) if each not in taken)

    @property
    def is_full(self) -> bool:
        """Whether all slots are taken."""
        return len(self._state.pins) == MAX_PINS

    @property
    def can_pin(self) -> bool:
        """Whether there is a condition to pin and a free slot."""
        if self._state.mask is None or self._client.predictor is None:
            return False
        return not self.is_full

    def replace_all(self, pins: tuple[Pin, ...]) -> str:
        """Replace all pins; return a message about pins that cannot be predicted.

        A pin without a predictor takes the live one, if that has the pin's predictor
        name. Pins for another number of neurons are dropped.
        """
        with self._lock:
            session = self._state.session
            n_neurons = 0 if session is None else session.n_neurons
            fitting = [self._with_predictor(pin) for pin in pins if pin.mask.n_neurons == n_neurons]
            self._set(tuple(fitting))
            messages = [
                f"Its pinned {pin.letter} is not predicted: {problem}."
                for pin in fitting
                if (problem := self.problem_of(pin))
            ]
        if len(fitting) < len(pins):
            messages.append("Some of its pinned conditions are for other neurons.")
        return " ".join(messages)

    def unpin(self, slot: int) -> None:
        """Remove a pin as an undo step."""
        with self._lock:
            pin = self[slot]
            self.remove(pin)
            self._editor.note_unpinned(pin)

    def make_current(self, slot: int) -> None:
        """Make a pinned condition the live one; `undo` restores only the mask."""
        pin = self[slot]
        is_other = pin.predictor and not is_same_predictor(pin.predictor, self._client.predictor)
        # A mask of another spec must not be sent to the predictor of this one.
        is_foreign = pin.mask.spec != self._state.spec
        if is_other and is_foreign:
            self._model.choose(pin.predictor)
        self._editor.set_mask(pin.mask, f"Back to {pin.name}", pin.preset)
        if is_other and not is_foreign:
            self._model.choose(pin.predictor)

    def _on_unpin(self, pin: Pin, is_pinned: bool) -> None:
        """Undo or redo the removal of a pin."""
        (self.restore if is_pinned else self.remove)(pin)

    def restore(self, pin: Pin) -> None:
        """Restore a pin in its slot or another; set `notice` if none is free."""
        with self._lock:
            slot = self._free_slot(pin.slot)
            if slot is not None:
                self._set((*self._state.pins, replace(pin, slot=slot)))
                return
            self.notice = NO_ROOM.format(name=pin.name, most=MAX_PINS)
        self.changed.emit()

    def remove(self, pin: Pin) -> None:
        """Remove the pin with this `pin_id`, without an undo step."""
        with self._lock:
            pins = self._state.pins
            self._set(tuple(p for p in pins if p.pin_id != pin.pin_id))

    def rename(self, slot: int, name: str) -> None:
        """Rename a pin; an empty name changes nothing."""
        if name.strip():
            self._replace(slot, name=name.strip())

    def show(self, slot: int, is_shown: bool = True) -> None:
        """Show or hide a pin; hidden pins are not predicted."""
        self._replace(slot, is_shown=is_shown)

    def toggle(self, slot: int) -> None:
        """Show or hide the pin of a slot; an empty slot is ignored."""
        for pin in self._state.pins:
            if pin.slot == slot:
                self.show(slot, not pin.is_shown)

    def choose_span(self, choice: SpanChoice) -> None:
        """Choose the span of the traces; raise `ValueError` if it is unknown."""
        if choice not in SPAN_CHOICES:
            raise ValueError(f"A span is one of {SPAN_CHOICES}, not {choice!r}.")
        with self._lock:
            self._state.trace_span = choice

    def __getitem__(self, slot: int) -> Pin:
        for pin in self._state.pins:
            if pin.slot == slot:
                return pin
        raise KeyError(f"Nothing is pinned in slot {slot}.")

    # -- reading ----------------------------------------------------------------------
    def problem_of(self, pin: Pin) -> str:
        """Return why a pin has no predictor, "" if it has one."""
        if not pin.predictor:
            name = f"“{pin.predictor_name}”" if pin.predictor_name else "its model"
            return f"{name} is not the model chosen, and names no file"
        if isinstance(pin.predictor, str) and pin.predictor in self._absent:
            return f"{pin.predictor} is not on this machine; choose it to fetch it"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values that are saved for the next start."""
        state = self._state
        return {
            "pins": [pin.to_dict() for pin in state.pins],
            "span": state.trace_span,
            "common_scale": state.common_scale,
            "as_large": state.as_large,
        }

    def restore_later(self, path: str, values: Mapping[str, Any]) -> None:
        """Restore saved pins when the recording at `path` is opened."""
        self._saved = (path, values)

    # -- internal ---------------------------------------------------------------------
    def _free_slot(self, preferred: int) -> int | None:
        taken = {pin.slot for pin in self._state.pins}
        slots = (preferred, *range(MAX_PINS))
        return next((slot for slot in slots if slot not in taken), None)

    def _show_pinned(self, pin: Pin) -> Pin:
        """Show a pin, and set the message that it is already pinned."""
        self.show(pin.slot)
        self.notice = ALREADY.format(letter=pin.letter, name=pin.name)
        self.changed.emit()
        return self[pin.slot]

    def _replace(self, slot: int, **changes: Any) -> None:
        with self._lock:
            old = self[slot]
            new = replace(old, **changes)
            self._set(tuple(new if pin is old else pin for pin in self._state.pins))

    def _set(self, pins: tuple[Pin, ...]) -> None:
        self.notice = ""
        self._find_absent(pins)
        self._state.pins = tuple(sorted(pins, key=lambda pin: pin.slot))

    def _with_predictor(self, pin: Pin) -> Pin:
        """Return the pin with the live predictor, if it has none and names match."""
        predictor = self._client.predictor
        if pin.predictor or predictor is None:
            return pin
        is_same_name = pin.predictor_name in ("", self._state.predictor_name)
        return replace(pin, predictor=predictor) if is_same_name else pin

    def _find_absent(self, pins: tuple[Pin, ...]) -> None:
        """Find pins whose models must be downloaded, which only the user starts."""
        names = {p.predictor for p in pins if isinstance(p.predictor, str)}
        # Checked once per change and not per redraw: it reads the hub's cache on disk.
        self._absent = frozenset(filter(self._model.downloads.must_fetch, names))

    def _on_predictor(self) -> None:
        """Assign the new live predictor to pins that lack a predictor."""
        # Pins restored from a file have the name of their predictor only, if that was
        # an object.
        pins = tuple(map(self._with_predictor, self._state.pins))
        if any(new is not old for new, old in zip(pins, self._state.pins, strict=True)):
            self._set(pins)

    def _clear_notice(self) -> None:
        """Clear the message, because it is about the previous condition."""
        if self.notice:
            self.notice = ""
            self.changed.emit()

    def _on_download(self) -> None:
        """Predict pins whose model has just been downloaded."""
        if self._absent and not self._model.downloads.is_busy:
            before = self._absent
            self._find_absent(self._state.pins)
            if self._absent != before:
                self.predictions.update()

    def _on_session(self, session: Session | None) -> None:
        """Store the pins of the previous session and restore those of the new one."""
        if self._session is not None:
            self._by_recording[self._session.fingerprint] = self._state.pins
        self._session = session
        self.predictions.clear()
        pins: tuple[Pin, ...] = ()
        if session is not None:
            # By fingerprint: pins do not fit a recording whose files have changed.
            pins = self._by_recording.get(session.fingerprint, ())
            # Saved pins are used once, for the first opening of their recording.
            path, values = self._saved
            if path and path == str(session.path):
                self._saved = ("", {})
                pins = self._read(values, session) or pins
        self._find_absent(pins)
        self._state.pins = pins

    def _read(self, values: Mapping[str, Any], session: Session) -> tuple[Pin, ...]:
        """Return the pins of saved values; damaged pins are dropped and logged."""
        if values.get("span") in SPAN_CHOICES:
            self._state.trace_span = values["span"]
        self._state.common_scale = values.get("common_scale") is True
        self._state.as_large = values.get("as_large", True) is True
        pins: dict[int, Pin] = {}
        saved = values.get("pins")
        for one in saved if isinstance(saved, list) else ():
            try:
                pin = Pin.from_dict(one, "", session.n_neurons)
                pins[pin.slot] = self._with_predictor(pin)
            except (MaskError, KeyError, TypeError, ValueError) as error:
                logger.warning("A pinned condition could not be read: %s", error)
        return tuple(pins[slot] for slot in sorted(pins))
