"""Without subshells, what is painted while a cell runs is answered after it."""

import pytest

from omnimouse_app.browser.server import SETTINGS, serving
from tests.browser.explorer import agree, counts, opened

pytestmark = pytest.mark.usefixtures("demo")
DISABLED = {**SETTINGS, "kernels-settings": {"commsOverSubshells": "disabled"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    notebooks = tmp_path_factory.mktemp("notebooks")
    scratch = tmp_path_factory.mktemp("jupyter")
    with serving(notebooks, scratch, DISABLED) as running:
        yield running


def test_a_stroke_is_seen_at_once_and_answered_when_the_cell_has_run(tab):
    opened(tab, model="demo")
    since = tab.now()
    tab.drag(tab.part("field").first)
    tab.wait_until_told("drawn", since, name="traces")
    before = agree(tab)
    running = tab.start("execute", "import time; time.sleep(6)")
    since = tab.now()
    tab.drag(tab.part("field").first, (0.3, 0.3), (0.6, 0.3))
    tab.wait_until_told("painted", since)
    tab.page.wait_for_function(
        "n => !document.querySelector('.omnimouse-counts').innerText.includes(n)",
        arg=f"visible {before['visible']:,}",
    )
    assert counts(tab)["visible"] > before["visible"]
    assert not tab.is_over(running)
    tab.finish(running)
    assert agree(tab)["visible"] > before["visible"]
    tab.wait_until_told("drawn", since, name="traces")
    tab.wait_for_kernel("explorer.controller.results.freshness", "fresh")
    tab.wait_for_kernel("explorer.controller.in_stroke", False)
