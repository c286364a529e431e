"""Random work for minutes or hours: `python -m tests.soak`, `.window`, `.kills`."""
