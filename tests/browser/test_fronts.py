"""The same instrument in the other front ends: Notebook 7 and voila."""

import pytest

from tests.browser.explorer import agree, counts, opened

pytestmark = pytest.mark.usefixtures("demo")


@pytest.mark.parametrize("front", ["notebook", "voila"])
def test_a_stroke_is_painted_and_answered(tab, front):
    opened(tab, front=front)
    before, since = counts(tab), tab.now()
    tab.drag(tab.part("field").first)
    tab.page.wait_for_function(
        "(visible) => !document.querySelector('.omnimouse-counts')"
        ".textContent.includes(visible)",
        arg=f"visible {before['visible']:,} ",
    )
    tab.wait_until_told("drawn", since, name="traces")
    if front == "notebook":
        agree(tab)
