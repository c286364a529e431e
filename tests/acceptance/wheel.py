"""Try the wheel as a new user: fresh environments, one for each way to install it.

    python -m tests.acceptance.wheel OUT [--only NAME] [--torch REQUIREMENT]
        [--python PYTHON] [--uv UV]

Builds the wheel into OUT. Each environment is made there, used, measured and removed;
OUT/NAME.log has what was printed, OUT/napari.png the window of the bare name in an
existing napari. Needs a display (`xvfb-run -a`) and takes minutes for each environment.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[2]
LIBRARY = """
import omnimouse_app as om, numpy as np
session, predictor = om.open_session("demo"), om.load_predictor("demo")
window = session.window(start_s=session.window_starts(tier="test")[0])
mask = om.Mask.from_strategy("test/video_behavior", session)
rates = predictor.predict(window, mask, neurons=np.arange(1)).responses
print(om.__version__, session.n_neurons, "neurons;", np.isfinite(rates).sum(), "samples")
"""
WINDOW = """
import sys, time
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
viewer.open_sample("omnimouse-app", "demo")
from omnimouse_app.window.docks import find_instrument
dock = find_instrument(viewer)
def is_done():
    return dock.controller.results.population_freshness == "fresh"
def wait(seconds, until=lambda: False):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not until():
        QApplication.processEvents()
        time.sleep(0.02)
wait(240, is_done)
assert is_done(), dock.controller.loader.error
wait(3)  # the picture shows what was drawn after the result
viewer.window._qt_window.grab().save(sys.argv[1])
print(len(dock.docks), "docks;", dock.controller.state.session.id)
dock.close_viewer()
"""
NOTEBOOK = """
import omnimouse_app as om, numpy as np
explorer = om.Explorer("demo", "demo").settled(timeout_s=600)
print(np.isfinite(explorer.window_scores).sum(), "scores")
explorer.close()
"""


IBL = """
from one.api import ONE
print(ONE)
"""
OLDER = """
import sys
import napari
from omnimouse_app.window.entry import PluginWidget
viewer = napari.Viewer(show=False)
try:
    PluginWidget(viewer)
except ModuleNotFoundError as error:
    print("refused:", error)
    assert "needs napari" in str(error) and "\\n" not in str(error)
    sys.exit(0)
sys.exit("an older napari was not refused")
"""
MISSING = (
    ("omnimouse", "app", "demo"),
    ("omnimouse", "demo"),
    ("omnimouse", "fetch", "omnimouse-5M"),
    ("omnimouse", "sweep", "--neurons", "0", "--scheduler", "local:1"),
    ("python", "-c", "import omnimouse_app as om; om.launch()"),
    ("python", "-c", "import omnimouse_app as om; om.Explorer('demo')"),
    ("python", "-c", "from omnimouse_widgets import Explorer"),
)
"""Commands that need an extra: each ends with one line that names it."""


@dataclass(frozen=True)
class Trial:
    """An environment: what is installed before the wheel, its extras, and its use."""

    name: str
    extras: str = ""
    before: tuple[str, ...] = ()
    code: str = LIBRARY
    lacks: tuple[tuple[str, ...], ...] = ()
    doctor_status: int = 0


TRIALS = (
    Trial("library", lacks=MISSING),
    Trial("napari", before=("napari[pyqt6]>=0.9.2,<0.10",), code=WINDOW),
    Trial("older-napari", before=("napari[pyqt6]==0.6.6",), code=OLDER, doctor_status=1),
    Trial("nothing", extras="[napari,pyqt6]", code=WINDOW),
    Trial("notebook", extras="[jupyter,lab]", code=NOTEBOOK),
    Trial("ibl", extras="[ibl]", code=IBL),
    *(
        Trial(name, extras=f"[{name}]")
        for name in (
            *("nwb", "hub", "dask", "train", "analysis", "video", "pyside6", "suite2p", "roi"),
        )
    ),
)


def ends_with_its_extra(
    command: tuple[str, ...], programs: Path, environment: dict[str, str], log: TextIO
) -> bool:
    """Run a command that needs a missing extra; return whether its last line names one."""
    done = subprocess.run(
        [programs / command[0], *command[1:]],
        **{"cwd": programs.parent.parent, "env": environment, "timeout": 300},
        **{"capture_output": True, "text": True},
    )
    lines = done.stderr.strip().splitlines()
    log.write(f"$ {' '.join(command)}\n{done.stderr}\n")
    # A command prints the line alone; Python prints it at the end of its traceback.
    is_short = command[0] == "python" or len(lines) == 1
    return bool(done.returncode and is_short and 'pip install "omnimouse-app[' in lines[-1])


def run(trial: Trial, wheel: Path, options: argparse.Namespace, out: Path) -> bool:
    """Make and use one environment; return whether it worked."""
    folder, log = out / "environment", out / f"{trial.name}.log"
    shutil.rmtree(folder, ignore_errors=True)
    programs = folder / "bin"
    python, omnimouse = programs / "python", programs / "omnimouse"
    pip = [python, "-m", "pip", "install", "-q"]
    commands = [[options.python, "-m", "venv", folder], [*pip, options.torch]]
    if options.uv is not None:
        pip = [options.uv, "pip", "install", "-q", "--python", python]
        pip += ["--find-links", options.find_links] * bool(options.find_links)
        commands = [[options.uv, "venv", "-q", "-p", options.python, folder]]
        commands += [[*pip, options.torch]]
    commands += [[*pip, *trial.before]] * bool(trial.before)
    commands += [[*pip, f"{wheel}{trial.extras}"]]
    commands += [[omnimouse, "--version"], [omnimouse, "doctor"], [omnimouse, "doctor", "--json"]]
    commands += [[python, "-c", trial.code, out / f"{trial.name}.png"]]
    # The recording of the demo is simulated once; settings of the user are not read.
    settings = {"OMNIMOUSE_CONFIG": "config", "NAPARI_CONFIG": "napari.yaml"}
    paths = {name: str(folder / place) for name, place in settings.items()}
    environment = {**os.environ, **paths, "OMNIMOUSE_CACHE": str(out / "cache")}
    environment.pop("PYTHONPATH", None)
    failed, start_s = [], time.monotonic()
    with log.open("w") as text:
        for command in commands:
            text.write(f"$ {' '.join(map(str, command[:5]))}\n")
            text.flush()
            # In the folder OUT: the packages of a clone must not be found.
            use = {"cwd": out, "env": environment, "stdout": text, "stderr": text}
            status = subprocess.run(command, **use, timeout=1800).returncode
            if status != (trial.doctor_status if "doctor" in command else 0):
                failed.append(" ".join(map(str, command[:3])))
                break
        else:
            # A panel that fails is logged, and the others go on.
            failed += ["an error that was printed"] * ("Traceback" in log.read_text())
            failed += [
                " ".join(command)
                for command in trial.lacks
                if not ends_with_its_extra(command, programs, environment, text)
            ]
    size = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, timeout=60)
    megabytes = size.stdout.split()[0]
    print(
        f"{trial.name}: {f'FAILED: {failed}' if failed else 'works'}, {megabytes} MB with "
        f"torch, {time.monotonic() - start_s:.0f} s",
        flush=True,
    )
    shutil.rmtree(folder)
    return not failed


def main() -> None:
    """Build the wheel and run the trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=[trial.name for trial in TRIALS], action="append")
    parser.add_argument("--torch", default="torch", help="for example torch==2.13.0+cpu")
    parser.add_argument("--python", default=sys.executable, help="Python of the environments")
    parser.add_argument("--uv", help="program uv: install with it, which takes seconds")
    parser.add_argument("--find-links", help="folder or page with wheels, for uv")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out]
    subprocess.run(build, cwd=ROOT, check=True, timeout=300)
    wheel = max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    chosen = [trial for trial in TRIALS if options.only is None or trial.name in options.only]
    worked = [run(trial, wheel, options, out) for trial in chosen]
    sys.exit(not all(worked))


if __name__ == "__main__":
    main()
