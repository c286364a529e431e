"""Linear-Gaussian baseline: one conditional mean for any mask, fitted to a session."""
