"""A private Jupyter server: local, with a token, without settings of the user.

It neither reads nor writes settings of the user. JupyterLab, Notebook 7 and voila, if
installed, are three addresses of the same server.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

LOG: Final = "server.log"
START_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 10.0
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # The news dialog would take the keyboard.
    "notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Without retries: otherwise the server would choose a port that is not known here.
CONFIGURATION: Final = """
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.open_browser = False
c.ServerApp.port_retries = 0
c.ExtensionApp.open_browser = False
c.LabApp.expose_app_in_browser = True
c.LabApp.extension_manager = "readonly"
c.JupyterNotebookApp.expose_app_in_browser = True
# A TCP port of a kernel would show outputs to every account of this machine; a socket in
# the private folder does not. The system limits the path of a socket.
import os, sys
if sys.platform == "linux" and len(os.environ["JUPYTER_RUNTIME_DIR"]) < 56:
    c.KernelManager.transport = "ipc"
"""
# A proxy in the environment could not reach this server.
_WITHOUT_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class NotebookServer:
    """Address, token and folders of a running server."""

    port: int
    token: str
    folder: Path
    log: Path

    def lab(self, notebook: str) -> str:
        """Return a notebook's address in JupyterLab, in a new workspace."""
        return self._address(f"lab/workspaces/{secrets.token_hex(4)}/tree/{notebook}")

    def notebook(self, notebook: str) -> str:
        """Return a notebook's address in Notebook 7."""
        return self._address(f"notebooks/{notebook}")

    def voila(self, notebook: str) -> str:
        """Return a notebook's address as a page without code."""
        return self._address(f"voila/render/{notebook}")

    def kernels(self) -> list[str]:
        """Return the ids of the running kernels."""
        return [kernel["id"] for kernel in json.loads(self._request("GET", "api/kernels"))]

    def end_kernels(self, exceptions: Sequence[str] = ()) -> None:
        """End all kernels except some; each kernel holds a model in memory."""
        for kernel in set(self.kernels()).difference(exceptions):
            # A kernel may have ended since it was listed.
            with suppress(urllib.error.HTTPError):
                self._request("DELETE", f"api/kernels/{kernel}")

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def _request(self, method: str, path: str) -> bytes:
        address = f"http://127.0.0.1:{self.port}/{path}"
        request = urllib.request.Request(address, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with _WITHOUT_PROXY.open(request, timeout=30) as response:
            return bytes(response.read())


@contextmanager
def jupyter_server(
    folder: Path, scratch: Path, settings: Mapping[str, Mapping[str, Any]] = SETTINGS
) -> Iterator[NotebookServer]:
    """Serve a folder of notebooks for the duration of the block.

    Parameters
    ----------
    folder
        The notebooks.
    scratch
        An empty folder for settings and the server's log.
    settings
        Settings of JupyterLab's plugins, by plugin name.

    Raises
    ------
    RuntimeError
        The server did not start; the message has the end of its log.
    """
    env = private_environment(scratch, settings)
    # Another process may take the free port before the server starts.
    for _ in range(3):
        server = NotebookServer(_free_port(), secrets.token_hex(16), folder, scratch / LOG)
        process = _start(server, env)
        try:
            if _responds(server, process):
                yield server
                return
        finally:
            _end(server, process)
    tail = server.log.read_text(errors="replace").splitlines()[-20:]
    raise RuntimeError("\n".join(["JupyterLab did not start:", *tail]))


def _start(server: NotebookServer, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--ServerApp.root_dir={server.folder}"]
    command += [f"--ServerApp.port={server.port}"]
    # Jupyter does not start for root without this option.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with server.log.open("wb") as log:
        return subprocess.Popen(
            command,
            # Everybody on this machine can read the arguments of a process, but only its
            # owner the environment.
            env=env | {"JUPYTER_TOKEN": server.token},
            cwd=server.folder,
            stdout=log,
            stderr=log,
            # A session of its own, so that `_end` can signal the whole process group.
            start_new_session=os.name == "posix",
        )


def _free_port() -> int:
    with socket.socket() as listening:
        # Port 0 lets the system choose a free port.
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def private_environment(scratch: Path, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Write settings to `scratch`; return an environment in which Jupyter uses them."""
    folders = {
        "JUPYTER_CONFIG_DIR": scratch / "config",
        "JUPYTER_DATA_DIR": scratch / "data",
        "JUPYTER_RUNTIME_DIR": scratch / "runtime",
        "IPYTHONDIR": scratch / "ipython",
        "JUPYTERLAB_SETTINGS_DIR": scratch / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": scratch / "workspaces",
    }
    for folder in folders.values():
        # The connection files of kernels contain keys.
        folder.mkdir(mode=0o700)
    (scratch / "config" / "jupyter_server_config.py").write_text(CONFIGURATION)
    plugins = scratch / "settings" / "@jupyterlab" / "apputils-extension"
    plugins.mkdir(parents=True)
    for plugin, values in settings.items():
        path = plugins / f"{plugin}.jupyterlab-settings"
        path.write_text(json.dumps(values))
    return os.environ | {name: str(folder) for name, folder in folders.items()}


def _responds(server: NotebookServer, process: "subprocess.Popen[bytes]") -> bool:
    """Wait for the first response; return False if the server ends or is too slow."""
    deadline_s = monotonic() + START_TIMEOUT_S
    while monotonic() < deadline_s and process.poll() is None:
        with suppress(OSError, HTTPException):
            server._request("GET", "api/status")
            return True
        sleep(0.1)
    return False


def _end(server: NotebookServer, process: "subprocess.Popen[bytes]") -> None:
    """End the server, its kernels, and all other processes that it started."""
    with suppress(OSError, HTTPException):
        server.end_kernels()
    # The server first gets time to save and to remove its files.
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
    # The kernels are processes of the same group.
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
