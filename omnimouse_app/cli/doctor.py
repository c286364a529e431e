"""`omnimouse doctor` and `bench`: problems of this machine, and its speed."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import click

import omnimouse_app
from omnimouse_app.cli import LazyGroup
from omnimouse_app.cli.inputs import IN_CLONE, json_option, require_source_code
from omnimouse_app.cli.terminal import echo, emit
from omnimouse_model.extras import install_command
from omnimouse_model.predict.devices import full_memory_text
from omnimouse_model.storage.files import read_text
from omnimouse_model.storage.trees import decode_json

# Qt versions with known defects, and what fails.
BROKEN_QT = {"6.11.0": "docks and resizing", "6.11.1": "docks and resizing"}
GOOD_QT = "6.11.2"
FRONT_ENDS = {"napari": "napari", "jupyter": "ipywidgets", "lab": "jupyterlab"}
"""Extra of a front end -> the package that shows that the user installed it."""
MIN_DISK_GIB, MIN_MEMORY_GIB = 2.0, 3.0
"""Space for the generated demo, and memory of the demo model with its window."""
LIBRARIES = "sudo apt-get update && sudo apt-get install -y {}".format(
    " ".join(
        read_text(Path(omnimouse_app.__file__).with_name("system_libraries.txt"), 2**16).split()
    )
)
NO_DISPLAY = "There is no display. Any command runs on a virtual one: xvfb-run -a omnimouse ..."
# Run in a separate process, since Qt ends the whole process if it finds no screen.
QT_PROBE = """
import json
from qtpy import API_NAME
from qtpy.QtCore import qVersion
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QApplication
app = QApplication([])
surface = QOffscreenSurface()
surface.create()
context = QOpenGLContext()
facts = {"binding": API_NAME, "qt": qVersion(), "platform": app.platformName()}
facts["gl"] = facts["renderer"] = None
if context.create() and context.makeCurrent(surface):
    from OpenGL import GL
    facts["gl"] = GL.glGetString(GL.GL_VERSION).decode()
    facts["renderer"] = GL.glGetString(GL.GL_RENDERER).decode()
print("PROBE" + json.dumps(facts))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check: "ok", a "note", or a "problem" with its remedy."""

    name: str
    value: str | float | None
    unit: str = ""
    status: str = "ok"
    remedy: str = ""


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Check versions, graphics, Qt, device, memory and disk; list remedies.

    The exit status is 1 if a problem prevents OmniMouse from working.
    """
    findings = list(examine())
    emit(
        [asdict(finding) for finding in findings],
        as_json=as_json,
        title="OmniMouse on this machine",
        columns=["name", "value", "unit", "status"],
    )
    if not as_json:
        _print_remedies(findings)
    if any(finding.status == "problem" for finding in findings):
        sys.exit(1)


def examine() -> Iterator[Finding]:
    """Yield the results of all checks, the fastest ones first."""
    yield Finding("system", f"{platform.system()} {platform.release()}")
    # Missing packages come first: the later checks need some of them.
    yield from python_and_packages()
    yield from device()
    yield from memory_and_disk()
    # Without napari, this is an environment of the library or of notebooks.
    if is_installed("napari"):
        yield from screen()
        yield plugin()


def python_and_packages() -> Iterator[Finding]:
    """Yield the installed packages, compared with the project's requirements."""
    yield Finding("python", platform.python_version())
    yield Finding("omnimouse-app", version("omnimouse-app"))
    used = [extra for extra, name in FRONT_ENDS.items() if is_installed(name)]
    # The metadata of the installed distribution: a wheel has no pyproject.toml. Two extras
    # may have the same requirement.
    needed = dict[str, None]()
    for line in requires("omnimouse-app") or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if extra is None or extra[1] in used:
            needed[line.partition(";")[0].strip()] = None
    for requirement in needed:
        yield package(requirement)
    for unused in FRONT_ENDS:
        if unused not in used:
            wanted = "napari,pyqt6" if unused == "napari" else unused
            remedy = f"Only if you want it: {install_command(wanted)}"
            yield Finding(unused, "not installed", "", "note", remedy)


def is_installed(name: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def package(requirement: str) -> Finding:
    """Return the result for one requirement, such as "zarr>=3.0"."""
    name = re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0]
    remedy = f'pip install "{requirement}"'
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Finding(name, None, "", "problem", f"It is not installed: {remedy}")
    minimum = re.search(r">=([\d.]+)", requirement)
    if minimum and _release(installed) < _release(minimum[1]):
        message = f"It is older than {minimum[1]}: {remedy}"
        return Finding(name, installed, "", "problem", message)
    return Finding(name, installed)


def device() -> Iterator[Finding]:
    """Yield the device on which models compute, with its memory."""
    import torch

    yield Finding("cores", os.cpu_count() or 1)
    yield Finding("torch threads", torch.get_num_threads())
    if torch.cuda.is_available():
        name = f"cuda: {torch.cuda.get_device_name(0)}"
        try:
            free, total = torch.cuda.mem_get_info()
        # The CUDA context itself needs about 500 MiB.
        except RuntimeError as error:
            reason = full_memory_text(error) or str(error).partition("\n")[0]
            yield Finding("device", name, "", "problem", reason)
            return
        yield Finding("device", name)
        yield Finding("GPU memory free", round(free / 2**30, 1), "GiB")
        yield Finding("GPU memory", round(total / 2**30, 1), "GiB")
    elif torch.backends.mps.is_available():
        remedy = "Choose it with --device mps; its results were never compared with a CPU's."
        yield Finding("device", "cpu; the Apple GPU on request", "", "note", remedy)
    # An NVIDIA driver with a torch that was built without CUDA.
    elif shutil.which("nvidia-smi") and torch.version.cuda is None:
        remedy = (
            "This torch is a CPU build: delete .venv, run python3 tasks.py setup."
            if IN_CLONE
            else "This torch is a CPU build: pip uninstall torch, then pip install torch"
        )
        yield Finding("device", "cpu; the NVIDIA GPU is not used", "", "note", remedy)
    else:
        yield Finding("device", "cpu")


def memory_and_disk() -> Iterator[Finding]:
    """Yield memory and disk space for a model, a recording and the generated demo."""
    from omnimouse_model.storage.write import cache_dir

    memory = available_memory_gib()
    if memory is not None:
        is_low = memory < MIN_MEMORY_GIB
        remedy = f"Close other programs: the demo needs {MIN_MEMORY_GIB:z.0f} GiB."
        yield Finding("memory free", round(memory, 1), "GiB", *_note_if(is_low, remedy))
    folder = cache_dir()
    # The cache is created by its first use; until then its disk is that of a parent.
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        free = shutil.disk_usage(existing).free / 2**30
    except OSError as error:
        yield Finding("disk free", None, "GiB", "problem", str(error))
        return
    remedy = f"Free {MIN_DISK_GIB:z.0f} GiB at {folder}, or set OMNIMOUSE_CACHE."
    status = _note_if(free < MIN_DISK_GIB, remedy)
    yield Finding("disk free", round(free, 1), "GiB", *status)
    # Containers often mount a cache folder that only root may change.
    if not os.access(existing, os.W_OK):
        remedy = "Set OMNIMOUSE_CACHE to a folder that you may write to."
        yield Finding("cache folder", str(folder), "", "problem", remedy)
    else:
        yield Finding("cache folder", str(folder))


def screen() -> Iterator[Finding]:
    """Yield the results for Qt, its platform, and its OpenGL renderer."""
    is_linux = sys.platform == "linux"
    named = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    has_display = not is_linux or bool(named)
    # Without a display, the offscreen platform still shows whether Qt itself works.
    offscreen = {} if has_display else {"QT_QPA_PLATFORM": "offscreen"}
    probe = subprocess.run(
        [sys.executable, "-c", QT_PROBE],
        env=os.environ | offscreen,
        capture_output=True,
        text=True,
        # A hanging graphics driver must not hang this command.
        timeout=60,
        check=False,
    )
    # Qt and OpenGL may print lines of their own.
    lines = [line for line in probe.stdout.splitlines() if line.startswith("PROBE")]
    if not lines:
        yield Finding("Qt", None, "", "problem", qt_remedy(probe.stderr))
        return
    facts = decode_json(lines[0].removeprefix("PROBE"), "the probe of Qt")
    yield qt(facts["qt"], facts["binding"])
    if has_display:
        yield from _opengl_findings(facts)
    else:
        yield Finding("display", None, "", "note", NO_DISPLAY)


def qt_remedy(message: str) -> str:
    """Return the remedy for an error message of Qt."""
    if "No Qt bindings" in message or "QtBindingsNotFound" in message:
        return f"No Qt binding is installed: {install_command('pyqt6')}"
    if (missing := re.search("No module named '([^']+)'", message)) is not None:
        return f"{missing[1]} is not installed: {install_command('napari,pyqt6')}"
    if "PYQT6" in message.upper() and "cannot open shared object" in message:
        return f"A system library is missing. On Debian or Ubuntu: {LIBRARIES}"
    last = (message.strip().splitlines() or ["it ended without a message"])[-1]
    return f"Qt did not start ({last}). On Debian or Ubuntu: {LIBRARIES}"


def qt(number: str, binding: str) -> Finding:
    """Return the result for a version of Qt with this binding: known defects."""
    is_pyside = binding.lower() == "pyside6"
    broken = BROKEN_QT.get(number)
    # This defect concerns only one combination of versions, so it is not in the table.
    if is_pyside and number == "6.12.0" and sys.version_info < (3, 12):
        broken = "Python 3.11, which ends after some hundred Qt signals"
    package = "pyside6" if is_pyside else "pyqt6-qt6"
    remedy = f'{number} breaks {broken}: pip install "{package}=={GOOD_QT}"'
    status = ("problem", remedy) if broken else ("ok", "")
    return Finding("Qt", f"{number} ({binding})", "", *status)


def plugin() -> Finding:
    """Return the result for the napari plugin: installed, with a valid manifest."""
    from npe2 import PluginManifest

    try:
        manifest = PluginManifest.from_distribution("omnimouse-app")
    # A manifest that does not match the installed code; napari would not list the
    # plugin.
    except ValueError as error:
        again = "pip install -e ." if IN_CLONE else "pip install --force-reinstall omnimouse-app"
        remedy = f"Install the package again: {again} ({error})"
        return Finding("napari plugin", None, "", "problem", remedy)
    return Finding("napari plugin", manifest.display_name)


def available_memory_gib() -> float | None:
    """Return the available memory in GiB; None if the system does not report it."""
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in read_text(info, 2**20).splitlines())
        if "MemAvailable" in fields:
            # /proc/meminfo has kibibytes.
            return int(fields["MemAvailable"].split()[0]) / 2**20
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    return float(psutil.virtual_memory().available) / 2**30


def _opengl_findings(facts: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("display", facts["platform"])
    if facts["gl"] is None:
        remedy = (
            "There is no OpenGL, so napari's canvas stays empty. Unset QT_QPA_PLATFORM "
            f"if it is 'offscreen'; on Debian or Ubuntu: {LIBRARIES}"
        )
        yield Finding("OpenGL", None, "", "problem", remedy)
        return
    yield Finding("OpenGL", facts["gl"])
    # Names of the renderers that draw on the CPU.
    software = re.search("llvmpipe|softpipe|SwiftShader", facts["renderer"] or "")
    remedy = "The CPU draws: correct, but slower. Install a driver of the GPU."
    yield Finding("OpenGL renderer", facts["renderer"], "", *_note_if(software, remedy))


def _note_if(condition: object, remedy: str) -> tuple[str, str]:
    return ("note", remedy) if condition else ("ok", "")


def _release(text: str) -> tuple[int, ...]:
    # Drops local versions such as "2.3.0+cpu".
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _print_remedies(findings: list[Finding]) -> None:
    for finding in findings:
        if finding.remedy:
            echo(f"\n{finding.status}: {finding.name}\n  {finding.remedy}")
    if not any(finding.status == "problem" for finding in findings):
        echo("\nThere is no problem.")


BENCHMARKS = {
    "beside": "Time om.evaluate alone, and beside an Explorer that scores.",
    "finetune": "Compare fine-tuning to a simulated mouse with training with it.",
    "lab": "Time experiments on a model, with their errors.",
    "linear-gaussian": "Fit the baseline to 10,000 neurons, and time new masks.",
    "live": "Time strokes, predictions and scrubbing in the real window.",
    "model": "Time forward passes of the five sizes, part by part.",
    "ndt": "Time held-out neurons and training steps of the neural data transformer.",
    "notebook": "Time strokes, predictions and plots in JupyterLab and a browser.",
    "read": "Count windows per second, from a recording and from the store.",
    "start": "Time the start of the application beside plain napari.",
    "population": "Time predictions after strokes against the number of neurons.",
    "strokes": "Time predictions after strokes, for any size, without a window.",
    "sweep": "Time the live sweep against its contexts one by one.",
    "train": "Time a training step in forward passes, and its loader.",
    "twin": "Time the digital twin per frame, in a clip and streamed.",
}
"""Name -> its line in the help; the command is in `tests/bench/NAME.py`."""


class Benchmarks(LazyGroup):
    """Group that explains an installation without benchmarks in one line."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one benchmark.

        Raises
        ------
        click.ClickException
            The wheel does not contain the benchmarks.
        """
        require_source_code()
        return super().get_command(ctx, cmd_name)


@click.group("bench", cls=Benchmarks, table=BENCHMARKS, package="tests.bench")
def bench() -> None:
    """Measure this machine; every benchmark prints a table, or JSON with --json."""
