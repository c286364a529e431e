"""Find and run a headless Chromium; nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COMMANDS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
OTHER_PATHS: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "%ProgramFiles%/Google/Chrome/Application/chrome.exe",
    "%ProgramFiles(x86)%/Google/Chrome/Application/chrome.exe",
    "%LocalAppData%/Google/Chrome/Application/chrome.exe",
)
"""Paths on macOS and Windows, which are not on the search path."""
# Draw on the CPU: with a software GPU, each mouse move costs five times as much. Do not
# slow down timers and drawing of a page that is not visible.
ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--no-proxy-server",
)


class BrowserMissingError(FileNotFoundError):
    """No browser, or no playwright to control it, is installed."""


def find_chromium() -> Path:
    """Return the path of Chromium or Google Chrome.

    Raises
    ------
    BrowserMissingError
        Neither is installed; the message says what to install.
    """
    paths = [path for name in COMMANDS if (path := shutil.which(name))]
    # Environment variables name the program folders of Windows.
    others = map(os.path.expandvars, OTHER_PATHS)
    paths += [path for path in others if Path(path).is_file()]
    if not paths:
        raise BrowserMissingError(
            "There is no browser: install Google Chrome or Chromium "
            "(Debian: sudo apt-get install -y chromium fonts-dejavu-core)."
        )
    return Path(paths[0])


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Run a headless browser for the duration of the block.

    Raises
    ------
    BrowserMissingError
        Chromium or playwright is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise BrowserMissingError(
            "Operating a browser needs playwright: pip install playwright "
            "(`playwright install` is not needed)."
        ) from error
    path = find_chromium()
    # Chromium's sandbox does not work for root.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if is_root else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(path), args=arguments)
        try:
            yield browser
        finally:
            browser.close()
