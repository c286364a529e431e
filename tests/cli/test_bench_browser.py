"""What drives a browser says what is missing, and reads nobody's settings."""

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

from tests.bench.browser import chromium, server


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


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_other_accounts_find_no_token_and_no_port_of_a_kernel(tmp_path):
    with (
        TemporaryDirectory(prefix="om-") as scratch,
        server.jupyter_server(tmp_path, Path(scratch)) as running,
    ):
        running._request("POST", "api/kernels")
        deadline_s = monotonic() + 60
        while len(list((Path(scratch) / "runtime").glob("*-ipc-*"))) < 5:
            assert monotonic() < deadline_s, "the kernel has no sockets in the private folder"
        processes = [path for path in Path("/proc").glob("[0-9]*") if _is_of(path, scratch)]
        assert len(processes) >= 2
        commands = [(path / "cmdline").read_bytes() for path in processes]
        assert not any(running.token.encode() in command for command in commands)
        assert (Path(scratch) / "runtime").stat().st_mode & 0o077 == 0


def _is_of(process: Path, scratch: str) -> bool:
    with suppress(OSError):
        return scratch.encode() in (process / "environ").read_bytes()
    return False
