"""`python -m omnimouse_app` is the command `omnimouse`."""

from omnimouse_app.cli import main

main()
