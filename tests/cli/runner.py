"""Commands of `omnimouse` that run in the process of a test."""

from click.testing import CliRunner, Result

from omnimouse_app.cli import group


def run_command(*words: object, text: str | None = None) -> Result:
    """Run `omnimouse` with these words, and this text as standard input."""
    return CliRunner().invoke(group, [str(word) for word in words], input=text)
