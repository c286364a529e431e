"""What ships as the demo: small, live, and honest about itself."""

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from omnimouse_model.demo import CHECKPOINT, DEMO_SHOWN, UNSEEN
from omnimouse_model.nets.checkpoint import read_checkpoint
from omnimouse_model.nets.omnimouse import Clip
from omnimouse_model.simulate import TRAINING_MICE
from omnimouse_model.strategies import half_population_mask
from omnimouse_model.tokens import layout_from_mask, select_queries, video_step_times
from omnimouse_model.train.config import config_path, read_config


@pytest.fixture(scope="module")
def net():
    return read_checkpoint(CHECKPOINT).build()


def test_the_checkpoint_is_small_of_the_shipped_config_and_knows_its_mice():
    read = read_checkpoint(CHECKPOINT)
    assert CHECKPOINT.stat().st_size <= 20e6
    assert read.sessions[DEMO_SHOWN.data_key] == DEMO_SHOWN.n_neurons >= 1000
    assert len(read.sessions) == len(TRAINING_MICE) >= 8
    assert UNSEEN.data_key not in read.sessions
    assert read.config == read_config(config_path("demo")).model
    assert read.config.hidden_video == "blank"


def test_the_card_says_how_it_was_trained():
    card = json.loads(CHECKPOINT.with_suffix(".json").read_text())["card"]
    assert card["steps"] > 0
    assert card["targets"]


def test_a_new_mask_costs_less_than_thirty_gflop(net):
    count = DEMO_SHOWN.n_neurons
    mask = half_population_mask(count)
    layout = layout_from_mask(mask)
    times = torch.arange(60)[None] / 30
    clip = Clip(
        session=DEMO_SHOWN.data_key,
        neuron_ids=torch.arange(count)[None],
        responses=torch.rand(1, 60, count),
        behavior=torch.randn(1, 5, 40),
        response_times=times,
        video_times=video_step_times(times),
    )
    asked = np.flatnonzero(mask.target.any(axis=0))[:16]
    with torch.no_grad():
        video = net.encode_video(torch.randn(1, 1, 60, 36, 64), layout)
        with FlopCounterMode(display=False) as counter:
            context = net.encode(clip, layout, video)
            few = select_queries(layout, mask, asked)
            net.decode_responses(clip, few, context)
    assert 1e8 < counter.get_total_flops() <= 30e9
