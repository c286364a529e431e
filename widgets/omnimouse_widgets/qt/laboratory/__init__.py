"""Laboratory panel: experiments on the chosen model."""
