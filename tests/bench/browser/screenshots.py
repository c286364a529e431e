"""Screenshots of the notebook widgets in a real JupyterLab, for docs/notebooks.md."""

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from tests.bench.browser.page import NO_REQUEST_PENDING, NotebookPage, browser_and_server, page_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator

Pictures = Iterator[tuple[str, "Locator | NotebookPage"]]
"""Names of pictures, each with the element or page that it shows."""
Maker = Callable[[NotebookPage], Pictures]
QUIET_MS: Final = 700
"""Milliseconds; longer than a view needs to draw its last update."""
CELL: Final = """from omnimouse_widgets import Explorer

explorer = Explorer("demo", "{model}")
explorer.settled()"""
NEW_MOUSE: Final = """from pathlib import Path

import omnimouse_app as om
from omnimouse_widgets import Explorer

explorer = Explorer(om.unseen_session(), "demo")
explorer.controller.finetuning.folder = Path({folder!r})
explorer.finetune.steps = {steps}
explorer.controller.requests.wait()
explorer"""
FAMILIES: Final = """explorer = Explorer("demo", {weights}[0])
controller = explorer.controller
for model in {weights}:
    controller.model.choose(model)
    explorer.settled()
    controller.editor.apply_preset("random_half_video_behavior")
    explorer.settled(900, scores=True)
    controller.pins.pin()
explorer.neuron_scores.predictor, explorer.neuron_scores.against = "B", "A"
controller.colouring.choose("difference")
explorer"""
TWIN: Final = """explorer = Explorer("demo", "demo")
explorer.settled()
controller = explorer.controller
controller.editor.apply_preset("video_behavior")
controller.selection.select(controller.state.selection[:4])
controller.pins.pin()
controller.model.choose("twin-demo")
explorer.settled()
controller.pins.pin()
controller.pins.choose_span("10 s")
explorer.settled()"""
SPIKES: Final = """explorer = Explorer("spikes", "ndt-demo")
explorer.settled()
controller = explorer.controller
controller.editor.apply_preset("co_smoothing")
controller.trial_averages.choose("choice")
controller.state.raster_order, controller.state.raster_view = "area", "truth"
explorer.raster.rows_shown = (4.0, 28.0)
explorer.settled()"""
SCALE: Final = 2.0
"""Pixels per CSS pixel, for screens of high resolution."""
WIDE: Final = 2500
"""Pixels; a wider picture is shown smaller in the documentation, and is saved at half size."""
HEAVY: Final = 300_000
"""Bytes; a picture of more, as of the noise of a field, is saved at half size."""
STEPS: Final = 60
PICTURE_SHARE: Final = 0.2
"""Share of the steps before the fine-tuning screenshot: several are scored by then."""


def write_pictures(
    out: Path, model: str = "demo", report: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Operate the explorer, save a screenshot of each state; return their paths.

    Raises
    ------
    BrowserMissingError
        A browser or playwright is missing.
    """
    makers = partial(_explorer, model=model), _finetuning, twin_pictures, spiking_pictures
    return save_pictures(out, report, *makers)


def save_pictures(out: Path, report: Callable[[str], None], *makers: Maker) -> list[Path]:
    """Save the pictures of each maker, all from one page; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with browser_and_server() as (browser, server), page_in(browser, server, scale=SCALE) as tab:
        for name, picture in chain.from_iterable(make(tab) for make in makers):
            paths.append(out / f"{name}.png")
            save_picture(picture, paths[-1])
            report(str(paths[-1]))
    return paths


def _explorer(tab: NotebookPage, model: str) -> Pictures:
    """Yield the name of each picture and the element or page that it shows."""
    tab.open([CELL.format(model=model)])
    # Hide the file list, which takes width from the pictures.
    tab.finish(tab.start("command", "application:toggle-left-area"))
    tab.run_all()
    _wait_for_results(tab)
    yield "explorer", tab
    # 1 is the code of visible responses.
    tab.evaluate("explorer.controller.editor.set_brush(1)")
    field = tab.part("field").first
    for height in (0.35, 0.5, 0.65):
        tab.drag(field, (0.2, height), (0.55, height))
    _wait_for_results(tab)
    yield "painted", tab.page.locator(".jp-OutputArea-output", has=field).first
    tab.evaluate("explorer.controller.editor.apply_preset('video_behavior')")
    tab.evaluate("explorer.controller.colouring.choose('score')")
    _wait_for_results(tab)
    yield "score", tab.part("painter").first
    _bring_to_front(tab, "Context")
    tab.wait_for_kernel(
        # Of the window, or over the tier.
        "bool(explorer.sweep.sweep and explorer.sweep.sweep.is_complete)",
        True,
    )
    tab.part("context").locator("svg polyline").first.wait_for(state="attached")
    _wait_for_results(tab)
    yield "context", tab.page.locator(".jupyter-widget-tab").first
    tab.evaluate("explorer.controller.editor.apply_preset('all_response_only')")
    _bring_to_front(tab, "Behaviour")
    _wait_for_results(tab)
    yield "behaviour", tab.part("behavior").first
    _bring_to_front(tab, "Neurons")
    _wait_for_results(tab)
    yield "neurons", tab.part("neurons").first
    tab.evaluate("explorer.controller.editor.apply_preset('video_behavior')")
    _bring_to_front(tab, "Scores")
    tab.part("scores").locator("svg rect + rect").first.wait_for(state="attached")
    _wait_for_results(tab)
    tab.evaluate("explorer.neuron_scores.select_ranked('highest')")
    _wait_for_results(tab)
    yield "scores", tab.page.locator(".jupyter-widget-tab").first
    _bring_to_front(tab, "Traces")
    _wait_for_results(tab)
    tab.wait_for_kernel("explorer.settled() is explorer", True)
    tab.save()
    # Without a kernel, the page shows the picture that is stored in the notebook.
    tab.server.end_kernels()
    tab.visit(tab.name)
    saved = tab.page.locator(".jp-OutputArea-child:has(+ * .omnimouse-below) img")
    saved.wait_for()
    yield "saved", saved


def _finetuning(tab: NotebookPage) -> Pictures:
    """Yield the picture of a fine-tuning to a mouse that is new to the model."""
    with tempfile.TemporaryDirectory(prefix="omnimouse-tuned-") as folder:
        tab.open([NEW_MOUSE.format(folder=folder, steps=STEPS)])
        tab.run_all()
        part = tab.part("finetune").first
        part.get_by_role("button", name="Start").click()
        # The start values and the first steps take minutes on a busy machine.
        tab.wait_for_kernel(f"explorer.finetune.progress > {PICTURE_SHARE}", True, 400)
        # The run is stopped after the picture, since its end takes minutes.
        yield "finetune", part
        part.get_by_role("button", name="Stop").click()
        part.get_by_text("the run is saved").wait_for()


def family_pictures(tab: NotebookPage, weights: Sequence[str]) -> Pictures:
    """Yield the scores of a model against those of another, and their difference."""
    tab.open(["from omnimouse_widgets import Explorer", FAMILIES.format(weights=list(weights))])
    tab.finish(tab.start("command", "application:toggle-left-area"))
    tab.run_all()
    _bring_to_front(tab, "Scores")
    tab.part("scores").first.locator("svg circle, svg path").first.wait_for(state="attached")
    _wait_for_results(tab)
    # The row of field and tabs, without the stimulus below it.
    yield "families", tab.page.locator(".widget-hbox", has=tab.part("painter")).last


def twin_pictures(tab: NotebookPage) -> Pictures:
    """Yield pictures of a digital twin: pinned beside OmniMouse, and measured."""
    tab.open(["from omnimouse_widgets import Explorer", TWIN])
    tab.run_all()
    _wait_for_results(tab)
    tab.wait_for_kernel("controller.pins.predictions.is_busy", False, 400)
    _bring_to_front(tab, "Traces")
    _wait_for_results(tab)
    yield "twin", tab.page.locator(".jupyter-widget-tab").first
    _bring_to_front(tab, "Laboratory")
    tab.evaluate("setattr(explorer.laboratory, 'repeats', 9)")
    part = tab.part("laboratory").first
    part.get_by_role("button", name="Run").click()
    part.get_by_text("median difference").wait_for(timeout=400_000)
    part.get_by_role("button", name="Colour field").click()
    tab.page.wait_for_timeout(QUIET_MS)
    yield "laboratory", tab


def spiking_pictures(tab: NotebookPage) -> Pictures:
    """Yield pictures of a spiking session with its trials, and of a ranking."""
    tab.open(["from omnimouse_widgets import Explorer", SPIKES])
    tab.finish(tab.start("command", "application:toggle-left-area"))
    tab.run_all()
    _wait_for_results(tab)
    _bring_to_front(tab, "Trials")
    tab.part("trials").first.get_by_text("predicted for all").wait_for()
    _wait_for_results(tab)
    yield "spikes", tab
    _bring_to_front(tab, "Ranking")
    part = tab.part("ranking").first
    part.get_by_role("button", name="Example").click()
    part.get_by_role("button", name="Curves").click()
    part.get_by_role("img", name="ranked").first.wait_for()
    tab.page.wait_for_timeout(QUIET_MS)
    yield "ranking", tab.page.locator(".jupyter-widget-tab").first


def _bring_to_front(tab: NotebookPage, title: str) -> None:
    tab.page.get_by_role("tab", name=title, exact=True).last.click()


def _wait_for_results(tab: NotebookPage) -> None:
    """Wait until all results have arrived and the page has drawn them."""
    tab.wait_for_kernel(NO_REQUEST_PENDING, True)
    tab.part("fresh").first.get_by_text(re.compile("^fresh")).wait_for()
    tab.page.wait_for_timeout(QUIET_MS)


def save_picture(shown: "Locator | NotebookPage", path: Path) -> None:
    """Save a picture of 256 colours, at a quarter of the size in bytes; a heavy one is halved."""
    source = shown.page if isinstance(shown, NotebookPage) else shown
    picture = Image.open(io.BytesIO(source.screenshot())).convert("RGB")
    if picture.width > WIDE:
        picture = picture.reduce(2)
    _save_few_colours(picture, path)
    if path.stat().st_size > HEAVY:
        _save_few_colours(picture.reduce(2), path)


def _save_few_colours(picture: Image.Image, path: Path) -> None:
    few = picture.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
