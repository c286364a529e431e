"""What drives a browser says what is missing, and reads nobody's settings."""

import sys
from pathlib import Path

import pytest

from omnimouse_app.browser import chromium, server
from omnimouse_app.cli import main


@pytest.fixture
def without_browser(monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "ELSEWHERE", ())


@pytest.mark.usefixtures("without_browser")
def test_without_a_browser_it_is_said_what_to_install():
    with pytest.raises(chromium.BrowserMissingError, match="install Google Chrome or"):
        chromium.find_chromium()


def test_a_browser_off_the_search_path_is_found(monkeypatch, tmp_path):
    chrome = tmp_path / "Google Chrome"
    chrome.touch()
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "ELSEWHERE", ("/no/such", "$HERE/Google Chrome"))
    assert chromium.find_chromium() == chrome


@pytest.mark.parametrize("arguments", [["bench", "notebook"], ["demo", "--notebook"]])
def test_without_playwright_a_command_says_so_in_one_line(
    monkeypatch, capsys, tmp_path, arguments
):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    monkeypatch.setattr("omnimouse_app.cli.demo._session", lambda: tmp_path)
    if arguments[0] == "demo":
        arguments = [*arguments, str(tmp_path / "out")]
    else:
        arguments = [*arguments, "--neurons", "demo"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "pip install playwright" in said[0]


def test_a_server_knows_nobody_s_settings(tmp_path):
    env = server._private(tmp_path, server.SETTINGS)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert Path(env[name]).is_relative_to(tmp_path)
    settings = (tmp_path / "settings").rglob("*.jupyterlab-settings")
    assert ["fetchNews" in path.read_text() for path in settings] == [True]
