"""Live inference: from the state to requests, and from results to the state."""
