import numpy as np
import pytest

from omnimouse_model.errors import FinetuneError
from omnimouse_model.live.controller import Controller
from omnimouse_model.predict.registry import load_in_process
from omnimouse_widgets.jupyter.control_bar import ControlBar
from omnimouse_widgets.jupyter.finetune import FineTune
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


def points(buffer):
    return np.frombuffer(buffer, np.float32).reshape(2, -1).T


def test_the_page_starts_it_and_its_result_is_chosen(part, controller, script, page):
    bar, opened = ControlBar(controller), page(part, "view")
    message, _ = opened.wait_for("view")
    assert message["start"]
    assert message["has_choices"]
    assert part.form.layout.display is None
    part.form.controls["steps"].set_state({"value": "-5"})
    opened.wait_for("view", lambda message, _: not message["can_start"])
    assert part.steps == 300
    with pytest.raises(ValueError, match="0 to 100,000"):
        part.steps = -1
    part.form.controls["steps"].set_state({"value": "5"})
    assert part.steps == 5
    with pytest.raises(ValueError, match="nothing"):
        part.train = "nothing"
    opened.wait_for("view", lambda message, _: message["can_start"])
    opened.say("start")
    opened.wait_for("view", lambda message, _: message["is_busy"])
    assert part.form.layout.display == "none"
    script.last = 5
    part.wait(PATIENCE_S)
    finetuning = controller.finetuning
    assert part.progress == 1.0
    message, _ = opened.wait_for("view", lambda message, _: "✓" in message["text"])
    assert message["folder"] == str(finetuning.request.path)
    _, buffers = opened.wait_for("curves", lambda _, found: len(found[0]) == 8 * 5)
    np.testing.assert_allclose(points(buffers[0]), finetuning.losses, rtol=1e-6)
    mean = smoothed(finetuning.losses)
    np.testing.assert_allclose(points(buffers[1]), mean, rtol=1e-6)
    np.testing.assert_allclose(points(buffers[2]), finetuning.validations, rtol=1e-5)
    assert bar.predictor == str(finetuning.request.path)
    opened.say("dismiss")
    assert not part.is_shown
    bar.close()


def test_why_it_failed_is_raised_for_code_and_told_in_the_page(part, script, page):
    script.fault = FinetuneError("no_transformer", "'mean' has no embeddings")
    part.start()
    with pytest.raises(FinetuneError, match="'mean'"):
        part.wait(PATIENCE_S)
    message, _ = page(part, "view").wait_for("view")
    assert "'mean'" in message["error"]
