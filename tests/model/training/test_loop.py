"""Drawing a step ahead: in order, each once, while another is being computed."""

import os
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from omnimouse_model.training.loop import LoopState, drawn_ahead, intervals_of
from omnimouse_model.training.metrics_log import GAIN_ENDS, SCORE_ENDS


def test_the_next_step_is_drawn_while_this_one_is_computed():
    drawn: list[int] = []
    begun = threading.Event()

    def draw(step: int) -> str:
        drawn.append(step)
        if step == 1:
            begun.set()
        return f"step {step}"

    with closing(drawn_ahead(draw, range(3))) as ahead:
        assert next(ahead) == "step 0"
        assert begun.wait(60)  # nobody has asked for step 1 yet
        assert list(ahead) == ["step 1", "step 2"]
    assert drawn == [0, 1, 2]


def test_what_drawing_raises_is_raised_where_it_is_taken():
    def draw(step: int) -> int:
        if step == 1:
            raise ValueError("no window")
        return step

    with closing(drawn_ahead(draw, range(3))) as ahead:
        next(ahead)
        with pytest.raises(ValueError, match="no window"):
            next(ahead)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork")
def test_processes_draw_the_same_steps_in_order_and_pass_errors_on():
    def draw(step: int) -> tuple[int, torch.Tensor]:
        if step == 5:
            raise ValueError("no window")
        return os.getpid(), torch.full((3,), step)

    with closing(drawn_ahead(draw, range(2, 6), processes=2)) as ahead:
        drawn = [next(ahead) for _ in range(2, 5)]
        with pytest.raises(ValueError, match="no window"):
            next(ahead)
    assert [int(values[0]) for _, values in drawn] == [2, 3, 4]
    assert len({process for process, _ in drawn} - {os.getpid()}) == 2


def test_a_validation_has_the_interval_of_its_score_and_of_its_gain_in_the_same_windows():
    rng = np.random.default_rng(0)
    # Windows are harder or easier for both; the gain is nearly the same in all of them.
    start = 0.3 + rng.normal(0, 0.02, 10)
    gain = 0.02 + rng.normal(0, 0.001, 10)
    run, none = LoopState(), np.zeros(0)
    (low, high) = intervals_of(run, 0.3, (start, none)).values()
    assert low < 0.3 < high
    run.step = 30
    found = intervals_of(run, 0.32, (start + gain, none))
    assert list(found) == [*SCORE_ENDS, *GAIN_ENDS]
    assert 0.0 < found["gain_low"] < 0.02 < found["gain_high"]
    assert found["gain_high"] - found["gain_low"] < 0.2 * (high - low)
    assert not intervals_of(run, 0.32, (start[:7] + 0.02, none))  # too few blocks of time
