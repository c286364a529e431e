"""Fingers on the field: one paints, two move it and paint nothing."""

from tests.bench.browser.page import NotebookPage
from tests.browser.explorer import kernel_counts, wait_for_agreement

Place = tuple[float, float]


class TouchScreen:
    """Real touches on the field; places as fractions of its box."""

    def __init__(self, tab: NotebookPage) -> None:
        self.field = tab.part("field").first
        self.field.scroll_into_view_if_needed()
        self.box = self.field.bounding_box()
        self.touches = tab.page.context.new_cdp_session(tab.page)

    def send_touches(self, kind: str, *places: Place) -> None:
        points = [
            {
                "x": self.box["x"] + x * self.box["width"],
                "y": self.box["y"] + y * self.box["height"],
                "id": number,
            }
            for number, (x, y) in enumerate(places)
        ]
        told = {"type": f"touch{kind}", "touchPoints": points}
        self.touches.send("Input.dispatchTouchEvent", told)

    def drag(self, *ways: tuple[Place, Place], steps: int = 12) -> None:
        """Each finger from one place to another; the second comes down later."""
        starts = [begin for begin, _ in ways]
        for number in range(len(starts)):
            self.send_touches("Start", *starts[: number + 1])
        for step in range(1, steps + 1):
            share = step / steps
            self.send_touches(
                "Move",
                *((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])) for a, b in ways),
            )
        self.send_touches("End")

    def canvas_picture(self) -> str:
        """The picture on the canvas, after the frame that draws what was pressed."""
        self.field.evaluate("""() => new Promise((drawn) =>
            requestAnimationFrame(() => requestAnimationFrame(drawn)))""")
        return self.field.evaluate("canvas => canvas.toDataURL()")


def visible_after_more_than(tab: NotebookPage, before: int) -> int:
    """Wait for the end of a stroke that shows more neurons; how many are shown."""
    shown = "bool((explorer.mask.state_in((0, 60)) == 1).sum() > {})"
    tab.wait_for_kernel(shown.format(before), True)
    tab.wait_for_kernel("explorer.controller.editor.in_stroke", False)
    return wait_for_agreement(tab)["visible"]


def test_one_finger_paints_and_a_tap_does(fresh_explorer):
    hand = TouchScreen(fresh_explorer)
    radius = fresh_explorer.evaluate("explorer.painter.radius")
    before = kernel_counts(fresh_explorer)["visible"]
    hand.drag(((0.3, 0.5), (0.6, 0.5)))
    visible = visible_after_more_than(fresh_explorer, before)
    fresh_explorer.evaluate("explorer.painter.set_trait('radius', 60.0)")
    hand.send_touches("Start", (0.5, 0.3))
    hand.send_touches("End")
    visible_after_more_than(fresh_explorer, visible)
    fresh_explorer.evaluate(f"explorer.painter.set_trait('radius', {radius})")


def test_two_fingers_zoom_and_move_the_field_and_paint_nothing(fresh_explorer):
    # Whatever still changes the picture, answers too, must be drawn before it is kept.
    fresh_explorer.wait_for_kernel("explorer.controller.results.population_freshness", "fresh")
    hand, before = TouchScreen(fresh_explorer), wait_for_agreement(fresh_explorer)
    # The mouse or the keys of an earlier test may have left the ring of the brush.
    hand.field.dispatch_event("pointerleave")
    undo_name = fresh_explorer.evaluate("explorer.controller.editor.undo_name")
    hand.field.press("Home")
    whole = hand.canvas_picture()
    pinch = ((0.45, 0.5), (0.25, 0.5)), ((0.55, 0.5), (0.75, 0.5))
    move = ((0.45, 0.5), (0.45, 0.7)), ((0.55, 0.5), (0.55, 0.7))
    for ways in (pinch, move):
        hand.drag(*ways)
        fresh_explorer.page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() !== before",
            arg=[hand.field.element_handle(), whole],
        )
        hand.field.press("Home")
        fresh_explorer.page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() === before",
            arg=[hand.field.element_handle(), whole],
        )
    assert wait_for_agreement(fresh_explorer) == before
    assert fresh_explorer.evaluate("explorer.controller.editor.undo_name") == undo_name
