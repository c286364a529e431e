"""Static picture that a saved notebook shows without a kernel."""
