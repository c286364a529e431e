"""Try the wheel as a new user: fresh environments, one for each way to install it.

    python -m tests.acceptance.wheel OUT [--only NAME] [--torch REQUIREMENT]

Builds the wheel into OUT. Each environment is made there, used, measured and removed;
OUT/NAME.log has what was printed, OUT/napari.png the window of the bare name in an
existing napari. Needs a display (`xvfb-run -a`) and takes minutes for each environment.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = """
import omnimouse_app as om
session = om.open_session({"responses": __import__("numpy").ones((900, 5)), "rate_hz": 30.0})
print(session.n_neurons, om.__version__)
"""
WINDOW = """
import sys, time
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
viewer.open_sample("omnimouse-app", "demo")
from omnimouse_app.window.docks import find_instrument
dock, end_s = find_instrument(viewer), time.monotonic() + 240
def is_done():
    return dock.controller.results.population_freshness == "fresh"
while time.monotonic() < end_s and not is_done():
    QApplication.processEvents()
    time.sleep(0.02)
assert is_done(), dock.controller.loader.error
viewer.window._qt_window.grab().save(sys.argv[1])
print(len(dock.docks), "docks;", dock.controller.state.session.id)
dock.close_viewer()
"""
NOTEBOOK = """
import omnimouse_app as om, numpy as np
explorer = om.Explorer("demo", "demo").settled()
print(np.isfinite(explorer.scores).sum(), "scores")
explorer.close()
"""


@dataclass(frozen=True)
class Trial:
    """An environment: what is installed before the wheel, its extras, and its use."""

    name: str
    extras: str = ""
    before: tuple[str, ...] = ()
    code: str = LIBRARY


TRIALS = (
    Trial("library"),
    Trial("napari", before=("napari[pyqt6]>=0.9.2,<0.10",), code=WINDOW),
    Trial("nothing", extras="[napari,pyqt6]", code=WINDOW),
    Trial("notebook", extras="[jupyter,lab]", code=NOTEBOOK),
    *(
        Trial(name, extras=f"[{name}]")
        for name in ("nwb", "hub", "dask", "train", "analysis", "video", "pyside6", "suite2p")
    ),
)


def run(trial: Trial, wheel: Path, torch: str, out: Path) -> bool:
    """Make and use one environment; return whether it worked."""
    folder, log = out / "environment", out / f"{trial.name}.log"
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q"]
    commands = [[sys.executable, "-m", "venv", folder], [*pip, torch]]
    commands += [[*pip, *trial.before]] * bool(trial.before)
    commands += [[*pip, f"{wheel}{trial.extras}"]]
    commands += [[python, "-c", trial.code, out / f"{trial.name}.png"]]
    commands += [[folder / "bin" / "omnimouse", "doctor"]]
    start_s = time.monotonic()
    with log.open("w") as text:
        for command in commands:
            text.write(f"$ {' '.join(map(str, command[:5]))}\n")
            text.flush()
            # In the folder OUT: the packages of a clone must not be found.
            status = subprocess.run(command, cwd=out, stdout=text, stderr=text, timeout=1800)
            if status.returncode:
                break
    size = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, timeout=60)
    megabytes = size.stdout.split()[0]
    print(
        f"{trial.name}: {'works' if not status.returncode else 'FAILED'}, {megabytes} MB with "
        f"torch, {time.monotonic() - start_s:.0f} s",
        flush=True,
    )
    shutil.rmtree(folder)
    return not status.returncode


def main() -> None:
    """Build the wheel and run the trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=[trial.name for trial in TRIALS], action="append")
    parser.add_argument("--torch", default="torch", help="for example torch==2.13.0+cpu")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out]
    subprocess.run(build, cwd=ROOT, check=True, timeout=300)
    wheel = max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    chosen = [trial for trial in TRIALS if options.only is None or trial.name in options.only]
    worked = [run(trial, wheel, options.torch, out) for trial in chosen]
    sys.exit(not all(worked))


if __name__ == "__main__":
    main()
