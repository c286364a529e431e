"""Video widget: the session's video, with scrubbing and playback in the page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from time import monotonic
from typing import Any, Final

import numpy as np
from psygnal import SignalInstance
from traitlets import Bool, Dict, Float, Int

from omnimouse_model.data.window_spec import VideoEdit, WindowSpec
from omnimouse_model.errors import SettingError
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.navigation import Film, frame_at_sample, frame_rate, window_frames
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views.record import choose, items_of, plain, press
from omnimouse_widgets.views.stimulus import (
    PAGE_TEXTS,
    PAINT_FRAMES,
    SPEEDS,
    StimulusView,
    stride_text,
    strides,
)
from omnimouse_widgets.views.text.controls import PAGE
from omnimouse_widgets.views.time import TimeView

_CONTROL_S: Final = 0.5
"""Time in seconds for which one page keeps control of the window during playback."""


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
        Response sample of the window at the playhead, from 0.
    playing
        Whether the page moves the cursor; False when no page shows the widget.
    rate
        Playback speed in session seconds per second: 0.25, 0.5, 1 or 2.
    stride
        Step of the window in samples when the cursor passes its end, at most its
        length.
    """

    # Most drawings are a position of a few bytes.
    AHEAD = 8

    _esm = script("video")
    _css = style("video")

    _texts = Dict(PAGE | PAGE_TEXTS).tag(sync=True)
    time_s = Float(0.0)
    cursor = Int(0).tag(sync=True)
    playing = Bool(False).tag(sync=True)
    rate = Float(1.0, min=0.05, max=8.0).tag(sync=True)
    stride = Int(1, min=1).tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._stimulus_edits = controller.stimulus_edits
        self._stimulus, self._session = StimulusView.of(controller), TimeView.of(controller)
        self._playback = self._stimulus.playback
        # `_requests`: chunk numbers by view, most urgent first.
        # `_jumps`: number of position changes that did not come from a page; a page
        # that plays follows a position only if this number has changed.
        # `_driver`: view that controls the window, and the time of its last message.
        self._chunks_requested = SignalInstance()
        self._requests: dict[str, list[int]] = {}
        self._jumps = 0
        self._moving_thread = 0
        self._driver = ("", 0.0)
        super().__init__(controller, **traits)
        events, playback = controller.state.events, self._playback
        changed = playback.changed
        self.bind("playing", changed, lambda: playback.is_playing, playback.play)
        self.bind("rate", changed, lambda: playback.speed, playback.set_speed)
        signals = [changed, self.spec_changed]
        self.bind("stride", signals, lambda: playback.stride, playback.set_stride)
        self.bind_field("cursor", controller.navigation.set_cursor)
        place = [events.window, events.cursor]
        self.bind("time_s", place, lambda: playback.time_s, self.go_to)
        for signal in place:
            self._link(signal, self._count_jump)
        self.observe(lambda _: self._set_driver(""), "playing")

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of record, session, playhead, mask, edits, chunks."""
        events = self._state.events
        # Without the cursor: the page tells time and frame, because it is ahead.
        window = [events.window, events.session, self._playback.changed]
        trial = self._navigation.trial_changed
        return (
            Drawing(self._draw_record, [*window, trial]),
            Drawing(self._draw_timeline, [events.session]),
            Drawing(self._draw_film, [events.session, self.spec_changed]),
            Drawing(self._draw_position, [events.window, events.cursor]),
            Drawing(self._draw_frames, [events.mask]),
            Drawing(self._draw_edited, [events.edits, events.window]),
            Drawing(self._draw_chunk, [self._chunks_requested]),
        )

    def deactivate(self) -> None:
        """Stop playback and drop the requests for frames."""
        self.playing = False
        self._requests.clear()

    # -- what code may call -----------------------------------------------------------
    def go_to(self, time_s: float) -> None:
        """Move the playhead to a time in seconds, and the window if necessary.

        Raises
        ------
        SettingError
            If no session is open.
        """
        film = self._playback.film
        if film is None:
            raise SettingError("No recording is open; call open_session(path) first.")
        self._playback.move_to(film.frame_near(time_s))

    # -- from the page ----------------------------------------------------------------
    def on_press(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Run an action of the video or of the timeline."""
        name = str(content["name"])
        press(self._stimulus if name in ("back", "next") else self._session, name)

    def on_choose(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Set a field of the timeline, such as the number of the trial."""
        choose(self._session, str(content["name"]), content["value"])

    def on_chunks(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Queue chunks of frames in this order; replaces the earlier requests."""
        film = self._playback.film
        if film is not None and content["film"] == film.name:
            self._requests[str(content["view"])] = [int(n) for n in content["chunks"]]
            self._chunks_requested.emit()

    def on_go(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Move to the playhead position of a page."""
        # Two pages that play the same session would pull the window back and forth.
        view, is_playing = str(content["view"]), bool(content["is_playing"])
        driver, time_s = self._driver
        is_controlled = driver not in ("", view) and monotonic() - time_s < _CONTROL_S
        if is_playing and is_controlled:
            return
        self._set_driver(view if is_playing else "")
        # A late message about another session or model is ignored.
        film = self._playback.film
        if film is not None and content["film"] == film.name:
            with self._moving():
                self._playback.move_to(int(content["frame"]), is_played=is_playing)

    def stroke_name(self, _content: dict[str, Any]) -> str:
        """Return the name of the undo step of a stroke over frames."""
        return PAINT_FRAMES

    def on_paint(self, content: dict[str, Any], _: list[bytes]) -> None:
        """Show or hide runs of frames (first, last + 1)."""
        for first, stop in content["runs"]:
            self._stimulus.show_frames(int(first), int(stop), bool(content["is_visible"]))

    # -- the playhead -----------------------------------------------------------------
    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Do not count position changes on this thread inside the block as jumps."""
        # Signals are emitted on the thread of the change, so its id identifies them.
        self._moving_thread = get_ident()
        try:
            yield
        finally:
            self._moving_thread = 0

    def _set_driver(self, view: str) -> None:
        self._driver = (view, monotonic())

    def _count_jump(self) -> None:
        if self._moving_thread != get_ident():
            self._jumps += 1

    # -- to the page ------------------------------------------------------------------
    def _draw_record(self) -> None:
        """Send fields and actions of both views."""
        items = items_of([*self._session.steps(), *self._stimulus.bar()])
        self.add_if_changed("record", items=plain({item.name: item for item in items})[0])

    def _draw_timeline(self) -> None:
        """Send the lanes of the session."""
        (item,), arrays = plain(self._session.timeline())
        self.add_if_changed("timeline", arrays, item=item)

    def _draw_film(self) -> None:
        """Send the length of the session, and the steps of playback."""
        film, spec = self._playback.film, self._state.spec
        self._requests.clear()
        if film is None:
            self.add_message("film", film="", frames=0, **_window_fields(spec))
            return
        session = film.session
        self.add_message(
            "film",
            film=film.name,
            frames=film.n_frames,
            **_window_fields(spec),
            chunk=film.per_chunk,
            step=film.step,
            start_s=film.seconds(0),
            pauses=film.pauses,
            has_stimulus=session.stimulus is not None,
            has_video=session.stimulus is not None and spec.video is not None,
            has_trials=bool(len(session.trials.t_on)),
            by_trial=spec.align == "trial",
            speeds=list(SPEEDS),
            strides=[[stride, stride_text(stride, spec)] for stride in strides(spec)],
            colours={"visible": palette.VISIBLE, "problem": palette.PROBLEM,
                     "cursor": palette.CURSOR, "edited": palette.EDITED},
        )  # fmt: skip

    def _draw_position(self) -> None:
        """Send the positions of window and cursor."""
        # Read before the state: an old number with a newer position is corrected by the
        # next drawing, whereas a new number with an old position would move the page.
        handled, jumps = dict(self.handled), self._jumps
        state = self._state
        if state.window is not None:
            film = Film(state.window.session, state.spec)
            driver, _ = self._driver
            self.add_message(
                "position",
                start=film.start_of(state.window),
                cursor=frame_at_sample(state.spec, state.cursor),
                driver=driver,
                jumps=jumps,
                handled=handled,
            )

    def _draw_frames(self) -> None:
        """Send which frames of the window are visible to the model."""
        handled, mask = dict(self.handled), self._state.mask
        visible = [] if mask is None else mask.frames.astype(int).tolist()
        self.add_if_changed("frames", visible=visible, handled=handled)

    def _draw_edited(self) -> None:
        """Send the frames of the window after the video edits, if there are any."""
        stimulus_edits = self._stimulus_edits
        is_edited = any(isinstance(edit, VideoEdit) for edit in stimulus_edits.edits)
        window = stimulus_edits.window if is_edited else None
        if window is None:
            self.add_if_changed("edited", start=-1, text="")
        else:
            frames = np.ascontiguousarray(window.frames_u8)
            start = Film(window.session, window.spec).start_of(window)
            self.add_message("edited", [frames], start=start, text=stimulus_edits.text)

    def _draw_chunk(self) -> None:
        """Send one requested chunk, and request this drawing again for the others."""
        # One chunk per drawing: strokes and positions are not delayed by many chunks.
        film, number = self._playback.film, self._next_chunk()
        if film is None or film.spec.video is None or number is None:
            return
        first = number * film.per_chunk
        if first < film.n_frames:
            frames, valid = film.read(first)
            buffers = [frames, valid.astype(np.uint8)]
            self.add_message("chunk", buffers, film=film.name, chunk=number)
        if any(self._requests.values()):
            self._chunks_requested.emit()

    def _next_chunk(self) -> int | None:
        # A copy: the page may replace its requests on another thread.
        for numbers in list(self._requests.values()):
            if numbers:
                return numbers.pop(0)
        return None


def _window_fields(spec: WindowSpec) -> dict[str, Any]:
    """Return the sizes and rates of a window and of its frames."""
    video = spec.video
    return {
        "window": window_frames(spec),
        "window_s": spec.duration_s,
        "rate_hz": frame_rate(spec),
        "reads_video": video is not None,
        "height": 1 if video is None else video.height,
        "width": 1 if video is None else video.width,
    }
