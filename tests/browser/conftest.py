"""A JupyterLab for each file of tests, and a fresh page and notebook for each test.

Tests that leave a notebook as they found it share one: opening it takes longer than
they do. Their files have a fixture for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omnimouse_app.browser.chromium import BrowserMissingError, chromium
from omnimouse_app.browser.page import NotebookPage, page_in
from omnimouse_app.browser.server import serving

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Let the fixture below know how its test went."""
    report = yield
    if report.when == "call":
        item.has_failed = report.failed
    return report


@pytest.fixture(scope="module")
def browser():
    try:
        with chromium() as running:
            yield running
    except BrowserMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    notebooks = tmp_path_factory.mktemp("notebooks")
    with serving(notebooks, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@contextmanager
def watched(tab: NotebookPage, item: pytest.Item, kept: Path) -> Iterator[None]:
    """Check that a test leaves no error in a page; keep what explains a failure."""
    tab.errors.clear()
    yield
    if tab.errors or getattr(item, "has_failed", True):
        tab.keep(kept)
        print(f"\npicture and logs: {kept}")
    assert not tab.errors


@pytest.fixture
def tab(browser, server, tmp_path, request):
    """A notebook page of one test's own."""
    with page_in(browser, server) as opened, watched(opened, request.node, tmp_path):
        yield opened


@pytest.fixture(scope="session")
def demo():
    """The demo's recording is simulated before anybody waits for it in a page."""
    from omnimouse_model.demo import demo_session

    demo_session()
