"""Each notebook runs from top to bottom and contains the small outputs of one run."""

import getpass
import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.notebooks.run import PATHS, read, run

MAX_BYTES = 300_000
FIGURE = "application/vnd.plotly.v1+json"
SMALL = {
    "01_quickstart": "MAX_WINDOWS = 2\n"
    "from functools import partial\n"
    "from omnimouse_widgets.jupyter import explorer as module\n"
    "module.LiveState = partial(module.LiveState, scores_tier=False)",
    "02_context_size": "MAX_WINDOWS = 1\nSEEDS = 2",
    "03_neuron_predictions": "MAX_WINDOWS = 3",
    "04_behavior_decoding": "MAX_WINDOWS = 2",
    "05_your_own_mouse": "MAX_WINDOWS = 2\nSTEPS = 1",
    "06_digital_twin": "REPEATS = 1\nSTEPS = 1\nFOLDS = 2\n"
    "from omnimouse_model.lab import barcode_decoding\n"
    "barcode_decoding.PENALTIES = (1e-2,)",
    "07_which_sessions_help": "STEPS = 1",
    "08_what_drives_a_neuron": "MAX_WINDOWS = 8\nDRAWS = 1",
}
"""Code that the suite runs after the parameters of each notebook."""
FEW_TRAIN_WINDOWS = """
from omnimouse_model.evaluation import shard
shard.TRAIN_WINDOWS = 1
"""
"""Fewer windows for the means of centred scores, which take most of the time."""
SMALL_MODEL = """
from pathlib import Path
from omnimouse_model.families import omnimouse
omnimouse.DEMO = Path({path!r})
"""
"""Code that replaces the demo model in the kernel of a notebook by a small one.

With the demo model, evaluations take half a minute. The explorer's process keeps it.
"""
# Fine-tuning computes start values from 128 windows in a process of its own, and
# experiments show dozens of videos: half a minute and more.
LONG = ("05_your_own_mouse", "06_digital_twin")
runs = pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.acceptance] * (path.stem in LONG)) for path in PATHS],
    ids=lambda path: path.stem,
)
names = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def kinds(cell):
    """Return the types of the outputs of a cell, without pictures."""
    pictures = {"image/png", "text/html"}
    return [
        (output.output_type, sorted({*output.get("data", {})} - pictures))
        for output in cell.outputs
    ]


def test_all_notebooks_are_tested():
    assert [path.stem for path in PATHS] == [*SMALL]


@names
def test_a_notebook_is_valid_short_and_small(path):
    from nbformat import validate

    book = read(path)
    validate(book)
    assert len(code_cells(book)) <= 15
    assert path.stat().st_size < MAX_BYTES
    assert "widgets" not in book.metadata


@names
def test_outputs_come_from_one_run_without_errors(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    figures = [output for output in outputs if FIGURE in output.get("data", {})]
    for figure in figures:
        # Twice as many pixels as it is wide on the page, and a description.
        shown = figure.metadata["image/png"]
        with Image.open(BytesIO(b64decode(figure.data["image/png"]))) as picture:
            assert picture.width == 2 * shown["width"]
        assert shown["alt"].startswith("Chart. ")


@names
def test_a_notebook_contains_no_local_path_or_user_name(path):
    text = json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False)
    assert str(Path.home()) not in text.replace('"/root"', "")
    assert not re.search(r"(?<![\w:/.])/(home|Users|root|tmp|work|var)/", text)
    user = getpass.getuser()
    assert user == "root" or not re.search(rf"\b{re.escape(user)}\b", text)


@pytest.fixture(scope="module")
def kernel():
    """One kernel for the short notebooks: to start one and to import takes ten seconds."""
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    manager = AsyncKernelManager(kernel_name="python3")
    yield manager
    if manager.has_kernel:
        run_sync(manager.shutdown_kernel)(now=True)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """Code that replaces the demo's net by a small one for the same mouse."""
    from omnimouse_model.families.omnimouse import DEMO
    from omnimouse_model.families.omnimouse.checkpoint import read_checkpoint
    from tests.model.small_net import save_checkpoint, small_net

    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(path, small_net(read_checkpoint(DEMO).sessions))
    return SMALL_MODEL.format(path=str(path))


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.process
@runs
def test_a_notebook_runs_from_top_to_bottom(path, kernel, small_model):
    stored = code_cells(read(path))
    inserted = FEW_TRAIN_WINDOWS + SMALL[path.stem]
    if path.stem in LONG:
        # The shared kernel keeps the small model: a fine-tuning in a process of its own,
        # with the real one, would then refuse the folder that the notebook began.
        book, _ = run(path, inserted)
    else:
        book, _ = run(path, inserted + small_model, kernel)
    for cell, before in zip(code_cells(book), stored, strict=True):
        assert cell.execution_count, cell.source
        assert kinds(cell) == kinds(before), cell.source


# -- claims of the texts ---------------------------------------------------------------
def book_of(number):
    return read(next(path for path in PATHS if path.stem.startswith(number)))


def prose(book):
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def printed(book):
    """Return all text that the stored run printed or showed."""
    outputs = [output for cell in code_cells(book) for output in cell.outputs]
    return "\n".join(one.get("text") or one.data.get("text/plain", "") for one in outputs)


def numbers(pattern, book):
    """Return the numbers of a line of the stored run."""
    return [number(text) for text in re.search(pattern, printed(book)).groups()]


def number(text):
    return float(text.replace("−", "-"))


def figures(book):
    outputs = [output for cell in code_cells(book) for output in cell.outputs]
    return [one.data[FIGURE] for one in outputs if FIGURE in one.get("data", {})]


def short(value):
    return f"{value:.2f}".removeprefix("0")


def test_the_claims_about_context_are_those_of_the_figures():
    book = book_of("02")
    curves, grid = ([trace["y"] for trace in figure["data"]] for figure in figures(book))
    with_video, without, with_video_past, past = curves
    text = prose(book)
    assert f"({short(with_video[0])} to {short(with_video[-1])})" in text
    assert max(with_video_past) < with_video[-1]
    assert f"rise from {short(without[0])}. The first 16 neurons add about " in text
    assert f"about {short(without[1] - without[0])}; sixteen times as many" in text
    assert f"add another {short(without[3] - without[1])}." in text
    assert f"(a third of a second) add about {short(past[1] - past[0])}," in text
    assert past[2] - past[1] < 0.005
    none, ten = (line[3] - line[0] for line in grid[:2])
    assert f"add about {short(none)}; with 10 samples of history, about {short(ten)}" in text


def test_the_claims_about_gains_are_those_of_the_run():
    book = book_of("03")
    text = prose(book)
    scores, gains = (numbers(rf"{name} in test against .* r = (\S+)", book)[0]
                     for name in ("score", "gain"))  # fmt: skip
    assert f"(r = {short(scores)})" in text
    assert f"(r = {short(gains)})" in text
    means = numbers(r"mean gain, test and oracle (\S+) (\S+)", book)
    assert "gain is {} and {} in the two".format(*map(short, means)) in text
    assert min(numbers(r"share that gain.* (\d+)% (\d+)%", book)) > 80
    assert max(*means) < 0.1


def test_the_claims_about_a_new_mouse_are_those_of_the_run():
    book = book_of("05")
    average, start, tuned = (
        numbers(rf"{name} +r = (\S+),", book)[0]
        for name in ("average neuron", "start values", "fine-tuned")
    )
    assert start - average > 0.9 * (tuned - average)
    assert "Almost all of this gain is in the start values" in prose(book)
    low, share = numbers(r"95 % \[(\S+), \S+\], (\d+)% of the neurons", book)
    assert low > 0
    assert share > 50
    before, after = numbers(r"held-out score (\S+) → (\d\.\d+)", book)
    assert before < after < before + 0.02


def test_the_claims_about_a_twin_are_those_of_the_run():
    book = book_of("06")
    found, shuffled, chance = numbers(r"accuracy (\S+), shuffled (\S+), chance (\S+)", book)
    assert max(found, shuffled) < chance + 0.05
    assert "its areas differ little" in prose(book)
    assert numbers(r"error of the orientation (\S+)°", book)[0] < 5
    grey, best = numbers(r"response (\S+) to grey, (\S+) s.d. at best", book)
    assert best > 2 * grey


def test_the_claims_about_a_ranking_are_those_of_the_run():
    book = book_of("07")
    places = re.findall(r"^(\d) spikes\S* (.*)$", printed(book), re.MULTILINE)
    assert [place for place, shared in places if shared] == ["1", "2", "3"]
    rows = re.findall(r"^\d+ +(\w+) +(\d) +\S+ +(\S+) +(\S+) +(\S+)", printed(book), re.MULTILINE)
    value = {(order, int(k)): float(score) for order, k, score, _, _ in rows}
    gain = {(order, int(k)): float(gained) for order, k, _, _, gained in rows}
    for k in range(1, 5):
        assert value["ranked", k] > value["random", k] > value["reverse", k]
    assert [key for key, gained in gain.items() if gained > 0.005] == [("ranked", 2)]
    assert "Only the core of two relatives is better than training from scratch" in prose(book)
    spread = {int(k): float(sd) for order, k, _, sd, _ in rows if order == "ranked"}
    assert max(spread, key=spread.__getitem__) == 3


def decoded(book, channel, decoder):
    """Return the means over draws of a decoder, as the figure of notebook 4 shows them."""
    figure = figures(book)[0]
    titles = [note["text"] for note in figure["layout"]["annotations"]]
    at = titles.index(channel)
    axis = f"x{at + 1}" if at else "x"
    return next(
        trace["y"]
        for trace in figure["data"]
        if trace["xaxis"] == axis and trace.get("name", "").startswith(decoder)
    )


def test_the_claims_about_decoding_are_those_of_the_figure():
    book = book_of("04")
    text, r = prose(book), short
    shown = ("running", "pupil size", "pupil x", "pupil y")
    model = {name: decoded(book, name, "demo-plain") for name in shown}
    ridge = {name: decoded(book, name, "context-ridge") for name in ("pupil x", "pupil y")}
    running, size = model["running"], model["pupil size"]
    assert f"decodes running with r = {r(running[1])} and pupil size with {r(size[1])}" in text
    assert f"with 256 neurons {r(running[3])} and {r(size[3])}." in text
    x, y = (model[name][3] for name in ("pupil x", "pupil y"))
    assert f"rises to r = {r(x)} for x and {r(y)} for y with 256 neurons" in text
    assert f"the ridge regression to {r(ridge['pupil x'][3])} and {r(ridge['pupil y'][3])}" in text
    for decoder in ("demo-plain", "context-ridge"):
        assert max(decoded(book, "change of pupil size", decoder)) < 0.1


def test_the_claims_about_sources_are_those_of_the_run():
    book = book_of("08")
    text, value = prose(book), r" \[(\S+), (\S+)\]"
    (total,) = numbers(r"v\(all\) (\S+) \[", book)
    assert f"all sources together tell {short(total)} of" in text
    unique = {
        name: numbers(rf"{name}: .*?unique (\S+){value}", book)
        for name in ("video", "behavior", "history", "same area", "other areas")
    }
    assert all(unique[name][1] < 0 < unique[name][2] for name in ("video", "behavior"))
    assert max(unique, key=lambda name: unique[name][0]) == "history"
    shallow, deep = (
        numbers(rf"{name} V1: alone (\S+) .*?unique (\S+) ", book) for name in ("shallow", "deep")
    )
    assert deep[0] > 0.9 * shallow[0]
    assert max(shallow[1], deep[1]) < 0.1 * deep[0]
    curves, matrix = figures(book)[2:4]
    informants, random = curves["data"][:2]
    assert np.all(np.array(informants["y"]) > random["y"])
    lowest = np.subtract(informants["y"], informants["error_y"]["arrayminus"])
    assert np.all(lowest < np.add(random["y"], random["error_y"]["array"]))
    cells = np.array(matrix["data"][0]["text"])[:-1].ravel().tolist()  # the last is no pair
    assert f"In {sum('*' in cell for cell in cells)} of {len(cells)} pairs" in text
    values = sorted(number(cell.split()[0]) for cell in cells)
    assert f"small, {short(values[0])} to {short(values[-1])}." in text
    lagged = printed(book).split("past of the source")[1].split(" alone (r²): ", 1)[1]
    lagged = lagged.partition("\n")[2]
    marks = re.findall(r"[:,] \w+ [−-]?\d\.\d{3}(\*?)(?=[,\n]|$)", lagged)
    assert len(marks) == len(cells)
    assert not any(marks), "the notebook says that no interval lies above 0"
