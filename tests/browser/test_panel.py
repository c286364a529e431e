"""The page of a panel, without a server: every kind of plot is drawn, in its colours."""

import re
from base64 import b64encode
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import omnimouse_model as om
from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from omnimouse_widgets import palette
from omnimouse_widgets.jupyter.painter import MaskPainter
from omnimouse_widgets.jupyter.panel import COLOURS, RecordPart
from omnimouse_widgets.jupyter.transport.assets import script
from omnimouse_widgets.jupyter.transport.part import PAGE
from omnimouse_widgets.views.context.sources import SourcesView
from omnimouse_widgets.views.record import (
    Column,
    Curves,
    Image,
    Item,
    Line,
    LongTable,
    Matrix,
    Message,
    Number,
    Polar,
    Raster,
    Row,
    Table,
    choose,
    plain,
    press,
    record,
)
from omnimouse_widgets.views.what_if import WhatIfView
from tests.predictors import open_controller

# Stands for the kernel: sends the items when the page is ready, and rows of a table.
SHOW = """async ([script, traits, items, arrays, rows]) => {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: panel } = await import(address);
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
  const buffers = arrays.map((text) => new DataView(bytesOf(text).buffer));
  let receive;
  const model = {
    get: (name) => traits[name], set() {}, save_changes() {}, off() {},
    on: (event, call) => { if (event === "msg:custom") receive = call; },
    send: ({ op, view, ...asked }) => {
      if (op === "ready") receive({ op: "block0", items }, buffers);
      if (op === "rows") receive({ op, view, ...asked, ...rows }, []);
    },
  };
  const el = document.createElement("div");
  document.body.replaceChildren(el);
  panel.render({ model, el });
  window.receive = receive;
  // The page draws what is in view, which it knows in its next frame.
  const nextFrame = () => new Promise((done) => requestAnimationFrame(done));
  await nextFrame(); await nextFrame();
}"""
SEEN = """element => {
  const filters = [], { fill, backgroundColor } = getComputedStyle(element);
  for (let one = element; one instanceof Element; one = one.parentElement)
    if (getComputedStyle(one).filter !== "none") filters.push(getComputedStyle(one).filter);
  return [element instanceof SVGElement ? fill : backgroundColor, filters];
}"""
"""Colour of an element, and the filters that change it on screen."""
CUT = """all => all.filter((one) => one.scrollWidth > one.clientWidth)
  .map((one) => one.textContent)"""
"""Texts that are longer than their elements."""
SMALL = CoupledSpec(n_neurons=24, minutes=1.5)
X = np.arange(4.0)
WAVE, NONE = np.array([0.1, 0.4, 0.2, 0.3]), np.full(4, np.nan)
line = partial(Line, "seen", palette.PREDICTED, X, WAVE)


def curves(*lines: Line, **more: Any) -> Curves:
    return Curves("content", "plot", lines, "across", "up", None, **more)


PIXELS = np.full((2, 3, 4), 90, np.uint8)
PLOTS: dict[str, tuple[Item, dict[str, int]]] = {
    "points": (curves(line()), {"polyline[stroke='#E69F00']": 2, "circle": 4}),
    "bars": (curves(line("", bar=0.9)), {"rect[fill='#E69F00']": 4}),
    "bars within limits": (
        curves(line("", bar=0.9), limits=(0.0, 3.0, 0.0, 1.0)),
        {"rect[fill='#E69F00']": 4},
    ),
    "intervals": (
        curves(
            line("s", ends=np.stack([WAVE - 0.1, WAVE + 0.1], 1), tips=tuple("abcd"), dash="none"),
            baseline=(0.2, "all")
        ),
        {"polyline[stroke='#E69F00']": 5, "polygon[role=img]": 4, "polyline[stroke-dasharray]": 2},
    ),
    "errors, fit and band": (
        curves(line("", sd=np.full(4, 0.1), fit_x=X, fit_y=WAVE), line("", error=WAVE / 4)),
        {"polyline[stroke='#E69F00']": 8, "polygon": 1},
    ),
    "nothing known": (
        curves(Line("", palette.PREDICTED, X, NONE, "")),
        {"circle": 0, "text[transform]": 1},
    ),
    "pixels": (
        curves(limits=(0.0, 3.0, 0.0, 1.0), raster=Raster(PIXELS, (0.0, 3.0, 0.0, 1.0))),
        {"image": 1},
    ),
    "matrix": (
        Matrix("content", "plot", ("a", "b"), ("c",), np.array([[0.1], [np.nan]]),
               (("1",), ("–",)), (("one",), ("none",)), 0.0, 1.0),
        {"g[role=img] > rect": 2},
    ),
    "polar": (
        Polar("content", "plot", 90 * X, WAVE, palette.PREDICTED, ((45.0, palette.CURSOR, True),),
              error=WAVE / 4, level=0.1),
        {"polyline[stroke='#E69F00']": 5, "circle[fill='#E69F00']": 4},
    ),
    "image": (
        Image("content", "plot", PIXELS[..., :3].copy(), palette.PREDICTED, place=(1.0, 1.0)),
        {"image": 1, "polyline": 2},
    ),
    "message": (Message("content", "plot", "Press Run"), {"text": 1}),
}  # fmt: skip
"""A plot of each kind, and how many elements draw it."""


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 700, "height": 500})
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.set_content(
        f"<style>{RecordPart._css}</style><body data-jp-theme-light='true' style='margin:8px'>"
    )
    yield opened
    context.close()
    assert wrong == []


def show(page: Any, *items: Item) -> None:
    """Draw items of a panel in a page."""
    fields, arrays = plain(items)
    constants = {"name": "plots", "columns": [0], "colours": COLOURS}
    traits = {"_constants": constants, "_texts": PAGE, "problem": "", "_fault": {}, "height": 200}
    rows: dict[str, Any] = {}
    for table in (item for item in items if isinstance(item, LongTable)):
        read = table.read(0, table.n_rows)
        rows = {"start": 0, "keys": table.order.tolist(), "cells": [texts for texts, _ in read],
                "colours": [colour for _, colour in read]}  # fmt: skip
    buffers = [b64encode(array.tobytes()).decode() for array in arrays]
    page.evaluate(SHOW, [RecordPart._esm, traits, fields, buffers, rows])


@pytest.mark.parametrize("name", PLOTS)
def test_each_kind_of_plot_is_drawn(page, name):
    plot, expected = PLOTS[name]
    show(page, plot)
    drawing = page.locator("svg.omnimouse-drawing")
    assert {found: drawing.locator(found).count() for found in expected} == expected


def test_a_long_interval_ends_at_the_edge_of_its_plot(page):
    ends = np.stack([WAVE - 0.1, WAVE + 0.1], 1)
    ends[1] = -50, 50
    show(page, curves(line("s", ends=ends, tips=tuple("abcd"), dash="none")))
    boxes = page.eval_on_selector_all(
        "svg polyline[stroke='#E69F00']", "all => all.map((one) => one.getBBox())"
        ".filter((box) => box.height).map((box) => [box.y, box.y + box.height])",
    )  # fmt: skip
    across = page.eval_on_selector_all("svg text", "all => all.map((one) => one.getBBox().y)")
    assert min(low for low, _ in boxes) > min(across)
    assert max(high for _, high in boxes) < sorted(across)[-2]


def test_the_names_of_directions_are_beside_the_colours(page):
    show(page, PLOTS["polar"][0])
    boxes = """all => all.map((one) => one.getBBox())
        .map((box) => [box.x, box.y, box.x + box.width, box.y + box.height])"""
    dots = page.eval_on_selector_all("svg circle", boxes)
    for x0, y0, x1, y1 in page.eval_on_selector_all("svg text", boxes):
        assert all(x1 < left or right < x0 or y1 < top or bottom < y0
                   for left, top, right, bottom in dots)  # fmt: skip


def test_texts_below_a_plot_never_overlap_and_the_last_one_stays(page):
    ticks = tuple((at, f"{int(4000 * at):,}") for at in (0.0, 1.0, 1.1, 1.2, 3.9, 4.0))
    show(page, Curves("plot", "Plot", (), "", "", ticks, limits=(-1.0, 5.0, 0.0, 4.0)))
    texts = page.locator("svg.omnimouse-drawing text").all_text_contents()
    assert [text for text in texts if "," in text] == ["16,000", "4,000"]


def test_numbers_below_a_plot_take_a_second_row(page):
    ticks = tuple((at, f"{int(4000 * at):,}") for at in (0.0, 1.0, 3.9, 4.0))
    show(page, Curves("plot", "Plot", (), "", "", ticks, limits=(-1.0, 5.0, 0.0, 4.0)))
    texts = page.locator("svg.omnimouse-drawing text")
    shown = [texts.nth(k) for k in range(texts.count())]
    rows = {one.text_content(): one.bounding_box()["y"] for one in shown}
    assert rows["4,000"] == rows["15,600"] < rows["16,000"]


def test_names_below_a_plot_all_stay_and_never_touch(page):
    ticks = tuple((float(at), f"area number {at}") for at in range(9))
    show(page, Curves("plot", "Plot", (), "", "", ticks, limits=(-0.6, 8.6, 0.0, 4.0)))
    texts = page.locator("svg.omnimouse-drawing text").filter(has_text="area number")
    boxes = [texts.nth(k).bounding_box() for k in range(texts.count())]
    assert len(boxes) == len(ticks)
    for one, other in combinations(boxes, 2):
        is_beside = one["x"] + one["width"] + 4 <= other["x"]
        assert is_beside or one["y"] != other["y"]


def test_the_text_below_a_picture_is_in_lines_that_fit(page):
    show(page, PLOTS["points"][0])
    message = {"op": "picture", "name": "a.svg", "content": "content"}
    with page.expect_download() as download:
        page.evaluate("message => receive(message, [])", message | {"description": "word " * 60})
    drawing = download.value.path().read_text()
    width = float(re.search(r'<svg[^>]* width="([\d.]+)"', drawing)[1])
    lines = re.findall(r'<text x="6"[^>]*>([^<]*)<', drawing)
    assert " ".join(lines).split() == ["word"] * 60
    # A letter has about 6 px.
    assert width / 10 < max(map(len, lines)) < width / 5


def test_frames_beside_each_other_are_as_high_as_they_need(page):
    frame = Image("recorded", "frame", PIXELS[..., :3].copy(), palette.RECORDED, title="recorded")
    edited = replace(frame, name="edited", title="edited")
    show(page, Row("frames", (frame, edited)))
    ground, image = page.locator("svg > rect").first, page.locator("svg image").first
    whole, drawn = ground.bounding_box(), image.bounding_box()
    assert drawn["width"] == pytest.approx(whole["width"], abs=1)
    assert 0 < whole["height"] - drawn["height"] < 30  # the title


def test_a_matrix_is_not_higher_than_its_cells(page):
    show(page, PLOTS["matrix"][0])
    ground, cell = page.locator("svg > rect").first, page.locator("svg g > rect").last
    whole, last = ground.bounding_box(), cell.bounding_box()
    assert whole["y"] + whole["height"] - last["y"] - last["height"] < 3


def test_a_form_with_short_labels_has_two_columns_in_a_narrow_part(page):
    page.set_viewport_size({"width": 458, "height": 700})
    spec = CoupledSpec(n_neurons=24, minutes=1.5)
    with open_controller(om.open_session(simulate_coupled(spec).arrays)) as controller:
        show(page, record(WhatIfView.of(controller))["settings"])
    fields = page.locator(".omnimouse-field")
    assert len({round(fields.nth(k).bounding_box()["x"]) for k in range(fields.count())}) == 2
    spans = page.locator(".omnimouse-field span")
    assert spans.evaluate_all(CUT) == []


def test_a_number_that_is_being_typed_is_not_replaced(page):
    # A panel is told again while something runs: a number lost the digits typed so far.
    number = Number("windows", "Windows", "", 60, 8, 100, lambda value: None)
    show(page, number)
    tell = "items => receive({ op: 'block0', items }, [])"
    box = page.get_by_label("Windows")
    box.fill("2")
    page.evaluate(tell, plain((number,))[0])
    assert box.input_value() == "2"
    box.press("Enter")
    page.evaluate(tell, plain((replace(number, value=8),))[0])
    assert box.input_value() == "8"
    box.fill("2")
    box.fill("8")
    box.blur()  # no change
    page.evaluate(tell, plain((number,))[0])
    assert box.input_value() == "60"


def test_titles_and_numbers_of_a_long_table_are_whole_in_a_narrow_part(page):
    page.set_viewport_size({"width": 478, "height": 500})
    show(page, table_of_neurons("recorded_field_size", "luck"))
    page.locator(".omnimouse-swatch").nth(2).wait_for()
    for seen in (
        ".omnimouse-head > div",
        ".omnimouse-head button",
        ".omnimouse-row:not([hidden]) > div",
    ):
        assert page.locator(seen).evaluate_all(CUT) == []


def test_a_table_of_many_wide_rows_has_its_own_scroll_bars(page):
    titles = tuple(f"title {k}" for k in range(12))
    show(page, Table("content", "points", titles, (("0.199 to 0.426",) * 12,) * 60))
    size = "one => [one.clientHeight, one.scrollWidth > one.clientWidth]"
    assert page.locator(".omnimouse-table").evaluate(size) == [340, True]
    heights = page.locator("td").evaluate_all("all => all.map((one) => one.clientHeight)")
    assert max(heights) < 30, "no cell has two lines"


def test_the_first_text_of_a_row_has_its_colour(page):
    colours = (palette.TARGET, palette.VISIBLE)
    show(page, Table("content", "points", ("line", "score"), (("●", "1"),) * 2, colours=colours))
    shown = page.locator("td:first-child").evaluate_all("all => all.map((one) => one.style.color)")
    parts = [tuple(bytes.fromhex(colour.removeprefix("#"))) for colour in colours]
    assert shown == [f"rgb{part}" for part in parts]


def test_columns_of_every_recording_are_in_view_in_a_narrow_part(page):
    # The part at 1280 x 720, less the scroll bar of its rows.
    page.set_viewport_size({"width": 467, "height": 500})
    show(page, table_of_neurons())
    page.locator(".omnimouse-swatch").nth(2).wait_for()
    assert page.locator(".omnimouse-grid").evaluate_all(CUT) == []
    cells = page.locator(".omnimouse-row:not([hidden]) > div")
    assert cells.evaluate_all(CUT) == []


def table_of_neurons(*more: str) -> LongTable:
    """Three rows as in the table of neurons, with more columns of numbers."""
    names = ("id", "area", "plane", "depth", "state", "score", *more)
    columns = tuple(Column(name, name, "", name == "state") for name in names)
    texts = ("100", "V1", "2", "285", "hidden → target", "−0.376", "1.25", "–")[: len(names)]
    return LongTable(
        "content", "table", 1, columns, 3, "state", "score", True, lambda column: None,
        np.arange(3), lambda start, stop: [(texts, palette.TARGET)] * (stop - start),
        tuple, lambda rows: None,
    )  # fmt: skip


def test_a_long_legend_of_the_field_is_whole_in_a_narrow_part(page):
    page.set_viewport_size({"width": 396, "height": 700})
    with open_controller(om.open_session(simulate_coupled(SMALL).arrays)) as controller:
        painter = MaskPainter(controller)
        traits = painter.get_state()
        painter.close()
    scale = {"label": "Orientation selectivity", "low": "≤ 0.107", "high": "≥ 0.361"}
    traits["_legend"] = scale | {"middle": "median 0.170 of 3", "bar": "red", "text": "3 known"}
    page.evaluate(SHOW, [MaskPainter._esm, traits, [], [], {}])
    legend = page.locator(".omnimouse-legend")
    legend.get_by_text("median 0.170 of 3").wait_for()
    assert legend.evaluate_all(CUT) == []
    assert legend.bounding_box()["width"] <= 380


def test_bars_of_sources_have_the_colours_of_their_table(page, tmp_path):
    with open_controller(om.open_session(simulate_coupled(SMALL).arrays)) as controller:
        controller.sources.folder = tmp_path
        controller.sources.set(windows=8)
        controller.selection.select([2, 20])
        view = SourcesView.of(controller)
        press(view, "run")
        bars = record(view)["content"]
        choose(view, "page", "table")
        table = record(view)["content"]
    show(page, bars)
    # The first rectangle is the ground; two neurons have two bars of each source: above 0,
    # and below it, which has no name of its own.
    shown = page.locator("svg rect").evaluate_all(f"all => all.map({SEEN})")[1::4]
    names = [line.label for line in bars.lines if line.label]
    written = [page.locator("svg text", has_text=name).evaluate(SEEN) for name in names]
    assert written == shown
    show(page, table)
    swatch = page.locator(".omnimouse-swatch")
    swatch.nth(table.n_rows - 1).wait_for()
    rows = swatch.evaluate_all(
        f"all => all.map((one) => [one.parentElement.textContent, ({SEEN})(one)])"
    )
    assert dict(rows) == dict(zip(names, shown, strict=True))


def test_the_note_of_a_second_copy_stands_its_ten_seconds(page):
    page.clock.install()
    page.add_script_tag(content=script())
    page.evaluate(
        """() => {
          const clipboard = { writeText: async () => {} };
          Object.defineProperty(navigator, "clipboard", { value: clipboard });
          window.copied = document.body.appendChild(document.createElement("pre"));
        }"""
    )
    notes = []
    for seconds in (9, 9, 2):
        if len(notes) < 2:
            page.evaluate("copyText('script', copied, 'It is copied')")
        page.clock.run_for(1000 * seconds)
        notes.append(page.evaluate("copied.textContent"))
    assert notes == ["It is copied", "It is copied", ""]
