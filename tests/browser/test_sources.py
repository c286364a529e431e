"""Exports of *Sources* in a notebook: every kind of file is pressed and read."""

import pytest

SOURCES = "explorer.controller.sources"


@pytest.mark.parametrize("question", ["sources", "areas"])
def test_every_export_of_sources_is_the_file_that_it_says(fresh_explorer, tmp_path, question):
    tab = fresh_explorer
    tab.page.get_by_role("tab", name="Sources", exact=True).last.click()
    tab.evaluate(f"{SOURCES}.set(question={question!r}, windows=8)")
    tab.evaluate(f"{SOURCES}.start()")
    tab.wait_for_kernel(f"{question!r} in {SOURCES}.found and not {SOURCES}.is_busy", True)
    part = tab.part("sources").first
    files = {}
    for item in ("Table (CSV)", "Drawing (SVG)", "Picture (PNG)"):
        part.get_by_role("button", name="Export").click()
        with tab.page.expect_download() as download:
            part.get_by_text(f"{item}…").click()
        name = download.value.suggested_filename
        files[name] = tmp_path / name
        download.value.save_as(files[name])
    assert [*files] == [f"{question}.{end}" for end in ("csv", "svg", "png")]
    lines = files[f"{question}.csv"].read_text().splitlines()
    assert len(lines) == tab.evaluate(f"len({SOURCES}.result.table())") + 1
    drawing = files[f"{question}.svg"].read_text()
    assert "linear-gaussian" in drawing
    assert drawing.startswith("<svg")
    assert files[f"{question}.png"].read_bytes().startswith(b"\x89PNG")
