"""Reader of experanto session folders."""
