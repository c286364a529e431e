"""A running network stops between its modules when a newer request arrives."""

import torch
from torch import nn

from omnimouse_model.families.omnimouse.attention import CrossBlock, SelfBlock
from omnimouse_model.families.omnimouse.network import HieraBlock
from omnimouse_model.families.omnimouse.predictor import checked_between, checked_modules
from tests.predictors import tiny_transformer


def test_a_gpu_is_checked_before_each_block_and_a_cpu_before_each_layer():
    net = tiny_transformer().net
    of_gpu = checked_modules(net, torch.device("cuda"))
    of_cpu = checked_modules(net, torch.device("cpu"))
    blocks = (SelfBlock, CrossBlock, HieraBlock)
    assert set(of_gpu) == {m for m in net.modules() if isinstance(m, blocks)}
    assert {m for m in net.modules() if isinstance(m, nn.Linear)} < set(of_cpu)
    assert not set(of_gpu) & set(of_cpu)


def test_checks_end_with_the_request():
    layer, calls = nn.Linear(2, 2), []
    with checked_between([layer], lambda: calls.append(1)):
        layer(torch.zeros(1, 2))
    layer(torch.zeros(1, 2))
    assert calls == [1]
