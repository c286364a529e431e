"""Actions and measurements of the benchmarks of the window and of the notebook."""
