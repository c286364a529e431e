"""Commands that compare the library with reference values from elsewhere."""
