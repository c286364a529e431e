"""Background context sweeps: start, pause, estimate, results."""
