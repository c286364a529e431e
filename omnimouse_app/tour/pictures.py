"""The tour: every workflow of the instrument, operated and photographed.

These chapters follow those of `omnimouse_app.tour.report`: conditions compared,
context, one neuron, an edited stimulus, other colours of the field, the raster with its
prediction, and the table of neurons. See docs/napari.md.
"""

import numpy as np

from omnimouse_app.tour.hand import settle, wait_for
from omnimouse_app.tour.page import Check
from omnimouse_app.tour.report import CHAPTERS, Chapter, Story, small_screen
from omnimouse_model.analysis.in_silico.stimulus_edits import Mirror
from omnimouse_model.analysis.sweep.plan import SweepPlan
from omnimouse_widgets.qt.raster.panel import RasterPanel

# Seconds: timeout of computations over many windows on a slow machine.
_LONG_S = 240.0
_FORECAST = "causal_response_25_behavior"
_SWEPT = SweepPlan(neurons=(0, 64, 256), video=(True, False), max_windows=6)


def pin_conditions(story: Story) -> None:
    """Pin three conditions for the same neurons, over ten seconds."""
    controller = story.dock.controller
    pins = controller.pins
    for preset in ("video_behavior", "responses_from_behavior", _FORECAST):
        controller.apply_preset(preset)
        story.answered()
        pins.pin()
    controller.select(controller.state.selection[:4])
    pins.choose_span("10 s")
    story.dock.bring_up("Traces")
    settle(0.2)
    wait_for(lambda: not pins.is_busy, "the pinned conditions", _LONG_S)
    story.picture(
        "pins",
        "Conditions pinned over the same neurons",
        "Each pinned condition is predicted over ten seconds, two at a time, and keeps "
        "its colour and its score; what was recorded is white.",
    )
    pins.choose_span("window")
    for pin in controller.state.pins:
        pins.unpin(pin.slot)
    story.answered()


def live_context(story: Story) -> None:
    """Show live curves of the selected neurons, and a sweep over several windows."""
    controller, results = story.dock.controller, story.dock.controller.results
    controller.apply_preset("video_behavior")
    story.dock.bring_up("Context")
    settle(0.5)
    wait_for(
        lambda: results.sweep is not None and results.sweep.is_complete,
        "the live curves",
        _LONG_S,
    )
    story.picture(
        "context",
        "What context buys, live",
        "The score of the selected neurons against how many other neurons and how much "
        "history the model is given, with and without video and behaviour. The line "
        "marks the mask on screen.",
    )
    sweeps = controller.sweeps
    sweeps.start(_SWEPT, "tour")
    wait_for(lambda: not sweeps.is_busy, "the sweep in the background", _LONG_S)
    settle(0.5)
    story.picture(
        "sweep",
        "A proper sweep in the background",
        "Over many windows and seeds, with error bars; painting goes on meanwhile. It "
        "is kept, compared, exported, and goes on after a restart.",
    )


def know_a_neuron(story: Story) -> None:
    """Show receptive field, tuning and repeats of one neuron."""
    facts = story.dock.controller.neuron_info
    story.dock.bring_up("Neuron")
    settle(0.3)
    wait_for(
        lambda: facts.current is not None and facts.current.is_complete,
        "the neuron's facts",
        _LONG_S,
    )
    story.picture(
        "neuron",
        "One neuron",
        "Its receptive field, direction tuning and repeats, from the recording itself, "
        "and its score under every pinned condition.",
    )


def ask_what_if(story: Story) -> None:
    """Mirror the video, and show the new prediction."""
    controller = story.dock.controller
    story.dock.bring_up("What if")
    story.dock.bring_up("Traces")
    controller.stimulus_edits.put(Mirror("horizontal"))
    story.answered()
    settle(0.5)
    shown = controller.stimulus_edits.window
    before = controller.state.window
    assert shown is not None
    assert before is not None
    story.checks.append(
        Check(
            "The film under What if, mirrored",
            "the edited window's frames",
            "the recorded ones, right to left",
            # Frames are (time, height, width): reversing the last axis mirrors left and
            # right.
            bool(np.array_equal(shown.frames_u8, before.frames_u8[:, :, ::-1])),
        )
    )
    story.picture(
        "what_if",
        "What if the film were mirrored",
        "The stimulus or the behaviour edited, and the difference that makes to the "
        "prediction. Nothing was recorded for it, so nothing is scored.",
    )
    controller.stimulus_edits.reset()
    story.dock.bring_up("OmniMouse")
    story.answered()


def colour_by_numbers(story: Story) -> None:
    """Colour the neurons by area and by their ceiling, with the legends."""
    colouring = story.dock.controller.colouring
    for name, words in (
        ("area", "Areas in colours that stay apart for colour-blind eyes."),
        ("ceiling", "What a perfect prediction could reach in one trial, by repeats."),
    ):
        # A recording without areas or repeats does not offer these colours.
        if name not in [choice.name for choice in colouring.choices]:
            continue
        colouring.choose(name)
        settle(0.3)
        wait_for(lambda: colouring.scale is not None, "the colours", _LONG_S)
        story.picture(name, f"Neurons coloured by {name}", words)
    colouring.choose("state")


def see_the_residual(story: Story) -> None:
    """Show recording, prediction and residual in the raster, in order of similarity."""
    controller, panel = story.dock.controller, story.dock.panels["Raster"]
    assert isinstance(panel, RasterPanel)
    panel.set_view("beside")
    panel.ordering.show_ordering("similarity")
    wait_for(lambda: controller.neuron_order.order is not None, "the order", _LONG_S)
    settle(0.5)
    story.picture(
        "residual",
        "Recorded, predicted, and what is left",
        "All neurons by samples, alike neurons beside each other; the residual is "
        "orange where the model predicts too little and blue where it predicts too "
        "much.",
    )
    panel.set_view("truth")
    panel.ordering.show_ordering("stored")


def find_neurons(story: Story) -> None:
    """Show the table of neurons: sorting, filter, and link to the field."""
    story.dock.bring_up("Neurons")
    settle(0.4)
    story.picture(
        "neurons",
        "Every neuron in a table",
        "Sort, filter, select: what is chosen here is chosen in the field, the raster "
        "and the traces, and the other way round.",
    )
    story.dock.bring_up("Traces")


TOUR: tuple[Chapter, ...] = (
    # `small_screen` resizes the window, so it must come last.
    *(chapter for chapter in CHAPTERS if chapter is not small_screen),
    pin_conditions,
    live_context,
    know_a_neuron,
    ask_what_if,
    colour_by_numbers,
    see_the_residual,
    find_neurons,
    small_screen,
)
