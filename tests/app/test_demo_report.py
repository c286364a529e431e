"""The report of the headless demo; the whole command is an acceptance test."""

import os
import re
import subprocess
import sys

import pytest

from omnimouse_app.tour.report import open_the_demo, scrub, write_report
from omnimouse_app.window.screen import scratch_settings
from omnimouse_model.data.open import open_session
from tests.model.small_net import save_checkpoint, small_net


def check_report(out, n_checks, n_pictures):
    """Check that screen and library agree, and that each picture is in the page."""
    page = (out / "index.html").read_text()
    verdicts = re.findall(r'<span class="(?:good|alert)">(\w+)</span>', page)
    assert len(verdicts) >= n_checks
    assert set(verdicts) == {"same"}
    pictures = len(list(out.glob("*.png")))
    assert page.count("data:image/png;base64,") == pictures >= n_pictures


@pytest.mark.slow
@pytest.mark.process
def test_screen_and_library_agree_in_another_window(qapp, tmp_path, session_folder):
    """With a small transformer of a small mouse."""
    session = open_session(session_folder)
    model = tmp_path / "model.safetensors"
    save_checkpoint(model, small_net({session.id: session.n_neurons}))
    with scratch_settings():
        chapters = (open_the_demo, scrub)
        write_report(tmp_path, session_folder, str(model), chapters=chapters)
    check_report(tmp_path, 1, 1)


@pytest.mark.acceptance
def test_the_headless_demo_leaves_a_report(tmp_path):
    out = tmp_path / "report"
    command = [sys.executable, "-m", "omnimouse_app", "demo", "--headless", str(out)]
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    without_display = {k: v for k, v in os.environ.items() if k not in displays}
    subprocess.run(command, env=without_display, check=True, timeout=600)
    check_report(out, 8, 5)
