"""*Sources* in a notebook: every kind of file and the script are asked for and read."""

import numpy as np

from omnimouse_model.simulate.coupled_neurons import CoupledSpec, simulate_coupled
from tests.browser.explorer import wait_for_neurons

SOURCES = "explorer.controller.sources"
# As a list, because JSON has no tables; NaN is not equal to itself.
ROWS = "[list(map(str, row.values())) for row in {}.table()]"
IN_VIEW = """buttons => buttons.map((button) => {
  const { x, y, width, height } = button.getBoundingClientRect();
  return button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
})"""


def test_exports_and_the_script_of_sources_have_what_is_on_screen(tab, tmp_path):
    # Small: the fits of the demo took most of the time.
    path = tmp_path / "small.npz"
    np.savez(path, **simulate_coupled(CoupledSpec(n_neurons=24, minutes=2)).arrays)
    make = f"from omnimouse_widgets import Explorer\nexplorer = Explorer({str(path)!r}, 'mean')"
    tab.open([make, "explorer"])
    # The tabs stand below the field, and end below their buttons.
    tab.page.set_viewport_size({"width": 1280, "height": 900})
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.run_all()
    wait_for_neurons(tab)
    tab.page.get_by_role("tab", name="Sources", exact=True).last.click()
    tab.evaluate("explorer.controller.selection.select([0, 1])")
    part = tab.part("sources").first
    for question in ("sources", "areas"):
        tab.evaluate(f"{SOURCES}.set(question={question!r}, windows=8)")
        tab.evaluate(f"{SOURCES}.start()")
        tab.wait_for_kernel(f"{question!r} in {SOURCES}.found and not {SOURCES}.is_busy", True)
        files = {}
        for item in ("Table (CSV)", "Drawing (SVG)", "Picture (PNG)"):
            part.get_by_role("button", name="Export").click()
            shown = part.locator(".omnimouse-more[open] button").evaluate_all(IN_VIEW)
            assert shown == [True] * 4
            with tab.page.expect_download() as download:
                part.get_by_text(f"{item}…").click()
            name = download.value.suggested_filename
            files[name] = tmp_path / name
            download.value.save_as(files[name])
        assert [*files] == [f"{question}.{end}" for end in ("csv", "svg", "png")]
        lines = files[f"{question}.csv"].read_text().splitlines()
        on_screen = tab.evaluate(ROWS.format(f"{SOURCES}.result"))
        assert len(lines) == len(on_screen) + 1
        drawing = files[f"{question}.svg"].read_text()
        assert "linear-gaussian" in drawing
        assert drawing.startswith("<svg")
        assert files[f"{question}.png"].read_bytes().startswith(b"\x89PNG")
        # What is said of the clipboard still stands there from the question before.
        tab.page.evaluate("navigator.clipboard.writeText('')")
        part.get_by_role("button", name="Copy as Python").click()
        for _ in range(1000):
            script = tab.page.evaluate("navigator.clipboard.readText()")
            if script:
                break
            tab.page.wait_for_timeout(50)
        tab.finish(tab.start("execute", script))
        assert tab.evaluate(ROWS.format("found")) == on_screen
