"""Run the quick tests with the lowest or the newest versions of all packages.

    python -m tests.acceptance.versions {floors,newest} [OPTIONS OF PYTEST]

`python3 tasks.py floors` and `newest` run it. uv chooses the versions that pyproject.toml
allows, and installs them in `.venv-floors` or `.venv-newest`. torch is a CPU build if
PyTorch's index can be reached, else the default build, on Linux 5 GB with CUDA.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import tasks

ROOT = Path(__file__).parents[2]
RESOLUTIONS = {"floors": "lowest-direct", "newest": "highest"}
TOOLS = (
    *("pytest", "pytest-xdist", "pytest-random-order", "hypothesis", "beartype", "trustme"),
    "hdf5plugin",
)
"""Packages of the tests, in the versions of constraints.txt."""
CUDA = re.compile(r"^(torch|triton|nvidia-|cuda-)")


def chosen_versions(folder: Path, resolution: str) -> list[str]:
    """Return `name==version` of every package that the extras of the set-up need."""
    extras = [f"--extra={name}" for name in tasks.EXTRAS if name not in ("suite2p", "roi", "ibl")]
    compile_all = [folder / "bin" / "uv", "pip", "compile", "-q", "--no-annotate", "--no-header"]
    compiled = subprocess.run(
        [*compile_all, "--resolution", resolution, *extras, "pyproject.toml"],
        **{"cwd": ROOT, "check": True, "capture_output": True, "text": True, "timeout": 300},
    )
    return compiled.stdout.split("\n")


def main(name: str, *arguments: str) -> int:
    """Make the environment and run the quick tests in it."""
    folder = ROOT / f".venv-{name}"
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--no-input"]
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=300)
    subprocess.run([*pip, "uv"], check=True, timeout=300)
    versions = chosen_versions(folder, RESOLUTIONS[name])
    torch = next(line for line in versions if line.startswith("torch=="))
    others = folder / "versions.txt"
    others.write_text("\n".join(line for line in versions if not CUDA.match(line)))
    uv = [folder / "bin" / "uv", "pip", "install", "-q", "--python", python]
    has_cpu = tasks.can_reach(f"{tasks.CPU_WHEELS}/torch/")
    build = [f"{torch}+cpu", "--index-url", tasks.CPU_WHEELS] if has_cpu else [torch]
    print(f"{build[0]} and {len(versions)} lines of {others}", flush=True)
    subprocess.run([*uv, *build], check=True, timeout=1800)
    subprocess.run([*uv, "--no-deps", "-r", others], check=True, timeout=1800)
    # The tools must not change the versions.
    pins = [tasks.pinned(tool) for tool in TOOLS]
    subprocess.run([*uv, "-c", others, *pins], check=True, timeout=600)
    subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True, timeout=300)
    words = ["-q", "-n", str(tasks.N_TEST_PROCESSES), "-m", tasks.QUICK, tasks.LIBRARY_TESTS]
    environment = {**tasks.clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.setdefault("OMNIMOUSE_CACHE", str(folder / "omnimouse-cache"))
    environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
    command = [python, "-m", "pytest", *tasks.named_plugins(tasks.PLUGINS), *words, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=7200).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
