"""What the benchmarks of the window and of the notebook do and measure."""
