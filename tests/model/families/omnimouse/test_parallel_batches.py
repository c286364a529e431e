"""Batches of a step side by side give, to the bit, what they give in a row."""

import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from omnimouse_model.families.omnimouse.batches import TrainConfig
from omnimouse_model.families.omnimouse.config import OmniMouseConfig
from omnimouse_model.families.omnimouse.training import (
    OmniMouseTraining,
    are_independent,
    parallel_gradients,
)
from omnimouse_model.training.metrics_log import FILE, log_rows
from tests.model.few_steps import train_some
from tests.model.train_process import CONFIG, MICE, sessions_of, write_mice

CPU = torch.device("cpu")
STEPS = 3


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    return sessions_of(write_mice(tmp_path_factory.mktemp("mice")), list(MICE))


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)  # each test ends with the usual number, see `tests.conftest`


def config_of_three_batches(model: OmniMouseConfig, compiles: bool = False) -> TrainConfig:
    phases = tuple(replace(p, accumulate=3) for p in CONFIG.phases)
    return replace(CONFIG, model=model, phases=phases, compile=compiles)


def config_with_drops(paths: float, videos: float) -> OmniMouseConfig:
    hiera = replace(CONFIG.model.hiera, drop_path_rate=videos)
    return replace(CONFIG.model, drop_path_rate=paths, hiera=hiera)


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
def test_a_run_of_two_threads_is_to_the_bit_that_of_one(sessions, tmp_path):
    config = config_of_three_batches(config_with_drops(0.0, 0.0))
    rows, nets = [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        out = tmp_path / str(threads)
        nets.append(train_some(OmniMouseTraining, config, sessions, out, STEPS))
        assert torch.get_num_threads() == threads
        found = log_rows(out / FILE)
        rows.append([(row["step"], row["loss"], row["windows"]) for row in found])
    assert rows[0] == rows[1]
    assert [windows for _, _, windows in rows[0]] == [3 * 2] * STEPS
    for one, two in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.usefixtures("two_threads")
def test_batches_are_computed_at_once_and_answer_in_their_order():
    meet = threading.Barrier(2, timeout=60)
    layer, frozen = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    frozen.requires_grad_(False)
    unused = nn.Parameter(torch.ones(1))

    def forwards(value: float) -> tuple[Tensor, str]:
        meet.wait()
        assert torch.get_num_threads() == 1
        used = frozen if value < 0 else layer
        return used(torch.tensor([value])).sum(), f"{value:g}"

    parameters = [*layer.parameters(), *frozen.parameters(), unused]
    found = parallel_gradients(forwards, [1.0, 2.0, -4.0, 8.0], parameters)
    assert found == ["1", "2", "-4", "8"]
    assert layer.weight.grad == torch.tensor([[11.0]])
    assert frozen.weight.grad is None
    assert unused.grad is None
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_batch_that_fails_ends_the_step_and_gives_the_threads_back():
    weight = nn.Parameter(torch.ones(1))

    def forwards(value: int) -> tuple[Tensor, int]:
        if value == 2:
            raise ValueError("no such neuron")
        return weight.sum(), value

    with pytest.raises(ValueError, match="no such neuron"):
        parallel_gradients(forwards, [1, 2, 3], [weight])
    assert weight.grad is None
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_batches_go_in_a_row_where_they_draw_or_there_is_one_core():
    plain = config_with_drops(0.0, 0.0)
    assert are_independent(config_of_three_batches(plain), CPU)
    for drops in ((0.1, 0.0), (0.0, 0.1)):
        config = config_of_three_batches(config_with_drops(*drops))
        assert not are_independent(config, CPU)
    assert not are_independent(config_of_three_batches(plain, compiles=True), CPU)
    cuda = torch.device("cuda")
    assert not are_independent(config_of_three_batches(plain), cuda)
    torch.set_num_threads(1)
    assert not are_independent(config_of_three_batches(plain), CPU)
