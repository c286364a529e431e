"""What axe finds in the instrument's page, and that it finds what is wrong."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from omnimouse_app.browser.page import NotebookPage
from tests.browser.explorer import opened

pytestmark = pytest.mark.usefixtures("demo")
PARTS = {"include": [[".omnimouse"]]}


def grave(tab: NotebookPage) -> list[str]:
    """Findings that keep people out, with the element each is about."""
    found = Axe().run(tab.page, context=PARTS).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary']})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_nothing_grave_keeps_anybody_from_using_it_and_what_is_grave_is_found(tab):
    opened(tab)
    for title in ("Traces", "Context", "Behaviour", "Neurons", "Scores"):
        tab.page.get_by_role("tab", name=title, exact=True).last.click()
        assert not grave(tab), title
    tab.page.evaluate(
        "document.querySelector('.omnimouse-painter').append("
        "document.createElement('button'))"
    )
    assert any(one.startswith("button-name") for one in grave(tab))
