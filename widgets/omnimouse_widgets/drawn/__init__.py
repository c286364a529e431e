"""What both faces draw, as numbers and words: they know no toolkit."""
