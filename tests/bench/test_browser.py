"""What drives a browser says what is missing, and reads nobody's settings."""

from pathlib import Path

import pytest

from omnimouse_app.browser import chromium, server


@pytest.fixture
def without_browser(monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "OTHER_PATHS", ())


@pytest.mark.usefixtures("without_browser")
def test_without_a_browser_it_is_said_what_to_install():
    with pytest.raises(chromium.BrowserMissingError, match="install Google Chrome or"):
        chromium.find_chromium()


def test_a_browser_off_the_search_path_is_found(monkeypatch, tmp_path):
    chrome = tmp_path / "Google Chrome"
    chrome.touch()
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "OTHER_PATHS", ("/no/such", "$HERE/Google Chrome"))
    assert chromium.find_chromium() == chrome


def test_a_server_knows_nobody_s_settings(tmp_path):
    env = server.private_environment(tmp_path, server.SETTINGS)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert Path(env[name]).is_relative_to(tmp_path)
    settings = (tmp_path / "settings").rglob("*.jupyterlab-settings")
    assert ["fetchNews" in path.read_text() for path in settings] == [True]
