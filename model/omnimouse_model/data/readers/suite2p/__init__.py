"""Reader of suite2p folders."""
