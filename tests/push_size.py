"""Print the size that a push would add to the repository, with its largest files.

    python -m tests.push_size [BASE]

BASE is what the other side has, by default origin/main. The exit status is 1 above 2 MB:
pictures and the weights of the demo change only for a release.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIMIT_BYTES = 2 * 10**6


def new_files(base: str, folder: Path) -> Iterator[tuple[int, str]]:
    """Yield compressed bytes and path of each version of a file that BASE lacks."""
    listed = subprocess.run(
        ["git", "rev-list", "--objects", "HEAD", f"^{base}"],
        **{"cwd": folder, "capture_output": True, "text": True, "timeout": 120},
    )
    if listed.returncode:
        reason = listed.stderr.strip().partition("\n")[0]
        sys.exit(f"git does not know {base} ({reason}): python -m tests.push_size BASE")
    sizes = subprocess.run(
        ["git", "cat-file", "--batch-check=%(objecttype) %(objectsize:disk) %(rest)"],
        **{"cwd": folder, "check": True, "capture_output": True, "text": True, "timeout": 120},
        input=listed.stdout,
    )
    for line in sizes.stdout.splitlines():
        kind, size, path = line.split(" ", 2)
        if kind == "blob":
            yield int(size), path


def main(base: str = "origin/main", folder: Path = Path()) -> int:
    """Print the sizes; return 1 if the push is large."""
    files = sorted(new_files(base, folder), reverse=True)
    total = sum(size for size, _ in files)
    print(f"{total / 1e6:.2f} MB in {len(files)} new versions of files")
    for size, path in files[:10]:
        print(f"{size / 1e6:8.2f} MB  {path}")
    return int(total > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
