"""`omnimouse info`: sessions, and checkpoints."""

from omnimouse_app.cli.info.command import command as command
