"""Entry point of `omnimouse` and of `python -m omnimouse_app`."""

import signal
import sys

from omnimouse_app.sigint import record_interrupts


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line, also during imports."""
    try:
        record_interrupts()
        # Imported here, so that an interrupt of the imports is caught as well.
        from omnimouse_app.cli import main as run

        run()
    except KeyboardInterrupt:
        # A second one must not print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("omnimouse: stopped", file=sys.stderr)
        sys.exit(130)  # 128 + SIGINT, as in shells


if __name__ == "__main__":
    main()
