"""Random work for minutes or hours: `python -m tests.soak`, `-m tests.soak.window`."""
