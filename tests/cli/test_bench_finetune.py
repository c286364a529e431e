"""`omnimouse bench finetune` on small mice: who is fine-tuned, beside what."""

import pytest
import torch

import omnimouse_model as om
from omnimouse_model.inference import registry
from omnimouse_model.predict.predictor import Predictor
from tests.bench import finetune as bench_finetune
from tests.cli.runner import rows_of_command
from tests.model.finetune_process import few_windows
from tests.model.small_net import save_checkpoint, small_net
from tests.small_sessions import simulate_mouse

pytestmark = pytest.mark.slow

STEPS = 1
CONDITIONS = bench_finetune.CONDITIONS[:2]
N_NEURONS = 40


@pytest.fixture
def mice(tmp_path, monkeypatch):
    """Small ones in the place of the demo's own and the unseen one."""
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)  # of all that follow
    made = [
        om.open_session(simulate_mouse(tmp_path / name, N_NEURONS, 1.1, times=2, number=number))
        for number, name in enumerate(("demo", "unseen"), start=1)
    ]
    model = tmp_path / "demo.safetensors"
    save_checkpoint(model, small_net({made[0].id: N_NEURONS}))
    load = om.load_predictor  # also lets `om` keep the true one

    def load_small(name: str, *arguments: object, **options: object) -> Predictor:
        return load(model if name == "demo-plain" else name, *arguments, **options)

    named = {"demo": made[0], "unseen": made[1]}.__getitem__
    monkeypatch.setattr(bench_finetune, "named_session", named)
    monkeypatch.setattr(registry, "load_predictor", load_small)
    monkeypatch.setattr(bench_finetune, "CONDITIONS", CONDITIONS)
    with few_windows():
        yield made


def test_a_new_mouse_is_compared_with_two_other_models(mice, tmp_path):
    command = ["bench", "finetune", "--mouse", "unseen", "--steps", str(STEPS)]
    command += ["--out", str(tmp_path / "runs"), "--max-windows", "1"]
    rows = rows_of_command(*command, "--device", "cpu")
    every, own = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    for beside in (every, own):
        assert [row["condition"] for row in beside] == list(CONDITIONS)
    assert {(row["beside"], row["beside_steps"]) for row in rows} == {
        ("all weights trained with the mouse", STEPS),
        ("demo, its own mouse", None),
    }
    assert {row["steps"] for row in rows} == {STEPS}
    # The new mouse's two models are asked the same; the demo's own mouse is another.
    assert all(row["beside_ceiling"] == row["ceiling"] for row in every)
    assert all(row["beside_ceiling"] != row["ceiling"] for row in own)
    ratio = every[0]["value"] / every[0]["beside_value"]
    assert every[0]["ratio"] == pytest.approx(ratio)
    learned = om.load_predictor(tmp_path / "runs" / "unseen")
    assert learned.needs.n_neurons == {one.id: N_NEURONS for one in mice}
    found = om.evaluate(learned, mice[1], every[0]["condition"], max_windows=1)
    assert found.scores[0].value == pytest.approx(every[0]["value"])
