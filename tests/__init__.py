"""Tests, in folders that mirror the packages."""

from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"
"""Reference inputs and outputs that were computed independently of this project."""
SESSIONS = FIXTURES / "sessions"
SUITE2P = SESSIONS / "suite2p_small"
