"""The explorer in JupyterLab: painted, scrubbed, set from code, while a cell runs."""

import pytest

from tests.bench.browser.page import SIZE
from tests.browser.explorer import (
    counts,
    grave_violations,
    kernel_counts,
    painted,
    running_cell,
    wait_for_agreement,
    wait_for_counts,
    wait_for_other_counts,
)

CUT_TABS = """() => [...document.querySelectorAll(
    ".omnimouse-tabs > .lm-TabBar .lm-TabBar-tabLabel")]
  .filter((label) => label.scrollWidth > label.clientWidth)
  .map((label) => label.textContent)"""
CELL_TYPES = "() => jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.type)"
IS_UNSAVED = "jupyterapp.shell.currentWidget.context.model.dirty"
COMMS_OVER_SUBSHELLS = "jupyterapp.serviceManager.kernels.commsOverSubshells"
EDGES = "explorer.neuron_scores.spread.edges"
# Of the window, or of the tier where it was scored before the page's cell stopped that.
SHOWN = "explorer.controller.results.neuron_scores.values"
SCORES = f"(sorted(map(float, {SHOWN}[list(explorer.selection)])) or [9])"


def test_a_stroke_of_the_mouse_is_in_the_kernel_and_a_new_prediction_is_drawn(fresh_explorer):
    before, since = kernel_counts(fresh_explorer), fresh_explorer.now_ms()
    after = painted(fresh_explorer)
    assert after["visible"] > before["visible"]
    fresh_explorer.wait_for_event("drawn", since, name="traces")
    fresh_explorer.wait_for_kernel("explorer.controller.results.freshness", "fresh")
    fresh_explorer.part("field").first.press("Control+z")  # the whole stroke
    wait_for_counts(fresh_explorer, **before)
    assert kernel_counts(fresh_explorer) == before


def test_the_field_stays_under_the_pointer_while_the_text_above_it_changes(fresh_explorer):
    field = fresh_explorer.part("field").first
    grow = """() => {
      const text = [...document.querySelectorAll(".omnimouse-fresh")].at(-1);
      const more = { style: "height: 40px", className: "grown" };
      text.parentElement.parentElement.append(Object.assign(document.createElement("div"), more));
    }"""
    shrink = "() => document.querySelectorAll('.grown').forEach((e) => e.remove())"
    before = field.bounding_box()
    with fresh_explorer.dragging(field, (0.3, 0.5)) as move_to:
        move_to((0.35, 0.5), 1)
        fresh_explorer.page.evaluate(grow)
        move_to((0.4, 0.5), 1)
        assert abs(field.bounding_box()["y"] - before["y"]) < 1.0
    fresh_explorer.page.wait_for_timeout(100)
    moved = field.bounding_box()["y"] - before["y"]
    fresh_explorer.page.evaluate(shrink)
    assert moved > 10


def test_the_keyboard_paints_what_the_mouse_paints(fresh_explorer):
    field, before = (
        fresh_explorer.part("field").first,
        fresh_explorer.part("counts").first.inner_text(),
    )
    for key in ("2", "]", "ArrowLeft", " "):
        field.press(key)
    wait_for_other_counts(fresh_explorer, before)
    assert wait_for_agreement(fresh_explorer)["hidden"] > 0


def test_keys_after_a_click_on_a_button_are_the_parts_and_not_the_notebooks(fresh_explorer):
    before = fresh_explorer.page.evaluate(CELL_TYPES)
    fresh_explorer.part("painter").get_by_role("button", name="Brush").click()
    for key in ("3", "r"):  # elsewhere "r" makes the cell a raw one, without output
        fresh_explorer.page.keyboard.press(key)
    fresh_explorer.wait_for_kernel("explorer.painter.tool", "rectangle")
    assert fresh_explorer.evaluate("explorer.painter.code") == 2
    fresh_explorer.part("control").get_by_label("Preset").focus()
    for key in ("b", "x"):  # one adds a cell, the other cuts it
        fresh_explorer.page.keyboard.press(key)
    assert fresh_explorer.page.evaluate(CELL_TYPES) == before
    fresh_explorer.page.evaluate(f"() => {{ {IS_UNSAVED} = true }}")
    fresh_explorer.part("field").first.press("Control+s")
    fresh_explorer.page.wait_for_function(f"!{IS_UNSAVED}")


CONTROLS = {
    "control": "Model|Preset|Region|Video|Behaviour|Stop|Predict again|Wait|Restart|"
    "Use the file's mask",
    "painter": "Tool|Paint|First sample that a stroke sets|Sample after the last one that a "
    "stroke sets|Colour by|Imaging planes|Outline areas|Paint a brain area|Undo|Redo|Fit",
}
"""Names of the controls that two parts draw by hand, also of those that are hidden now."""
NAMES = """part => [...part.querySelectorAll("button, select, input, [role=group]")]
  .map(one => one.ariaLabel || one.textContent || one.title)"""


@pytest.mark.parametrize("name", CONTROLS)
def test_a_part_that_is_drawn_by_hand_has_all_its_controls(fresh_explorer, name):
    found = fresh_explorer.part(name).first.evaluate(NAMES)
    assert [control for control in CONTROLS[name].split("|") if control not in found] == []


def test_the_overview_says_what_its_lanes_and_letters_are(fresh_explorer):
    texts = fresh_explorer.part("video").first.inner_text()
    words = ("stimulus", "trials", "pupil", "running", "activity", "T test")
    assert [word for word in words if word not in texts] == []


def test_scrubbing_moves_the_window_of_the_kernel(fresh_explorer):
    before, since = fresh_explorer.evaluate("explorer.start_s"), fresh_explorer.now_ms()
    fresh_explorer.part("video").first.locator("canvas").first.press("Shift+ArrowRight")
    fresh_explorer.wait_for_kernel(f"explorer.start_s > {before}", True)
    fresh_explorer.wait_for_event("drawn", since, name="raster")


def test_a_step_at_the_end_of_the_window_leads_to_the_next_one(fresh_explorer):
    before = fresh_explorer.evaluate("explorer.start_s")
    length = fresh_explorer.evaluate("explorer.controller.state.spec.n_samples")
    video = fresh_explorer.part("video").first
    frame = video.locator("canvas").first
    fresh_explorer.evaluate(f"setattr(explorer.video, 'cursor', {length - 1})")
    video.get_by_text(f"frame {length - 1}").wait_for()
    frame.press(".")
    fresh_explorer.wait_for_kernel(
        f"explorer.start_s > {before} and explorer.video.cursor == 0", True
    )
    frame.press(",")
    fresh_explorer.wait_for_kernel(
        f"explorer.start_s == {before} and explorer.video.cursor == {length - 1}", True
    )


def test_painting_goes_on_while_a_cell_runs(fresh_explorer, tmp_path):
    painted(fresh_explorer)
    with running_cell(fresh_explorer, tmp_path) as running:
        since = fresh_explorer.now_ms()
        fresh_explorer.drag(fresh_explorer.part("field").first, (0.3, 0.3), (0.6, 0.3))
        fresh_explorer.wait_for_event("drawn", since, name="traces")
        assert not fresh_explorer.is_finished(running)
    wait_for_agreement(fresh_explorer)


@pytest.fixture
def without_subshells(fresh_explorer):
    """What JupyterLab's setting does, which kernels without subshells have too."""
    before = fresh_explorer.page.evaluate(COMMS_OVER_SUBSHELLS)
    fresh_explorer.page.evaluate(f"{COMMS_OVER_SUBSHELLS} = 'disabled'")
    yield fresh_explorer
    fresh_explorer.page.evaluate(f"before => {{ {COMMS_OVER_SUBSHELLS} = before }}", before)


def test_without_subshells_a_stroke_is_seen_at_once_and_answered_when_a_cell_has_run(
    without_subshells, tmp_path
):
    tab = without_subshells
    before, words = painted(tab), tab.part("counts").first.inner_text()
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    with running_cell(tab, tmp_path) as running:
        since = tab.now_ms()
        tab.drag(tab.part("field").first, (0.3, 0.3), (0.6, 0.3))
        tab.wait_for_event("painted", since)
        wait_for_other_counts(tab, words)
        assert counts(tab)["visible"] > before["visible"]
        assert not tab.is_finished(running)
        over = tab.now_ms()
    tab.wait_for_event("drawn", over, name="traces")
    assert wait_for_agreement(tab)["visible"] > before["visible"]
    tab.wait_for_kernel("explorer.controller.results.freshness", "fresh")
    tab.wait_for_kernel("explorer.controller.editor.in_stroke", False)


def test_nothing_grave_keeps_anybody_from_using_it_and_what_is_grave_is_found(fresh_explorer):
    for title in ("Traces", "Context", "Behaviour", "Neurons", "Scores"):
        fresh_explorer.page.get_by_role("tab", name=title, exact=True).last.click()
        assert not grave_violations(fresh_explorer), title
    fresh_explorer.page.evaluate(
        "document.querySelector('.omnimouse-painter').append("
        "Object.assign(document.createElement('button'), { id: 'nameless' }))"
    )
    assert any(one.startswith("button-name") for one in grave_violations(fresh_explorer))
    fresh_explorer.page.evaluate("document.querySelector('#nameless').remove()")


def test_curves_follow_the_theme_of_the_page_and_images_do_not(fresh_explorer):
    page = fresh_explorer.page
    look = """(isLight) => {
        document.body.dataset.jpThemeLight = isLight;
        return [".omnimouse-curves", ".omnimouse-painter canvas"]
          .map((name) => getComputedStyle(document.querySelector(name)).filter);
    }"""
    # Mean brightness of the opaque pixels of the traces: lines and labels.
    ink = """() => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(() => {
        const stack = document.querySelector(".omnimouse-stack");
        const canvas = stack.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let [sum, n] = [0, 0];
        for (let k = 0; k < data.length; k += 4)
          if (data[k + 3] > 250) { sum += data[k] + data[k + 1] + data[k + 2]; n += 3; }
        then([sum / n, Number(getComputedStyle(stack).backgroundColor.match(/\\d+/)[0])]);
    })))"""
    for title in ("Context", "Traces"):
        page.get_by_role("tab", name=title, exact=True).last.click()
    page.locator(".omnimouse-curves").first.wait_for(state="attached")
    dark = page.evaluate(look, False)
    bright_ink, dark_ground = page.evaluate(ink)
    light = page.evaluate(look, True)
    dark_ink, light_ground = page.evaluate(ink)
    assert dark == ["none"] * 2
    assert [shown == "none" for shown in light] == [False, True]
    assert dark_ground < dark_ink < bright_ink < light_ground


# -- scores ---------------------------------------------------------------------------
TOUCHING = """part => {
  const places = [...part.querySelectorAll("svg text")]
    .filter((one) => one.textContent.endsWith("°")).map((one) => one.getBoundingClientRect());
  return places.length < 3 || places.some((a, k) => places.slice(k + 1).some((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
}"""
"""Whether there are too few angles on the axis, or two that touch."""


def test_angles_on_the_axis_of_a_neuron_do_not_touch(fresh_explorer):
    tab = fresh_explorer
    tab.page.get_by_role("tab", name="Neuron", exact=True).last.click()
    tab.wait_for_kernel(
        "bool((found := explorer.controller.neuron_info.current) and found.is_complete)", True
    )
    part = tab.part("neuron").first
    part.get_by_role("button", name="Tuning", exact=True).click()
    part.get_by_text("direction of motion").first.wait_for()
    assert not part.evaluate(TOUCHING)


def test_a_report_is_saved_and_a_refused_value_disables_its_action(fresh_explorer):
    tab = fresh_explorer
    tab.page.get_by_role("tab", name="Files", exact=True).last.click()
    part = tab.part("files").first
    split, again = part.get_by_label("Split"), part.get_by_role("button", name="Open again")
    split.fill("-3")
    part.get_by_text("at least 0, found -3").wait_for()
    assert again.is_disabled()
    assert again.get_attribute("title") == "Split: at least 0, found -3"
    split.fill("")
    part.get_by_text("at least 0, found -3").wait_for(state="hidden")
    assert again.is_enabled()
    part.get_by_label("Content").select_option(label="Report")
    tab.wait_for_kernel("explorer.files._panel.export.read().content", "report")
    with tab.page.expect_download() as download:
        part.get_by_role("button", name="Save…").click()
    assert download.value.suggested_filename == "report.html"
    part.get_by_text("Saved report.html").wait_for()
    tab.wait_for_kernel("explorer.controller.exports.is_busy", False)


def test_bars_and_points_of_the_scores_select_neurons(fresh_explorer):
    fresh_explorer.page.get_by_role("tab", name="Scores", exact=True).last.click()
    part = fresh_explorer.page.locator(".omnimouse-scores")
    bars, points = part.locator("svg").nth(0), part.locator("svg").nth(1)
    bars.locator("rect").nth(9).wait_for()
    # A bar by the mouse: the first rectangle is the ground. A new prediction draws the bars
    # anew, so that the place of one is asked for in one step.
    bars.scroll_into_view_if_needed()
    place = bars.evaluate("""bars => {
        const box = bars.querySelectorAll("rect")[9].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }""")
    fresh_explorer.page.mouse.click(*place)
    within = f"bool({EDGES}[8] <= {SCORES}[0] <= {SCORES}[-1] < {EDGES}[9])"
    fresh_explorer.wait_for_kernel(within, True)
    fresh_explorer.evaluate("explorer.controller.selection.select([])")
    fresh_explorer.drag(points, (0.3, 0.15), (0.95, 0.7), steps=6)
    fresh_explorer.wait_for_kernel("len(explorer.selection)", 64)
    # The arrows go from bar to bar.
    part.get_by_role("button", name="▸").press("ArrowRight")
    fresh_explorer.wait_for_kernel(f"bool({EDGES}[9] <= {SCORES}[0] < {EDGES}[10])", True)


# -- table ----------------------------------------------------------------------------
def test_properties_are_columns_of_the_table(fresh_explorer, tmp_path):
    path = tmp_path / "units.csv"
    fresh_explorer.page.get_by_role("tab", name="Neurons", exact=True).last.click()
    # Of this table alone: the page has others. What another test has computed for the
    # recording, such as its tuning, has columns as well.
    titles = fresh_explorer.part("neurons").get_by_role("columnheader")
    titles.nth(5).wait_for()
    title = titles.filter(has_text="luck")
    assert title.count() == 0
    fresh_explorer.evaluate(
        f"(__import__('pathlib').Path({str(path)!r}).write_text('unit_id,luck\\n' + "
        "'\\n'.join(f'{u},{-k}' for k, u in enumerate("
        "explorer.controller.state.session.units.unit_id))), "
        f"explorer.controller.loader.reopen(unit_tables={str(path)!r}))[0]"
    )
    title.get_by_role("button").click()
    fresh_explorer.wait_for_kernel("explorer.table.sort_by", "luck")
    texts = titles.all_text_contents()
    place = next(number for number, text in enumerate(texts) if "luck" in text.lower())
    cells = fresh_explorer.part("neurons").locator(".omnimouse-row[aria-rowindex='2'] > div")
    fresh_explorer.page.wait_for_function(
        "cell => cell.textContent === '−999'", arg=cells.nth(place).element_handle()
    )


# -- ranking --------------------------------------------------------------------------
def test_a_stored_ranking_is_looked_at_and_no_tab_of_a_narrow_page_is_cut(fresh_explorer):
    page, ranking = fresh_explorer.page, fresh_explorer.part("ranking").first
    page.set_viewport_size({"width": 1200, "height": SIZE["height"]})
    try:
        page.get_by_role("tab", name="Ranking", exact=True).last.click()
        assert page.evaluate(CUT_TABS) == []
        ranking.get_by_role("button", name="Example").click()
        ranking.locator("svg g[role=img]:visible").first.wait_for()
        ranking.get_by_role("button", name="Gains").click()
        ranking.get_by_role("cell", name="reverse", exact=True).first.wait_for()
        assert ranking.locator("svg g[role=img]:visible").count() == 0
    finally:
        page.set_viewport_size(SIZE)
