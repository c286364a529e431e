"""The notebooks are run as a reader runs them."""
