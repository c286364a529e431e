"""A small simulated session, and OmniMouse open on it in a real window."""

import numpy as np
import pytest

from omnimouse_model.masks import TARGET, VISIBLE
from omnimouse_model.predict.predictor import Encoded, Needs, Prediction


class EchoPredictor:
    """Predicts a known function of mask and truth, so that screens can be checked."""

    predictor_id = "echo"
    needs = Needs(sees_video=True, sees_behavior=True, predicts_behavior=True)

    def prepare(self, session):
        pass

    def encode(self, window, mask):
        return Encoded(window, mask, None)

    def decode(self, encoded, neurons=None):
        window, mask = encoded.window, encoded.mask
        asked = np.flatnonzero((mask.cells == TARGET).any(axis=0))
        chosen = asked if neurons is None else np.asarray(neurons, np.int64)
        phase = np.arange(60)[:, None] / 7 + chosen[None]
        drawn = window.responses[:, chosen] + 0.3 * np.sin(phase)
        responses = np.where(mask.cells[:, chosen] == TARGET, drawn, np.nan)
        behavior = 0.5 * window.behavior if mask.behavior == "target" else None
        return Prediction(
            responses=responses.astype(np.float32),
            neurons=chosen,
            behavior=behavior,
            mask_id=mask.mask_id,
            predictor_id=self.predictor_id,
        )

    def predict(self, window, mask, neurons=None):
        return self.decode(self.encode(window, mask), neurons)

    def predict_many(self, requests, cancelled=lambda: False):
        for request in requests:
            yield self.predict(*request)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    from omnimouse_model.simulate import HeldOut, MouseSpec, write_session

    held_out = HeldOut(validation=1, final_test_1=1, oracle_clips=1, oracle_repeats=2)
    spec = MouseSpec("small", "80001-1-1", 11, 12, 150, 1.1, held_out)
    folder = tmp_path_factory.mktemp("sessions") / "small"
    write_session(spec, folder)
    return folder


@pytest.fixture(scope="session")
def echo():
    return EchoPredictor()


@pytest.fixture(scope="module")
def window(qapp, echo, session_folder):
    """OmniMouse on the small session, in one window for the tests of a module."""
    import napari

    from omnimouse_app.docks import open_instrument
    from omnimouse_model.live.controller import Controller
    from omnimouse_widgets.qt.hop import qt_post

    controller = Controller(post=qt_post(), load=lambda name, session, device: echo)
    controller.choose_predictor("echo")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1440, 900)
    opened = open_instrument(viewer, controller)
    controller.open_session(session_folder)
    let_it_rest(opened)
    yield opened
    opened.close_viewer()
    qapp.processEvents()


@pytest.fixture
def dock(window):
    """The window as it opens: first preset, brush in hand, whole field in view."""
    from omnimouse_app.hand import settle, wait_for

    controller, brush = window.controller, window.instrument.brush
    window.main_window.resize(1440, 900)
    let_it_rest(window)
    brush.tool, brush.radius = "brush", 14.0
    controller.set_colour_by("state")
    controller.apply_preset("video_behavior")
    controller.set_brush(VISIBLE)
    controller.set_active_span(0, 60)
    controller.set_cursor(0)
    controller.select([3, 14, 15])
    wait_for(lambda: is_answered(window), "the answer", 60)
    settle(0.1)
    window.instrument.layers.show_whole_field()
    settle(0.05)
    return window


def let_it_rest(dock):
    """Wait until the window has stopped laying itself out, which moves the view."""
    from omnimouse_app.hand import settle

    before = None
    for _ in range(30):
        settle(0.3)
        camera = dock.viewer.scene.camera
        now = (camera.zoom, camera.center, dock.main_window.size())
        if now == before:
            return
        before = now
    raise TimeoutError("The window does not come to rest.")


def is_answered(dock):
    results = dock.controller.results
    return results.freshness == results.population_freshness == "fresh"
