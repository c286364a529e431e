"""Entry point of `python -m omnimouse_app`: the command `omnimouse`."""

from omnimouse_app.cli import main

main()
