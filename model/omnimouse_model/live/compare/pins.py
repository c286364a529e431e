"""Pinned conditions and longer spans: user actions and predictions.

Missing predictions are requested after the live request has finished and are cancelled
by a newer live request. Predictions of the window are kept until the window changes,
those of spans until the page changes. Pins are restored with their recording.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from omnimouse_model.data.session import Session
from omnimouse_model.errors import MaskError
from omnimouse_model.live.compare.answers import LIVE as LIVE
from omnimouse_model.live.compare.answers import PinResult as PinResult
from omnimouse_model.live.compare.answers import PinResults
from omnimouse_model.live.inference.client import LiveClient
from omnimouse_model.live.inference.engine import Answer, Engine
from omnimouse_model.live.inference.pinned_stages import (
    PinRequest,
    PinStage,
    PinTask,
    is_same_predictor,
    is_same_task,
)
from omnimouse_model.live.mask.presets import PRESETS
from omnimouse_model.live.pin import MAX_PINS, Pin
from omnimouse_model.live.spans import (
    SPAN_CHOICES,
    Page,
    SpanChoice,
    page_around,
)

if TYPE_CHECKING:
    from omnimouse_model.live.controller import Controller

logger = logging.getLogger(__name__)

FULL = f"{MAX_PINS} conditions are pinned: unpin one first."
ALREADY = "Pinned already: {letter} {name}."
NO_ROOM = "“{name}” is not pinned again: {most} conditions are pinned; unpin one first."


class Pins:
    """Pinned conditions of the open session; `controller.pins`.

    Parameters
    ----------
    engine
        Live engine; pins are predicted when it is idle.
    asking
        Client of the live engine, which knows the chosen predictor.
    lock
        Held while pins or answers change.
    controller
        Controller that takes over a pin's mask and predictor.
    note_unpinned
        Called with each pin that `unpin` removes, to record the undo step.

    Attributes
    ----------
    changed
        Emitted after each update of answers or messages.
    windows
        Answers by slot for the window on screen.
    spans
        Answers by slot, and of `LIVE`, for the page on screen.
    notice
        Message why the latest action pinned nothing, "" if it succeeded.
    """

    changed = Signal()

    def __init__(
        self,
        engine: Engine,
        client: LiveClient,
        lock: threading.RLock,
        controller: "Controller",
        note_unpinned: Callable[[Pin], None],
    ) -> None:
        self._note_unpinned = note_unpinned
        self.notice = ""
        self._known = PinResults()
        self.windows, self.spans = self._known.windows, self._known.spans
        self._engine, self._client, self._lock = engine, client, lock
        self._controller = controller
        self._state, self._answers = controller.state, controller.results
        self._asked: tuple[int, tuple[PinTask, ...]] = (0, ())
        self._n_loaded = 0
        self._is_given_up = False
        self._kept: dict[str, tuple[Pin, ...]] = {}
        self._recalled: tuple[str, Mapping[str, Any]] = ("", {})
        self._absent: frozenset[str] = frozenset()
        # `events.session` no longer has the previous session when its pins are stored.
        self._session = self._state.session
        engine.answered.connect(self._take)
        self._answers.changed.connect(self._on_live_answer)
        events = self._state.events
        events.session.connect(self._on_session)
        events.window.connect(self._on_window)
        events.predictor_name.connect(self._on_predictor)
        for signal in (events.mask, events.predictor_name):
            signal.connect(self._forget_told)
        controller.downloads.changed.connect(self._on_models)
        for signal in (events.pins, events.trace_span, events.selection):
            signal.connect(self._on_change)

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
                raise ValueError("Open a session and choose a predictor, then pin.")
            if not name and (alike := self.same_pin) is not None:
                return self._say_pinned(alike)
            taken = {pin.slot for pin in state.pins}
            free = [slot for slot in range(MAX_PINS) if slot not in taken]
            if not free:
                raise ValueError(FULL)
            made = Pin(
                free[0],
                name or self._own_name,
                state.mask,
                state.preset,
                predictor,
                state.predictor_name,
            )
            self._set((*state.pins, made))
        return made

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
        labels = {preset.name: preset.label for preset in PRESETS}
        return labels.get(self._state.preset, "by hand")

    @property
    def same_pin(self) -> Pin | None:
        """Pin with the mask and predictor on screen; None if there is none."""
        mask, asked = self._state.mask, self._client.predictor
        for pin in self._state.pins:
            is_same = mask is not None and pin.mask.mask_id == mask.mask_id
            if is_same and is_same_predictor(pin.predictor, asked):
                return pin
        return None

    @property
    def _own_name(self) -> str:
        """Unused name: the condition's name, then with its model, then a number."""
        name, taken = self.condition_name, {pin.name for pin in self._state.pins}
        known = {p.predictor_name for p in self._state.pins if p.name == name}
        if known and self._state.predictor_name not in known:
            name = f"{name} · {Path(self._state.predictor_name).name}"
        numbered = (f"{name} {n}" for n in range(2, MAX_PINS + 2))
        return next(each for each in (name, *numbered) if each not in taken)

    @property
    def is_full(self) -> bool:
        """Whether all slots are taken."""
        return len(self._state.pins) == MAX_PINS

    @property
    def can_pin(self) -> bool:
        """Whether there is a condition to pin and a free slot."""
        is_there = self._state.mask is not None and self._client.predictor is not None
        return is_there and not self.is_full

    def replace_all(self, pins: tuple[Pin, ...]) -> str:
        """Replace all pins; return a message about pins that cannot be predicted.

        A pin without a predictor takes the live one, if that has the pin's predictor
        name. Pins for another number of neurons are dropped.
        """
        with self._lock:
            session = self._state.session
            n_neurons = 0 if session is None else session.n_neurons
            kept = [
                self._with_predictor(pin)
                for pin in pins
                if pin.mask.n_neurons == n_neurons
            ]
            self._set(tuple(kept))
            told = [
                f"Its pinned {pin.letter} is not predicted: {why}."
                for pin in kept
                if (why := self.problem_of(pin))
            ]
        if len(kept) < len(pins):
            told.append("Some of its pinned conditions are for other neurons.")
        return " ".join(told)

    def unpin(self, slot: int) -> None:
        """Remove a pin as an undo step."""
        with self._lock:
            gone = self[slot]
            self.remove(gone)
            self._note_unpinned(gone)

    def restore(self, pin: Pin) -> None:
        """Restore a pin in its slot or another; set `notice` if none is free."""
        with self._lock:
            taken = {other.slot for other in self._state.pins}
            free = [s for s in (pin.slot, *range(MAX_PINS)) if s not in taken]
            if free:
                self._set((*self._state.pins, replace(pin, slot=free[0])))
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

    def make_current(self, slot: int) -> None:
        """Make a pin the live condition; `undo` restores only the mask."""
        pin = self[slot]
        is_other = pin.predictor and not is_same_predictor(
            pin.predictor, self._client.predictor
        )
        # A mask of another spec must not be sent to the predictor of this one.
        is_foreign = pin.mask.spec != self._state.spec
        if is_other and is_foreign:
            self._controller.choose_predictor(pin.predictor)
        self._controller.set_mask(pin.mask, f"Back to {pin.name}", pin.preset)
        if is_other and not is_foreign:
            self._controller.choose_predictor(pin.predictor)

    def choose_span(self, choice: SpanChoice) -> None:
        """Choose the span of the traces; raise `ValueError` if it is unknown."""
        if choice not in SPAN_CHOICES:
            raise ValueError(f"A span is one of {SPAN_CHOICES}, not {choice!r}.")
        with self._lock:
            self._state.trace_span = choice

    def stop(self) -> None:
        """Stop predicting pins until the next change; keep the answers so far."""
        with self._lock:
            self._is_given_up = True
            if self.is_busy:
                self._asked = (0, ())
                self._engine.cancel()
            self.changed.emit()

    def __getitem__(self, slot: int) -> Pin:
        for pin in self._state.pins:
            if pin.slot == slot:
                return pin
        raise KeyError(f"Nothing is pinned in slot {slot}.")

    # -- reading ----------------------------------------------------------------------
    @property
    def pinned(self) -> tuple[Pin, ...]:
        """Pins, sorted by slot."""
        return self._state.pins

    @property
    def is_busy(self) -> bool:
        """Whether a request of pins or spans runs."""
        return self._asked[0] > 0

    @property
    def message(self) -> str:
        """Progress message; "" if nothing is being predicted."""
        missing = [q for q in self._asked[1] if not self._known.has(q)]
        if not self.is_busy or not missing:
            return ""
        first = missing[0]
        who = "" if first.slot == LIVE else f"{self[first.slot].letter} "
        if first.page is None:
            return f"Predicting {who}".strip()
        known = self.spans.get(first.slot)
        span = known.span if known is not None and known.question is first else None
        far = f" {span.n_done} of {len(span.starts_s)}" if span is not None else ""
        return f"Predicting {who}{first.page[1] - first.page[0]:.0f} s{far}"

    @property
    def page(self) -> Page | None:
        """Span shown by the traces, None if it is the window itself."""
        state = self._state
        if state.session is None or state.window is None:
            return None
        return page_around(state.session, state.window, state.trace_span)

    def problem_of(self, pin: Pin) -> str:
        """Return why a pin has no predictor, "" if it has one."""
        if not pin.predictor:
            who = f"“{pin.predictor_name}”" if pin.predictor_name else "its model"
            return f"{who} is not the model chosen, and names no file"
        if isinstance(pin.predictor, str) and pin.predictor in self._absent:
            return f"{pin.predictor} is not on this machine; choose it to fetch it"
        return ""

    def is_old(self, answer: PinResult) -> bool:
        """Whether an answer belongs to an older mask, predictor or page."""
        asked = self._question_of(answer.question.slot, answer.question.page)
        return asked is None or not is_same_task(asked, answer.question)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values that are saved for the next start."""
        pins = [pin.to_dict() for pin in self._state.pins]
        state = self._state
        return {
            "pins": pins,
            "span": state.trace_span,
            "common_scale": state.common_scale,
            "as_large": state.as_large,
        }

    def restore_later(self, path: str, facts: Mapping[str, Any]) -> None:
        """Restore saved pins when the recording at `path` is opened."""
        self._recalled = (path, facts)

    # -- listeners --------------------------------------------------------------------
    def _say_pinned(self, pin: Pin) -> Pin:
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
        self._look_for(pins)
        self._state.pins = tuple(sorted(pins, key=lambda pin: pin.slot))

    def _with_predictor(self, pin: Pin) -> Pin:
        """Return the pin with the live predictor, if it has none and names match."""
        asked = self._client.predictor
        if pin.predictor or asked is None:
            return pin
        is_called_so = pin.predictor_name in ("", self._state.predictor_name)
        return replace(pin, predictor=asked) if is_called_so else pin

    def _look_for(self, pins: tuple[Pin, ...]) -> None:
        """Find pins whose models must be downloaded, which only the user starts."""
        names = {p.predictor for p in pins if isinstance(p.predictor, str)}
        self._absent = frozenset(filter(self._controller.must_fetch, names))

    def _on_predictor(self) -> None:
        """Assign the new live predictor to pins that lack a predictor."""
        pins = tuple(map(self._with_predictor, self._state.pins))
        if any(new is not old for new, old in zip(pins, self._state.pins, strict=True)):
            self._set(pins)

    def _forget_told(self) -> None:
        """Clear the message, because it is about the previous condition."""
        if self.notice:
            self.notice = ""
            self.changed.emit()

    def _on_models(self) -> None:
        """Predict pins whose model has just been downloaded."""
        if self._absent and not self._controller.downloads.is_busy:
            before = self._absent
            self._look_for(self._state.pins)
            if self._absent != before:
                self._on_change()

    def _on_session(self, session: Session | None) -> None:
        """Store the pins of the previous session and restore those of the new one."""
        if self._session is not None:
            self._kept[self._session.fingerprint] = self._state.pins
        self._session = session
        self._forget()
        pins: tuple[Pin, ...] = ()
        if session is not None:
            # By fingerprint: pins do not fit a recording whose files have changed.
            pins = self._kept.get(session.fingerprint, ())
            # Saved pins are used once, for the first opening of their recording.
            path, facts = self._recalled
            if path and path == str(session.path):
                self._recalled = ("", {})
                pins = self._read(facts, session) or pins
        self._look_for(pins)
        self._state.pins = pins

    def _read(self, facts: Mapping[str, Any], session: Session) -> tuple[Pin, ...]:
        """Return the pins of saved values; damaged pins are dropped and logged."""
        if facts.get("span") in SPAN_CHOICES:
            self._state.trace_span = facts["span"]
        self._state.common_scale = facts.get("common_scale") is True
        self._state.as_large = facts.get("as_large") is True
        pins: dict[int, Pin] = {}
        found = facts.get("pins")
        for one in found if isinstance(found, list) else ():
            try:
                pin = Pin.from_dict(one, "", session.n_neurons)
                pins[pin.slot] = self._with_predictor(pin)
            except (MaskError, KeyError, TypeError, ValueError) as error:
                logger.warning("A pinned condition could not be read: %s", error)
        return tuple(pins[slot] for slot in sorted(pins))

    def _on_window(self) -> None:
        """Drop answers that do not belong to the new window or its page."""
        page = self.page
        self._known.keep_page(page)
        self._is_given_up = False
        self.changed.emit()

    def _on_change(self) -> None:
        # Any change of pins, span or selection ends the effect of `stop`.
        self._is_given_up = False
        asked = (pin.slot for pin in self._state.pins if not self.problem_of(pin))
        self._known.keep_slots({LIVE, *asked})
        if self._state.trace_span == "window":
            self.spans.clear()
        self.changed.emit()
        self._ask_if_due()

    def _forget(self) -> None:
        self._known.clear()
        self._asked = (0, ())

    # -- requests ---------------------------------------------------------------------
    def _on_live_answer(self) -> None:
        if self._answers.is_awaited:
            self._is_given_up = False
            # The engine stops the pins' request in favour of the live one; it is sent
            # again after the live request.
            if self.is_busy:
                self._asked = (0, ())
                self.changed.emit()
        else:
            self._ask_if_due()

    def _ask_if_due(self) -> None:
        with self._lock:
            state = self._state
            if self._is_given_up or self._answers.is_awaited:
                return
            if state.session is None or state.window is None or state.mask is None:
                return
            missing = tuple(q for q in self._wanted() if not self._known.has(q))
            names = {p.predictor for p in state.pins if isinstance(p.predictor, str)}
            # The live predictor is loaded by the live request, not by the pins.
            names.discard(str(self._client.predictor))
            # A request without questions still has an effect: it releases predictors
            # that no pin uses any more.
            if not missing and len(names) >= self._n_loaded:
                return
            if self._is_asked(missing):
                return
            self._n_loaded = len(names)
            request = PinRequest(
                state.session,
                state.window,
                state.mask,
                state.device,
                missing,
                frozenset(names),
                self._client.step_s,
            )
            self._asked = (self._engine.newest + 1, missing)
            self._engine.submit(request)
        self.changed.emit()

    def _is_asked(self, questions: tuple[PinTask, ...]) -> bool:
        """Whether exactly these questions are being predicted."""
        under_way = [q for q in self._asked[1] if not self._known.has(q)]
        return len(under_way) == len(questions) > 0 and all(
            is_same_task(one, other)
            for one, other in zip(under_way, questions, strict=True)
        )

    def _wanted(self) -> list[PinTask]:
        """Return all questions: pins in the window, then spans, `LIVE` first."""
        # A window is fast to predict; a span has many windows.
        slots = [pin.slot for pin in self._state.pins if pin.is_shown]
        wanted = [self._question_of(slot, None) for slot in slots]
        page = self.page
        if page is not None and self._state.selection:
            wanted += [self._question_of(slot, page) for slot in (LIVE, *slots)]
        return [question for question in wanted if question is not None]

    def _question_of(self, slot: int, page: Page | None) -> PinTask | None:
        """Return the current question of a slot; None without a predictor."""
        neurons = self._state.selection if page is not None else ()
        if slot == LIVE:
            mask, predictor = self._state.mask, self._client.predictor
            if mask is None or predictor is None:
                return None
            return PinTask(slot, mask, predictor, page, neurons)
        for pin in self._state.pins:
            if pin.slot == slot and not self.problem_of(pin):
                return PinTask(slot, pin.mask, pin.predictor, page, neurons)
        return None

    def _take(self, answer: Answer) -> None:
        with self._lock:
            if answer.kind == "stage":
                if isinstance(answer.value, PinStage):
                    self._take_stage(answer.value)
                return
            if answer.number != self._asked[0]:
                return
            questions, self._asked = self._asked[1], (0, ())
            # Errors of predictors arrive as stages; this one is unexpected. Storing it
            # for all questions prevents an endless repetition of the request.
            if answer.kind == "error":
                for question in questions:
                    self._known.keep(PinResult(question, error=str(answer.error)))
        self.changed.emit()

    def _take_stage(self, stage: PinStage) -> None:
        question = stage.question
        if question is None or stage.request.session is not self._state.session:
            return
        if question.page is None and stage.request.window is not self._state.window:
            return
        # The slot may hold another pin by now, or its predictor may have changed.
        now = self._question_of(question.slot, question.page)
        if now is None or not is_same_task(now, question):
            return
        if question.page is not None and question.page != self.page:
            return
        self._known.keep(
            PinResult(question, stage.prediction, stage.scores, stage.span, stage.error)
        )
        self.changed.emit()
