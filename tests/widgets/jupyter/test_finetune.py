import numpy as np
import pytest

from omnimouse_model.errors import FinetuneError
from omnimouse_model.inference.registry import load_in_process
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.jupyter.jobs import FineTune
from omnimouse_widgets.views.finetune import smoothed
from tests.model.finetune_process import NEW, PATIENCE_S

pytestmark = pytest.mark.slow


@pytest.fixture
def controller(mouse_folder, script, tmp_path):
    made = Controller(load=load_in_process)
    made.finetuning.folder = tmp_path / "models"
    made.model.choose(mouse_folder / "base.safetensors")
    made.loader.open_now(mouse_folder / NEW)
    assert made.requests.wait(PATIENCE_S)
    yield made
    made.close(1.0)


@pytest.fixture
def part(controller):
    return FineTune(controller)


def item_of(message, name):
    """Return a drawn item by its name, also of a row."""
    items = list(message["items"])
    items += [item for row in items if row["kind"] == "row" for item in row["items"]]
    return next((item for item in items if item["name"] == name), None)


def has(name, **fields):
    """Return whether a message has an item with these values."""

    def is_it(message, _):
        item = item_of(message, name)
        return item is not None and all(item[key] == value for key, value in fields.items())

    return is_it


def test_the_page_starts_it_and_its_result_is_chosen(part, controller, script, page):
    bar, opened = ControlBar(controller), page(part, "block0")
    message, _ = opened.wait_for("block0")
    assert item_of(message, "start")["label"] == "Start"
    assert part.layout.display is None
    opened.say("fill", name="settings", field="steps", typed="-5")
    message, _ = opened.wait_for("block0", lambda message, _: item_of(message, "start")["refusal"])
    assert "0 to 100,000" in item_of(message, "settings")["form"][1]["reason"]
    assert part.steps == 300
    with pytest.raises(ValueError, match="0 to 100,000"):
        part.steps = -1
    opened.say("fill", name="settings", field="steps", typed="5")
    assert part.steps == 5
    with pytest.raises(ValueError, match="nothing"):
        part.train = "nothing"
    opened.wait_for("block0", has("start", refusal=""))
    opened.say("press", name="start")
    message, _ = opened.wait_for("block0", has("stop"))
    assert item_of(message, "settings") is None
    script.last = 5
    part.wait(PATIENCE_S)
    finetuning = controller.finetuning
    assert part.progress == 1.0
    message, buffers = opened.wait_for(
        "block0", lambda message, _: "✓" in item_of(message, "message")["text"]
    )
    assert str(finetuning.request.path) in item_of(message, "title")["tip"]
    arrays = [np.frombuffer(each, np.float32) for each in buffers if len(each)]
    found = [np.array(arrays[2 * k : 2 * k + 2]).T for k in range(3)]
    mean = smoothed(finetuning.losses)
    for points, expected in zip(
        found, (finetuning.losses, mean, finetuning.validations), strict=True
    ):
        np.testing.assert_allclose(points, expected, rtol=1e-5)
    assert bar.predictor == str(finetuning.request.path)
    assert "✓ Finished" in part.status
    opened.say("press", name="dismiss")
    assert not part.is_shown
    assert part.layout.display == "none"
    bar.close()


def test_why_it_failed_is_raised_for_code_and_told_in_the_page(part, script, page):
    script.fault = FinetuneError("no_transfer", "'mean' has no embeddings")
    part.start()
    with pytest.raises(FinetuneError, match="'mean'"):
        part.wait(PATIENCE_S)
    message, _ = page(part, "block0").wait_for("block0")
    assert "'mean'" in item_of(message, "problem")["text"]
