"""`python -m tests.bench NAME`: the same as `omnimouse bench NAME`."""

import sys

from omnimouse_app.cli import main

main(["bench", *sys.argv[1:]])
