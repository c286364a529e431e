"""`omnimouse evaluate`: the command, and the report that it prints."""

from omnimouse_app.cli.evaluate.command import command as command
