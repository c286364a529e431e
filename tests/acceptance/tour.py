"""All pictures of docs/napari.md and docs/spikes.md, from the window of the demo.

usage: xvfb-run -a python -m tests.acceptance.tour OUT [CHAPTER | WEIGHTS]...

CHAPTER is the name of a function of this module or of `omnimouse_app.tour.report`; by
default all. With two files of weights, both pictures of docs/families.md are made: the
second model is compared with the first one in napari and in the notebook.
`omnimouse_app.tour.report` has the chapters of the headless demo and the code that runs
them; the chapters here add conditions compared, context, one neuron, a twin and its
laboratory, the ranking, the sources of an area, an edited stimulus, other colours of the
field, the raster with its prediction, the table of neurons, and a spiking session. Takes
minutes.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from qtpy.QtGui import QPainter, QPixmap

from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.tour.report import (
    CHAPTERS,
    Chapter,
    Check,
    Figure,
    Story,
    small_screen,
    write_report,
)
from omnimouse_app.window.screen import scratch_settings
from omnimouse_model.analysis.ranking.curve_table import DEMO_RANKING
from omnimouse_model.analysis.stimulus_edits import Mirror
from omnimouse_model.analysis.sweep.contexts import SweepPlan
from omnimouse_model.live.laboratory_jobs import BARCODES, label_of
from omnimouse_model.live.mask.presets import HALF
from omnimouse_model.simulate.demo import demo_session, spiking_session
from omnimouse_widgets.qt.panel import RecordPanel
from omnimouse_widgets.views.context.sources import SourcesView
from omnimouse_widgets.views.laboratory import LaboratoryView
from omnimouse_widgets.views.record import choose, press
from tests.bench.browser.screenshots import family_pictures, save_pictures

# Seconds: timeout of computations over many windows on a slow machine.
_LONG_S = 900.0
# The preset *Forecast*: responses of the first half of the window, and behaviour.
TWIN = "twin-demo"
NDT = "ndt-demo"
# Samples and rows in view of the raster of spikes.
_TICKED, _ROWS = (20, 70), (4, 16)
_FORECAST = "causal_response_25_behavior"
# Six windows keep the sweep short enough for a slow machine.
_SWEPT = SweepPlan(neurons=(0, 64, 256), video=(True, False), max_windows=6)


def pin_conditions(story: Story) -> None:
    """Pin three conditions for the same neurons, over ten seconds."""
    controller = story.dock.controller
    pins = controller.pins
    for preset in ("video_behavior", "responses_from_behavior", _FORECAST):
        controller.editor.apply_preset(preset)
        story.wait_for_prediction()
        pins.pin()
    # Four rows are high enough to tell the curves of the pins apart.
    controller.selection.select(controller.state.selection[:4])
    pins.choose_span("10 s")
    story.dock.bring_up("Traces")
    settle(0.2)
    wait_for(lambda: not pins.predictions.is_busy, "the pinned conditions", _LONG_S)
    wait_for(partial(_is_scored, story), "the scores over the test tier", _LONG_S)
    story.picture(
        "pins",
        "Conditions pinned over the same neurons",
        "Each pinned condition is predicted over ten seconds, two at a time. It has "
        "its own colour and score. The recording is white.",
    )
    pins.choose_span("window")
    # Later chapters show other predictions, without the pins.
    for pin in controller.state.pins:
        pins.unpin(pin.slot)
    story.wait_for_prediction()


def live_context(story: Story) -> None:
    """Show live curves of the selected neurons, and a sweep over several windows."""
    controller, results = story.dock.controller, story.dock.controller.results
    controller.editor.apply_preset("video_behavior")
    # Live curves are requested only while the panel is visible.
    story.dock.bring_up("Context")
    settle(0.5)
    wait_for(
        lambda: results.tier_curves is not None and results.tier_curves.is_complete,
        "the curves over the test tier",
        _LONG_S,
    )
    story.picture(
        "context",
        "Score against context, live",
        "The score against the number of visible neurons and the visible history: of "
        "held-out neurons over the test tier (solid lines) and of the selected ones of "
        "them (broken), with and without video and behaviour. The star marks the "
        "current mask.",
    )
    sweeps = controller.sweeps
    sweeps.start(_SWEPT, "tour")
    wait_for(lambda: not sweeps.is_busy, "the sweep in the background", _LONG_S)
    settle(0.5)
    story.picture(
        "sweep",
        "A sweep in the background",
        "The sweep uses many windows and seeds and has error bars. The user can paint "
        "meanwhile. It is saved, can be compared and exported, and resumes after a "
        "restart.",
    )


def show_one_neuron(story: Story) -> None:
    """Show receptive field, tuning and repeats of one neuron."""
    facts = story.dock.controller.neuron_info
    story.dock.bring_up("Neuron")
    settle(0.3)
    wait_for(
        lambda: facts.current is not None and facts.current.is_complete,
        "the properties of the neuron",
        _LONG_S,
    )
    story.dock.panels["Neuron"].view.show_part("tuning")
    story.picture(
        "neuron",
        "One neuron",
        "Its direction tuning; receptive field, repeats and what the model has learned are "
        "one press away. All but the last are computed from the recording.",
    )


def compare_with_a_twin(story: Story) -> None:
    """Show a digital twin beside the model, over the same span."""
    controller = story.dock.controller
    pins = controller.pins
    before = controller.state.predictor_name
    controller.editor.apply_preset("video_behavior")
    controller.selection.select(controller.state.selection[:4])
    for model in (before, TWIN):
        controller.model.choose(model)
        story.wait_for_prediction()
        pins.pin()
    pins.choose_span("10 s")
    story.dock.bring_up("Traces")
    wait_for(lambda: not pins.predictions.is_busy, "the pinned models", _LONG_S)
    wait_for(partial(_is_scored, story), "the scores over the test tier", _LONG_S)
    story.picture(
        "twin",
        "A digital twin beside OmniMouse",
        "Both models predict the same neurons over ten seconds from video and "
        "behaviour. The twin never reads responses: masks that show or hide them "
        "change nothing in its prediction.",
    )
    facts = controller.neuron_info
    story.dock.bring_up("Neuron")
    wait_for(
        lambda: (
            facts.current is not None
            and facts.current.is_complete
            and controller.results.learned is not None
        ),
        "what the twin has learned of the neuron",
        _LONG_S,
    )
    story.dock.panels["Neuron"].view.show_part("model")
    story.picture(
        "twin_neuron",
        "What the twin has learned of a neuron",
        "The circle is the place of the frame that the twin reads for this neuron, "
        "beside its receptive field from the recording. The line below names the "
        "neurons with the nearest functional barcodes.",
    )
    pins.choose_span("window")
    for pin in controller.state.pins:
        pins.unpin(pin.slot)
    controller.model.choose(before)
    story.wait_for_prediction()


def experiment_on_the_twin(story: Story) -> None:
    """Measure directions and fields of all neurons in the twin; search an image."""
    controller = story.dock.controller
    before = controller.state.predictor_name
    controller.model.choose(TWIN)
    story.wait_for_prediction()
    wait_for(partial(_is_scored, story), "the scores over the test tier", _LONG_S)
    story.dock.bring_up("Laboratory")
    for name, repeats in (("directions", 9), ("fields", 1)):
        _run_experiment(story, name, repeats)
        controller.colouring.choose("lab")
        story.picture(
            f"laboratory_{name}",
            label_of(name),
            "An experiment on the twin, in the panel Laboratory: gratings or dots are "
            "shown to the model, and the field has the colours of what was found. It "
            "is a property of the model, not of the animal.",
        )
    controller.colouring.choose("state")
    _run_experiment(story, BARCODES)
    story.picture(
        "laboratory_barcodes",
        label_of(BARCODES),
        "The area of the neurons, predicted from what the twin has learned of each of "
        "them, by nested cross-validation, beside shuffled areas.",
    )
    _run_experiment(story, "exciting")
    press(LaboratoryView.of(controller), "what_if")
    story.dock.bring_up("What if")
    results = controller.results
    wait_for(lambda: results.what_if_freshness == "fresh", "the new prediction", _LONG_S)
    story.picture(
        "laboratory_exciting",
        label_of("exciting"),
        "The image to which the selected neurons of the twin respond most, in place of the video.",
    )
    controller.stimulus_edits.reset()
    story.dock.bring_up("OmniMouse")
    controller.model.choose(before)
    story.wait_for_prediction()


def _run_experiment(story: Story, name: str, repeats: int = 1) -> None:
    laboratory = story.dock.controller.laboratory
    laboratory.choose(name)
    laboratory.set_repeats(repeats)
    laboratory.start()
    wait_for(lambda: not laboratory.is_busy, label_of(name), _LONG_S)
    assert laboratory.error is None


def rank_the_sessions(story: Story) -> None:
    """Show the ranking of simulated animals, and its curves, in the panel Ranking."""
    ranking, panel = story.dock.controller.ranking, story.dock.panels["Ranking"]
    assert isinstance(panel, RecordPanel)
    story.dock.bring_up("Ranking")
    ranking.open(DEMO_RANKING)
    wait_for(lambda: ranking.content is not None, "the ranking")
    for view, name, title, explanation in (
        (
            "matrix",
            "ranking",
            "Which sessions to train on",
            "Score of a model of each simulated animal on a new one, and its rank.",
        ),
        (
            "curves",
            "ranking_curves",
            "More and more sessions",
            "Test score over the number of sessions, in three orders.",
        ),
    ):
        choose(panel.view, "view", view)
        settle(0.3)
        story.picture(name, title, explanation)
    story.dock.bring_up("OmniMouse")


def ask_for_sources(story: Story) -> None:
    """Show bars, means and the matrix of the panel Sources, side by side."""
    sources, panel = story.dock.controller.sources, story.dock.panels["Sources"]
    assert isinstance(panel, RecordPanel)
    assert isinstance(panel.view, SourcesView)
    story.dock.bring_up("Sources")
    sources.set(windows=60)
    shots = []
    for question, targets, page in (
        ("sources", "area LM", "figure"),
        ("sources", "area LM", "means"),
        ("areas", "selected", "figure"),
    ):
        sources.set(question=question, targets=targets)
        panel.view.set(page=page)
        if question not in sources.found:
            sources.start()
            wait_for(lambda: not sources.is_busy, "the sources", _LONG_S)
        settle(0.5)
        shots.append(panel.grab())
    png, width, gap = story.out / "sources.png", shots[0].width(), 10
    sheet = QPixmap(3 * width + 2 * gap, shots[0].height())
    sheet.fill()
    paint = QPainter(sheet)
    for number, shot in enumerate(shots):
        paint.drawPixmap(number * (width + gap), 0, shot)
    paint.end()
    sheet.save(str(png))
    text = "What video, behaviour and other neurons tell of an area, and areas of areas."
    story.figures.append(Figure("Sources", text, png))
    story.dock.bring_up("OmniMouse")


def compare_families(story: Story, weights: Sequence[str]) -> None:
    """Show the scores of a model against those of another, and the difference."""
    controller = story.dock.controller
    controller.selection.select(controller.state.selection[:3])
    for model in weights:
        controller.model.choose(model)
        controller.editor.apply_preset(HALF)
        story.wait_for_prediction(_LONG_S)
        controller.requests.finish_scores()
        wait_for(partial(_is_scored, story), "the scores over the test tier", _LONG_S)
        controller.pins.pin()
    story.dock.bring_up("Scores")
    scores = story.dock.panels["Scores"]
    assert isinstance(scores, RecordPanel)
    choose(scores.view, "predictor", "B")
    choose(scores.view, "against", "A")
    controller.colouring.choose("difference")
    settle(1.0)
    story.picture(
        "families",
        "Two families over the same neurons",
        "The scores of one against those of the other, over the windows of the test part; "
        "the field has the colour of the difference.",
    )


def _is_scored(story: Story) -> bool:
    """Return True if all windows of the test part are scored, also by the baseline."""
    controller = story.dock.controller
    asked = [controller.results]
    if controller.state.compared_baseline:
        asked.append(controller.baseline)
    return all(
        one.error is not None or (one.tier_score is not None and one.tier_score.is_complete)
        for one in asked
    )


def edit_the_stimulus(story: Story) -> None:
    """Mirror the video, and show the new prediction."""
    controller = story.dock.controller
    story.dock.bring_up("What if")
    story.dock.bring_up("Traces")
    results = controller.results
    controller.stimulus_edits.put(Mirror("horizontal"))
    # The edited input is predicted after the recorded one.
    wait_for(lambda: results.what_if_freshness == "fresh", "the new prediction", _LONG_S)
    edited, recorded = controller.stimulus_edits.window, controller.state.window
    assert edited is not None
    assert recorded is not None
    story.checks.append(
        Check(
            "The mirrored video of What if",
            "frames of the edited window",
            "frames of the recording, right to left",
            # Frames are (time, height, width): reversing the last axis mirrors left and
            # right.
            bool(np.array_equal(edited.frames_u8, recorded.frames_u8[:, :, ::-1])),
        )
    )
    story.picture(
        "what_if",
        "Prediction for the mirrored video",
        "An edit of the stimulus or of behaviour, and its effect on the prediction. "
        "There is no recording with the edit, so there is no score.",
    )
    controller.stimulus_edits.reset()
    story.dock.bring_up("OmniMouse")
    story.wait_for_prediction()


def colour_by_numbers(story: Story) -> None:
    """Colour the neurons by area and by their ceiling, with the legends."""
    colouring = story.dock.controller.colouring
    for name, text in (
        ("area", "The colours of the areas differ for colour-blind readers, too."),
        ("ceiling", "Single-trial correlation of a perfect prediction, from repeats."),
    ):
        # A recording without areas or repeats does not offer these colours.
        if name not in [choice.name for choice in colouring.choices]:
            continue
        colouring.choose(name)
        settle(0.3)
        wait_for(lambda: colouring.scale is not None, "the colours", _LONG_S)
        story.picture(name, f"Neurons coloured by {name}", text)
    colouring.choose("state")


def show_the_residual(story: Story) -> None:
    """Show recording, prediction and residual in the raster, in order of similarity."""
    controller = story.dock.controller
    controller.state.raster_order, controller.state.raster_view = "similarity", "beside"
    wait_for(lambda: controller.neuron_order.order is not None, "the order", _LONG_S)
    settle(0.5)
    story.picture(
        "residual",
        "Recording, prediction and residual",
        "All neurons by samples; similar neurons are next to each other. The residual, "
        "predicted minus recorded, is blue if the prediction is too low and orange if "
        "it is too high.",
    )
    # Back to the initial view for the chapters that follow.
    controller.state.raster_order, controller.state.raster_view = "stored", "truth"


def show_the_table(story: Story) -> None:
    """Show the table of neurons: sorting, filter, and link to the field."""
    story.dock.bring_up("Neurons")
    settle(0.4)
    story.picture(
        "neurons",
        "Table of all neurons",
        "The table can be sorted and filtered. The selection is the same in the table, "
        "the field, the raster and the traces.",
    )
    story.dock.bring_up("Traces")


def spiking_session_on_screen(story: Story) -> None:
    """Show the spiking session: probes, trials, a region from the others, and ticks."""
    controller, dock = story.dock.controller, story.dock
    before = controller.state.session
    assert before is not None
    controller.loader.open_now(spiking_session())
    controller.model.choose(NDT)
    story.wait_for_prediction(_LONG_S)
    controller.colouring.outline_areas(True)
    controller.editor.apply_preset("co_smoothing")
    dock.bring_up("Trials")
    dock.bring_up("Behaviour")
    controller.trial_averages.choose("choice")
    results = controller.results
    wait_for(
        lambda: results.peri_event is not None and results.peri_event.is_complete,
        "the averages over trials",
        _LONG_S,
    )
    story.picture(
        "spikes",
        "A spiking session",
        "Units on two probes, with areas by depth; the trials with their conditions; "
        "the mean response of a neuron around the onsets by choice, recorded (solid) "
        "and predicted (dashed); the wheel and the pose.",
    )
    controller.editor.apply_preset("inter_region/CA1")
    story.wait_for_prediction()
    dock.bring_up("Raster")
    dock.bring_up("Traces")
    controller.state.raster_order, controller.state.raster_view = "area", "pair"
    raster = dock.panels["Raster"]
    assert isinstance(raster, RecordPanel)
    settle(0.3)
    raster.content("cells").pictures["truth"].box.setRange(xRange=_TICKED, yRange=_ROWS, padding=0)
    story.picture(
        "spikes_raster",
        "Spikes and predicted rates",
        "One region is predicted from all others. Zoomed in, spikes are ticks.",
    )
    press(raster.view, "all")
    controller.state.raster_order, controller.state.raster_view = "state", "truth"
    controller.colouring.outline_areas(False)
    # Later chapters show the demo.
    controller.loader.open_now(before)
    controller.model.choose(story.model)
    controller.editor.apply_preset("video_behavior")
    controller.project.dismiss()  # that the preset of the spikes does not fit
    story.wait_for_prediction(_LONG_S)


TOUR: tuple[Chapter, ...] = (
    # `small_screen` resizes the window, so it must come last.
    *(chapter for chapter in CHAPTERS if chapter is not small_screen),
    pin_conditions,
    live_context,
    show_one_neuron,
    compare_with_a_twin,
    experiment_on_the_twin,
    rank_the_sessions,
    ask_for_sources,
    edit_the_stimulus,
    colour_by_numbers,
    show_the_residual,
    show_the_table,
    spiking_session_on_screen,
    small_screen,
)


if __name__ == "__main__":
    out, *named = sys.argv[1:]
    weights = [str(Path(name).resolve()) for name in named if Path(name).exists()]
    chapters: list[Chapter] = [each for each in TOUR if each.__name__ in named]
    if weights:
        chapters = [partial(compare_families, weights=weights)]
    with scratch_settings():
        print(write_report(Path(out), demo_session(), chapters=chapters or TOUR))
        if weights:
            save_pictures(Path(out) / "notebooks", print, partial(family_pictures, weights=weights))
