"""One browser, one JupyterLab, and an explorer that most tests share.

Opening a notebook takes longer than most tests do. Those that end a kernel or read
what a notebook keeps have another one: test_notebook_life.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.browser.chromium import BrowserMissingError, chromium
from tests.bench.browser.page import NotebookPage, page_in
from tests.bench.browser.server import jupyter_server
from tests.browser.explorer import kernel_counts, open_explorer, wait_for_counts
from tests.toy_predictors import write_package

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Record on each test whether it failed, for `page_check`."""
    report = yield
    if report.when == "call":
        item.has_failed = report.failed
    return report


# Not for the session: playwright's loop would run on under the tests of other folders.
@pytest.fixture(scope="package")
def browser():
    try:
        with chromium() as running:
            yield running
    except BrowserMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """A server whose kernels also have the families of `tests.toy_predictors`."""
    notebooks, packages = map(tmp_path_factory.mktemp, ("notebooks", "packages"))
    write_package(packages)
    path = (packages, HERE.parent.parent, os.environ.get("PYTHONPATH", ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
        with jupyter_server(notebooks, tmp_path_factory.mktemp("jupyter")) as running:
            yield running


@pytest.fixture(scope="package")
def demo():
    """The demo's recording is simulated before anybody waits for it in a page."""
    from omnimouse_model.simulate.demo import demo_session

    demo_session()


@contextmanager
def page_check(tab: NotebookPage, item: pytest.Item, folder: Path) -> Iterator[None]:
    """Check that a test leaves no error in a page; write what explains a failure."""
    tab.errors.clear()
    yield
    if tab.errors or getattr(item, "has_failed", True):
        tab.save_logs(folder)
        print(f"\npicture and logs: {folder}")
    assert not tab.errors


@pytest.fixture
def tab(browser, server, demo, tmp_path, request):
    """A notebook page of one test's own."""
    with page_in(browser, server) as page, page_check(page, request.node, tmp_path):
        yield page


@pytest.fixture(scope="package")
def explorer_page(browser, server, demo):
    with page_in(browser, server, has_touch=True) as page:
        open_explorer(page, model="linear-gaussian")
        yield page


@pytest.fixture
def fresh_explorer(explorer_page, request, tmp_path):
    """The shared explorer, as if just opened."""
    tab = explorer_page
    tab.page.get_by_role("tab", name="Traces", exact=True).last.click()
    for act in (
        "editor.apply_preset('video_behavior')",
        "editor.set_brush(1)",
        "selection.select([0, 1])",
    ):
        tab.evaluate(f"explorer.controller.{act}")
    tab.evaluate("setattr(explorer.painter, 'tool', 'brush')")
    tab.evaluate("setattr(explorer.table, 'filter', '')")
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    wait_for_counts(tab, **kernel_counts(tab))
    with page_check(tab, request.node, tmp_path):
        yield tab
