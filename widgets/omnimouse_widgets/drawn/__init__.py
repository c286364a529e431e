"""What both interfaces draw, as numbers and text, independent of the toolkit."""
