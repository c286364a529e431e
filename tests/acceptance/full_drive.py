"""Every command that writes, on a drive that is full and on one that is read-only.

    python -m tests.acceptance.full_drive

Needs Linux with user namespaces, in which it mounts small drives. Prints one line per
command and drive. Exits with 1 if a command does not end with status 1 and one line
that names the drive, or leaves a temporary file.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL_KB = 64
COMMANDS = {
    "convert": "convert demo {drive}/demo.zarr",
    "predict": "predict demo --model mean --mask test/video_behavior --tier test"
    " --out {drive}/mean.zarr",
    "evaluate": "evaluate --model mean --session demo --no-baselines"
    " --strategy test/video_behavior --out {drive}/results.jsonl",
    "sweep": "sweep --model last --session demo --history 10 --out {drive}/sweep.jsonl",
    "simulate": "simulate {drive}/mice",
    "train": "train smoke --out {drive}/run",
    "finetune": "finetune demo unseen --out {drive}/fine.safetensors --steps 2",
    "demo": "demo --headless {drive}/pictures",
}
TIMEOUT_S = 300.0


def run(name: str, drive: str) -> str:
    """Return what was wrong with a command on a drive of a kind, "" if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        words = COMMANDS[name].format(drive=folder)
        left = Path(folder).with_suffix(".left")
        # The list of what is left is taken inside the namespace, where the mount is.
        script = (
            f"mount -t tmpfs -o size={SMALL_KB}k tmpfs {folder} && "
            + (f"head -c 1M /dev/zero > {folder}/filler; " if drive == "full" else "")
            + (f"mount -o remount,ro {folder}; " if drive == "read-only" else "")
            + f"{sys.executable} -m omnimouse_app {words}; status=$?; "
            + f"find {folder} -mindepth 1 > {left}; exit $status"
        )
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=os.environ,
        )
        found = left.read_text().split() if left.exists() else []
        left.unlink(missing_ok=True)
    lines = [x for x in done.stderr.strip().splitlines() if x.startswith("omnimouse:")]
    extra = [path for path in found if "/." in path.removeprefix(folder)]
    print(f"{name:9s} {drive:9s} {done.returncode} {(lines or ['-'])[-1]}", flush=True)
    # What is written may fit on a small drive.
    if done.returncode == 0 and drive == "small":
        return ""
    if done.returncode != 1 or len(lines) != 1 or folder not in lines[0]:
        return f"status {done.returncode}: {done.stderr.strip()[-300:]}"
    if "Traceback" in done.stderr:
        return "traceback"
    return f"left {extra}" if extra else ""


def main() -> int:
    """Run every command on every kind of drive."""
    names = sys.argv[1:] or list(COMMANDS)
    faults = {
        f"{name}, {drive}": fault
        for name in names
        for drive in ("small", "full", "read-only")
        if (fault := run(name, drive))
    }
    for case, fault in faults.items():
        print(f"FAULT {case}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
