"""Fingers on the field: one paints, two move it and paint nothing."""

import pytest

from omnimouse_app.browser.page import NotebookPage, page_in
from tests.browser.explorer import agree, kernel_counts, opened

Place = tuple[float, float]


@pytest.fixture(scope="module")
def tab(browser, server, demo):
    with page_in(browser, server, has_touch=True) as made:
        opened(made)
        yield made
        assert not made.errors


class Hand:
    """Real touches on the field; places as fractions of its box."""

    def __init__(self, tab: NotebookPage) -> None:
        self.field = tab.part("field").first
        self.field.scroll_into_view_if_needed()
        self.box = self.field.bounding_box()
        self.touches = tab.page.context.new_cdp_session(tab.page)

    def say(self, kind: str, *places: Place) -> None:
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
            self.say("Start", *starts[: number + 1])
        for step in range(1, steps + 1):
            share = step / steps
            self.say(
                "Move",
                *(
                    (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
                    for a, b in ways
                ),
            )
        self.say("End")

    def seen(self) -> str:
        """The picture on the canvas."""
        return self.field.evaluate("canvas => canvas.toDataURL()")


def test_one_finger_paints_and_a_tap_does(tab):
    hand, before = Hand(tab), kernel_counts(tab)
    hand.drag(((0.3, 0.5), (0.6, 0.5)))
    visible = (
        f"bool((explorer.mask.state_in((0, 60)) == 1).sum() > {before['visible']})"
    )
    tab.wait_for_kernel(visible, True)
    after = agree(tab)
    tab.wait_for_kernel("explorer.controller.in_stroke", False)
    tab.ask("explorer.painter.set_trait('radius', 60.0)")
    hand.say("Start", (0.5, 0.3))
    hand.say("End")
    visible = visible.replace(str(before["visible"]), str(after["visible"]))
    tab.wait_for_kernel(visible, True)
    tab.wait_for_kernel("explorer.controller.in_stroke", False)
    agree(tab)


def test_two_fingers_zoom_and_move_the_field_and_paint_nothing(tab):
    hand, before = Hand(tab), kernel_counts(tab)
    hand.field.press("Home")
    whole = hand.seen()
    pinch = ((0.45, 0.5), (0.25, 0.5)), ((0.55, 0.5), (0.75, 0.5))
    move = ((0.45, 0.5), (0.45, 0.7)), ((0.55, 0.5), (0.55, 0.7))
    for ways in (pinch, move):
        hand.drag(*ways)
        tab.page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() !== before",
            arg=[hand.field.element_handle(), whole],
        )
        hand.field.press("Home")
        tab.page.wait_for_function(
            "([canvas, before]) => canvas.toDataURL() === before",
            arg=[hand.field.element_handle(), whole],
        )
    assert agree(tab) == before
    assert tab.ask("explorer.controller.undo_name") != "Paint"
