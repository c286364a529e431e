"""Control bar: choice of model and task, and progress of the prediction."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from traitlets import Dict, Unicode

from omnimouse_model.inference.families import fit_names
from omnimouse_model.inference.registry import predictor_names
from omnimouse_model.live.controller import Controller
from omnimouse_model.live.mask.presets import regions_of
from omnimouse_model.live.models.choice import mask_of_file
from omnimouse_model.live.models.finetune import model_name
from omnimouse_model.live.results import NOT_FITTED
from omnimouse_model.predict.compatibility import check_compatibility
from omnimouse_widgets.jupyter.transport.assets import script, style
from omnimouse_widgets.jupyter.transport.part import Drawing, Part
from omnimouse_widgets.views.record import NO_SESSION
from omnimouse_widgets.views.text.controls import BAR, BEHAVIOR, PAGE, refusals, video_options
from omnimouse_widgets.views.text.model import (
    BY_HAND,
    SILENT,
    VIDEO_NAMES,
    caveats,
    freshness_text,
    half_text,
    is_unfitted,
    known_text,
    model_text,
    model_tip,
    stand_in_text,
    task_text,
    video_name,
    video_span,
    waiting_text,
)
from omnimouse_widgets.views.text.recording import name_of, notes_of, summary_of
from omnimouse_widgets.views.text.tier_score import (
    guide_text,
    no_score_text,
    shown_score_tip,
    shown_tier_score_lines,
)

DELAY_MS: Final = 300
"""Delay in milliseconds before "predicting…" is shown; avoids flicker."""


class ControlBar(Part):
    """Choices of model, mask preset, video and behaviour, and the status text.

    Attributes
    ----------
    predictor
        Name, file or folder of the model; set it to choose another model.
    preset
        Preset of the current mask, "" for a mask painted by hand; those over regions
        end with the region, for example "inter_region/CA1".
    video
        Visible video frames: "all", "none", "first" or "last"; "" for other frames.
    behavior
        "visible", "target" or "hidden".
    freshness
        Age of the displayed prediction, as text; read-only.
    """

    # Text only: ten updates per second are sufficient.
    INTERVAL_S = 0.1
    AHEAD = 8

    _esm = script("bar")
    _css = style()

    predictor = Unicode("").tag(sync=True)
    preset = Unicode("").tag(sync=True)
    video = Unicode("").tag(sync=True)
    behavior = Unicode("").tag(sync=True)
    freshness = Unicode("", read_only=True)
    _texts = Dict(PAGE | BAR).tag(sync=True)
    _offer: Any = Unicode("").tag(sync=True)

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._downloads, self._loader = controller.downloads, controller.loader
        self._results, self._baseline, self._colouring = (
            controller.results,
            controller.baseline,
            controller.colouring,
        )
        self._finetuning, self._project, self._requests = (
            controller.finetuning,
            controller.project,
            controller.requests,
        )
        self._workers, self._model = controller.workers, controller.model
        super().__init__(controller, **traits)
        # Function of the offered button; the trait `_offer` is the button's text.
        self._offer_function: Callable[[], object] = lambda: None
        state, events = controller.state, controller.state.events
        self.bind_field("predictor", controller.model.choose_known, "predictor_name")
        # The mask too: a stroke on the mask of a preset ends the preset.
        preset = [events.preset, events.mask]
        self.bind("preset", preset, lambda: state.preset, controller.editor.apply_preset)
        self.bind("video", events.mask, self._video, self._set_frames)
        self.bind("behavior", events.mask, self._behavior, controller.editor.set_behavior)
        self.bind("freshness", controller.results.changed, self._freshness)

    def _video(self) -> str:
        mask = self._state.mask
        return "" if mask is None or not len(mask.frames) else video_name(mask.frames)

    def _behavior(self) -> str:
        mask = self._state.mask
        return "" if mask is None else mask.behavior_mode

    def _set_frames(self, name: str) -> None:
        if name not in VIDEO_NAMES:
            raise ValueError(f"Video is one of {', '.join(VIDEO_NAMES)}, not {name!r}.")
        n_frames = self._state.spec.n_frames
        self._editor.set_frames(video_span(name, n_frames))

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing functions of choices, description and progress."""
        results = self._results
        # A finished fine-tuning adds a model to the choices.
        events, finetuned = self._state.events, self._finetuning.finished
        progress = [self._loader.changed, self._downloads.changed]
        progress += [self._workers.changed, events.session]
        choices = [events.session, events.predictor_name, finetuned, self.spec_changed]
        choices += [results.events.needs, events.preset]
        return (
            Drawing(self._draw_choices, choices),
            Drawing(
                self._draw_text,
                [events.session, events.preset, self._project.changed],
                [results.changed],
                [events.mask],
            ),
            Drawing(self._draw_progress, progress, [results.changed]),
            Drawing(
                self._draw_actions,
                [events.scores_tier, events.mask, events.baseline_name, events.colour_by],
                [results.changed, self._baseline.changed, self._colouring.changed],
            ),
        )

    def is_awaiting(self) -> bool:
        """Return whether the status text will soon change again."""
        return self._results.is_awaited

    def offer(self, text: str, function: Callable[[], object]) -> None:
        """Show a button with a text that calls a function once; "" removes it."""
        self._offer_function = function
        self._offer = text

    # -- from the page ----------------------------------------------------------------
    def on_offer(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Call the function of the offered button and remove the button."""
        self._offer = ""
        self._offer_function()

    def on_stop(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Stop the current task: opening, download or prediction."""
        # A prediction needs a recording and a model: stop the earliest step first.
        if self._loader.is_busy:
            self._loader.stop()
        elif self._downloads.is_busy:
            self._downloads.stop()
        else:
            self._requests.cancel()

    def on_repeat(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Repeat the request after an error or a stop."""
        self._requests.send_again()

    def on_connect(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Connect to the server that the file of the model names."""
        self._requests.connect()

    def on_wait(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Go on waiting for a model whose process does not answer."""
        self._workers.wait()

    def on_restart(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Start the process of a model that does not answer again."""
        self._workers.restart()

    def on_refine(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Pause the scores over the tier, or continue them."""
        self._requests.score_tier(not self._state.scores_tier)

    def on_file_mask(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Show the mask under which the predictions of the chosen file were made."""
        mask = mask_of_file(self._state, self._results.needs)
        if mask is not None:
            self._editor.set_mask(mask, "Mask of the predictions")

    # -- to the page ------------------------------------------------------------------
    def _draw_choices(self) -> None:
        state = self._state
        results = self._finetuning.results
        tuned = {str(result.path): result.text for result in results}
        # dict.fromkeys removes duplicates and keeps the order, unlike a set.
        named = {name: model_tip(name) for name in (*predictor_names(), *fit_names())}
        names = dict.fromkeys((*named, *tuned, state.predictor_name))
        videos = video_options(half_text(state.spec.duration_s))
        no_video, no_behavior = refusals(state)
        offered = self._editor.presets
        problems = self._editor.preset_problems
        self.add_message(
            "choices",
            presets=[[*entry, problems.get(entry[0], "")] for entry in offered],
            regions=list(regions_of(state.session)),
            by_hand=BY_HAND,
            models=[
                [n, tuned.get(n) or model_text(model_name(n)), named.get(n, "")] for n in names if n
            ],
            video={"tips": [tip for *_, tip in videos], "refusal": no_video},
            behavior={"tips": [tip for *_, tip in BEHAVIOR], "refusal": no_behavior},
        )

    def _draw_text(self) -> None:
        state, results = self._state, self._results
        session, mask = state.session, state.mask
        title, notes, known = NO_SESSION, ("", ""), ""
        if session is not None:
            title, notes = f"{name_of(session)} · {summary_of(session)}", notes_of(session)
            if results.needs is not None:
                known = known_text(check_compatibility(results.needs, session))
        # For example, that a preset does not fit the recording.
        warnings = list(self._project.messages)
        if mask is not None and results.needs is not None:
            warnings += caveats(mask, results.needs)
        if results.notice:
            warnings.append(f"⚠ {results.notice}")
        meaning = task_text(state)
        self.add_if_changed(
            "text", title=title, notes=notes, known=known, meaning=meaning, warnings=warnings
        )

    def _draw_progress(self) -> None:
        results = self._results
        loader, downloads = self._loader, self._downloads
        is_to_be_fitted = is_unfitted(self._state.predictor_name, results)
        missing = NOT_FITTED if is_to_be_fitted else results.error
        error = loader.error or downloads.error or missing or ""
        fit = self._workers.fit
        sign, tone, freshness = freshness_text(results, is_long=False, fit=fit)
        self.add_if_changed(
            "progress",
            # The bar has one progress text; the opening of a recording has priority.
            text=loader.message or downloads.message,
            share=downloads.share if downloads.is_busy else None,
            error=str(error),
            sign=sign,
            tone=tone,
            freshness=freshness,
            is_awaited=results.is_awaited,
            waiting=waiting_text(results, self._state.predictor_name),
            can_repeat=(bool(results.error) and not is_to_be_fitted) or results.was_stopped,
            host=results.asked_host if results.error else "",
            silent=SILENT if self._workers.is_silent else "",
            # The form of its fine-tuning stands below the bar.
            stand_in=stand_in_text(self._model.unfamiliar, self._state.predictor_name),
            delay_ms=DELAY_MS,
        )

    def _draw_actions(self) -> None:
        state, found = self._state, self._results.tier_score
        self.add_if_changed(
            "actions",
            can_refine=found is not None and not found.is_complete,
            is_refining=state.scores_tier,
            score=self._score_text(),
            score_tip=shown_score_tip(state, self._results, self._colouring),
            guide=""
            if self._editor.can_undo
            else guide_text(self._state, self._results, self._baseline, self._colouring),
            has_file_mask=mask_of_file(state, self._results.needs) is not None,
        )

    def _score_text(self) -> str:
        """Return the score over the tier with its evidence, or why there is none."""
        lines = shown_tier_score_lines(self._state, self._results, self._baseline, self._colouring)
        return " · ".join(lines) or no_score_text(self._state, self._results)

    def _freshness(self) -> str:
        return freshness_text(self._results, is_long=False)[2]
