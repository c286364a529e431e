"""What drives a browser says what is missing, and reads nobody's settings."""

from pathlib import Path

import pytest

from omnimouse_app.browser import chromium, server


def test_without_a_browser_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "OTHER_PATHS", ())
    with pytest.raises(chromium.BrowserMissingError):
        chromium.find_chromium()


def test_a_server_knows_nobody_s_settings(tmp_path):
    env = server.private_environment(tmp_path, server.SETTINGS)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert Path(env[name]).is_relative_to(tmp_path)
    settings = (tmp_path / "settings").rglob("*.jupyterlab-settings")
    assert ["fetchNews" in path.read_text() for path in settings] == [True]
