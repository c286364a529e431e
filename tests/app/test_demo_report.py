"""The demo command without a display: the whole first journey, and its report."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.gui
def test_the_headless_demo_leaves_a_report_in_which_screen_and_library_agree(tmp_path):
    out = tmp_path / "report"
    command = [sys.executable, "-m", "omnimouse_app", "demo", "--headless", str(out)]
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    without_display = {k: v for k, v in os.environ.items() if k not in displays}
    done = subprocess.run(
        command, env=without_display, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (out / "index.html").read_text()
    verdicts = re.findall(r'<span class="(?:good|alert)">(\w+)</span>', page)
    assert len(verdicts) >= 8
    assert set(verdicts) == {"same"}
    assert page.count("data:image/png;base64,") == len(list(out.glob("*.png"))) >= 5
