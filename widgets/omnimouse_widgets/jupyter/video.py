"""Video widget: the session's video, with scrubbing and playback in the page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from time import monotonic
from typing import Any, Final

import numpy as np
from psygnal import SignalInstance
from traitlets import Bool, Float, Int

from omnimouse_model.data.edit_protocol import VideoEdit
from omnimouse_model.data.session import Session
from omnimouse_model.data.window import Window
from omnimouse_model.live.controller import Controller
from omnimouse_model.masks import N_SAMPLES
from omnimouse_widgets import palette
from omnimouse_widgets.drawn.traces.playback import (
    SAMPLE_HZ,
    SPEEDS,
    STRIDES,
    advance,
    stride_words,
)
from omnimouse_widgets.drawn.traces.tier_band import kind_bars, letters_in, tier_bars
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawn, Part

CHUNK: Final = 256
"""Frames per message: 8.5 s of video, 590 kB."""
_READ: Final = 64
"""Frames read at once; limits the memory for large frames before they are scaled."""
_DRIVES_S: Final = 0.5
"""Time in seconds for which one page keeps control of the window during playback."""
_N_BINS: Final = 1000


class VideoScrubber(Part):
    """Video frame at the cursor, visible frames of the mask, and session overview.

    The page requests frames in chunks around the playhead and caches the latest 64 MB,
    so that scrubbing and playback do not wait for the kernel. It sends the position of
    the playhead 30 times per second, and the window follows.

    Attributes
    ----------
    time_s
        Time of the playhead on the session clock, in seconds.
    cursor
        Position of the playhead in the window, 0-59.
    playing
        Whether the page moves the cursor; False when no page shows the widget.
    rate
        Playback speed in session seconds per second: 0.25, 0.5, 1 or 2.
    stride
        Step of the window in samples when the cursor passes its end: 60, 30, 15 or 3.
    """

    # Most drawings are a position of a few bytes.
    AHEAD = 8

    _esm = script("video")
    _css = style("video")

    time_s = Float(0.0)
    cursor = Int(0).tag(sync=True)
    playing = Bool(False).tag(sync=True)
    rate = Float(1.0, min=0.05, max=8.0).tag(sync=True)
    stride = Int(N_SAMPLES, min=1, max=N_SAMPLES).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        # `_wanted`: chunk numbers by view, most urgent first. `_film`: fingerprint of
        # the session, so that late messages about another session are ignored.
        # `_jumps`: number of position changes that did not come from a page; a page
        # that plays follows a position only if this number has changed.
        self._more_wanted = SignalInstance()
        self._wanted: dict[str, list[int]] = {}
        self._film = ""
        self._jumps = 0
        self._mover = 0
        self._driver = ("", 0.0)
        super().__init__(controller, **traits)
        state, events = controller.state, controller.state.events
        self.bind("cursor", events.cursor, lambda: state.cursor, controller.set_cursor)
        self.bind("time_s", [events.window, events.cursor], self._time, self.go_to)
        for signal in (events.window, events.cursor):
            self._link(signal, self._note_jump)
        self.observe(lambda _: self._let_drive(""), "playing")

    def parts(self) -> Sequence[Drawn]:
        """Return the drawing functions of session, playhead, mask, edits and chunks."""
        events = self._controller.state.events
        return (
            Drawn(self._draw_film, [events.session]),
            Drawn(self._draw_place, [events.window, events.cursor]),
            Drawn(self._draw_frames, [events.mask]),
            Drawn(self._draw_edited, [events.edits, events.window]),
            Drawn(self._draw_chunk, [self._more_wanted]),
        )

    def left(self) -> None:
        """Stop playback and drop the requests for frames."""
        self.playing = False
        self._wanted.clear()

    # -- what code may call -----------------------------------------------------------
    def go_to(self, time_s: float) -> None:
        """Move the playhead to a time in seconds, and the window if necessary.

        Raises
        ------
        ValueError
            If no session is open.
        """
        session = self._controller.state.session
        if session is None:
            raise ValueError("No session is open; call open_session(path) first.")
        start_s = float(session.start_grid[0]) - session.t0
        self._go(round((time_s - start_s) * SAMPLE_HZ), slides=False)

    # -- from the page ----------------------------------------------------------------
    def on_want(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Queue chunks of frames in this order; replaces the earlier requests."""
        if content["film"] == self._film:
            self._wanted[str(content["view"])] = [int(n) for n in content["chunks"]]
            self._more_wanted.emit()

    def on_go(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move to the playhead position of a page."""
        # Two pages that play the same session would pull the window back and forth.
        view, plays = str(content["view"]), bool(content["plays"])
        driver, at = self._driver
        if plays and driver not in ("", view) and monotonic() - at < _DRIVES_S:
            return
        self._let_drive(view if plays else "")
        if content["film"] == self._film:
            with self._moving():
                self._go(int(content["at"]), slides=plays)

    def stroke_name(self, _content: dict[str, Any]) -> str:
        """Return the name of the undo step of a stroke over frames."""
        return "Paint frames"

    def on_paint(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Show or hide runs of frames (first, last + 1)."""
        mask = self._controller.state.mask
        if mask is not None:
            frames = mask.frames.copy()
            for first, stop in content["runs"]:
                frames[int(first) : int(stop)] = bool(content["visible"])
            self._controller.set_frames(frames)

    # -- the playhead -----------------------------------------------------------------
    def _go(self, at: int, *, slides: bool) -> None:
        """Move the playhead to an index of the session's 30 Hz grid.

        With `slides`, the window moves by `stride` if the cursor passes its end.
        """
        state = self._controller.state
        session, window = state.session, state.window
        if session is None or window is None:
            return
        at = min(max(at, 0), len(session.start_grid) - 1)
        cursor = at - window.start_index
        if slides and cursor >= N_SAMPLES:
            advance(self._controller, cursor - state.cursor, self.stride)
            return
        if not 0 <= cursor < N_SAMPLES:
            # Keep the cursor at its position in the window. Near an end of the session
            # the window cannot move as far, so compute the cursor from its real start.
            start = max(at - state.cursor, 0)
            self._controller.seek(_seconds(session, start))
            assert state.window is not None
            cursor = at - state.window.start_index
        self._controller.set_cursor(cursor)

    def _time(self) -> float:
        state = self._controller.state
        if state.window is None:
            return 0.0
        at = state.window.start_index + state.cursor
        return _seconds(state.window.session, at)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Do not count position changes on this thread inside the block as jumps."""
        # Signals are emitted on the thread of the change, so its id identifies them.
        self._mover = get_ident()
        try:
            yield
        finally:
            self._mover = 0

    def _let_drive(self, view: str) -> None:
        self._driver = (view, monotonic())

    def _note_jump(self) -> None:
        if self._mover != get_ident():
            self._jumps += 1

    # -- to the page ------------------------------------------------------------------
    def _draw_film(self) -> None:
        """Send the length of the session, its trials and the texts."""
        session = self._controller.state.session
        self._film = "" if session is None else session.fingerprint
        self._wanted.clear()
        if session is None:
            self.show("film", film="", frames=0)
            return
        # Binned, so that the size of the message does not grow with the session.
        overview = session.overview(_N_BINS)
        bars = tier_bars(overview)
        # t_on is in seconds on the session clock.
        trials = np.sort(session.trials.t_on)
        self.show(
            "film",
            [trials.astype(np.float32)],
            film=self._film,
            frames=len(session.start_grid),
            chunk=CHUNK,
            start_s=_seconds(session, 0),
            has_video=session.stimulus is not None,
            bars=[[*_numbers(bar.start_s, bar.stop_s), bar.tier, bar.colour, bar.height,
                   bar.letter] for bar in bars],
            letters=letters_in(bars),
            kinds=[[*_numbers(bar.start_s, bar.stop_s), bar.kind, bar.colour,
                    bar.height]
                   for bar in kind_bars(overview)] if overview.has_trials else [],
            has_trials=overview.has_trials,
            speeds=list(SPEEDS),
            strides=[[stride, stride_words(stride)] for stride in STRIDES],
            colours={"visible": palette.VISIBLE, "problem": palette.PROBLEM,
                     "cursor": palette.CURSOR, "edited": palette.EDITED},
        )  # fmt: skip

    def _draw_place(self) -> None:
        """Send the positions of window and cursor."""
        # Read before the state: an old number with a newer position is corrected by the
        # next drawing, whereas a new number with an old position would move the page.
        done, jumps = dict(self.done), self._jumps
        state = self._controller.state
        if state.window is not None:
            start, cursor = state.window.start_index, state.cursor
            driver, _ = self._driver
            self.show(
                "place",
                start=start,
                cursor=cursor,
                driver=driver,
                jumps=jumps,
                done=done,
            )

    def _draw_frames(self) -> None:
        """Send which frames of the window are visible to the model."""
        done, mask = dict(self.done), self._controller.state.mask
        visible = [] if mask is None else mask.frames.astype(int).tolist()
        self.keep("frames", visible=visible, done=done)

    def _draw_edited(self) -> None:
        """Send the frames of the window after the video edits, if there are any."""
        what_if = self._controller.what_if
        is_edited = any(isinstance(edit, VideoEdit) for edit in what_if.edits)
        window = what_if.window if is_edited else None
        if window is None:
            self.keep("edited", start=-1, words="")
        else:
            frames = np.ascontiguousarray(window.frames_u8)
            words = what_if.words
            self.show("edited", [frames], start=window.start_index, words=words)

    def _draw_chunk(self) -> None:
        """Send one requested chunk, and request this drawing again for the others."""
        # One chunk per drawing: strokes and positions are not delayed by many chunks.
        session = self._controller.state.session
        film, number = self._film, self._next_wanted()
        if session is None or number is None:
            return
        first = number * CHUNK
        count = min(CHUNK, len(session.start_grid) - first)
        if count > 0:
            frames, valid = _frames(session, first, count)
            self.show(
                "chunk", [frames, valid.astype(np.uint8)], film=film, chunk=number
            )
        if any(self._wanted.values()):
            self._more_wanted.emit()

    def _next_wanted(self) -> int | None:
        # A copy: the page may replace its requests on another thread.
        for wanted in list(self._wanted.values()):
            if wanted:
                return wanted.pop(0)
        return None


def _seconds(session: Session, at: int) -> float:
    """Return the time of a grid index on the session clock, in seconds."""
    # 0.1 ms: rounding removes float noise, so that equal times compare equal.
    return round(float(session.start_grid[at]) - session.t0, 4)


def _frames(session: Session, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (n, 36, 64) frames from a grid index, and bool (n,) validity."""
    window = Window(session, first)
    lots = [
        window.frames_at(np.arange(at, min(at + _READ, count)))
        for at in range(0, count, _READ)
    ]
    frames, valid = (np.concatenate(parts) for parts in zip(*lots, strict=True))
    return frames, valid


def _numbers(*values: float) -> list[float]:
    return [round(float(value), 3) for value in values]
