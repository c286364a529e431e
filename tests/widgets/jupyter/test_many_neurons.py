import threading

import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.masks import HIDDEN
from omnimouse_widgets.jupyter.painter import MaskPainter

N = 70_000


def test_neurons_beyond_the_limit_of_the_field_are_painted(empty_controller, page):
    responses = np.random.default_rng(0).random((120, N), np.float32)
    # The ids confirm that there are more neurons than samples.
    arrays = {"responses": responses, "rate_hz": 30.0, "unit_ids": np.arange(N)}
    session = open_session(arrays)
    empty_controller.loader.open_now(session)
    empty_controller.selection.select([])
    painter, told = MaskPainter(empty_controller), threading.Event()
    opened = page(painter)
    painter.observe(lambda _: told.set(), "problem")
    opened.look()
    assert told.wait(60)
    assert "65,535" in painter.problem
    neurons = np.array([4, N - 1], np.uint32)
    stroke = {"code": HIDDEN, "begin": {"code": HIDDEN}, "end": True}
    opened.say("paint", neurons.tobytes(), **stroke)
    states = empty_controller.state.mask.state_in((0, 60))
    assert states[neurons].tolist() == [HIDDEN, HIDDEN]
    assert painter.counts["hidden"] >= 2
