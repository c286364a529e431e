"""Benchmarks of the checkout; they are not part of the wheel."""
