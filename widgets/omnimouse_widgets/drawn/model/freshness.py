"""Freshness of the displayed prediction as a sign, a tone and a text."""

from omnimouse_model.live.results import Results
from omnimouse_widgets.palette import Tone

SILENT = (
    "The process of the model has not answered for 5 s: it is stopped, or the machine has no "
    "time or memory for it."
)
WAIT_TIP = "Go on waiting; the result is shown when it arrives"
RESTART_TIP = "End the process and start it again; the prediction is repeated"


def freshness_text(results: Results, *, is_long: bool) -> tuple[str, Tone, str]:
    """Return sign, tone and text; the signs differ in shape, not only in colour."""
    if results.error is not None:
        return "✕", "problem", "error"
    if results.freshness == "streamed":
        return "▶", "good", "streamed, not scored"
    # The selected neurons are predicted before the population, so their freshness can
    # differ.
    if results.freshness == "fresh" and results.population_freshness != "fresh":
        return "◑", "waiting", f"selected fresh, population {_population(results)}"
    if results.freshness == "fresh":
        elapsed_ms = results.elapsed_ms
        took = "" if elapsed_ms is None else f" · took {_duration(elapsed_ms)}"
        return "●", "good", f"fresh{took}"
    if results.freshness == "stopped":
        if results.is_old:
            return "◐", "waiting", "stopped: an older prediction is shown"
        return "○", "waiting", "stopped"
    # Before "stale" and "running": a long wait is reported in both cases.
    if is_long:
        return "◌", "waiting", "predicting…"
    if results.freshness == "stale":
        return "◐", "waiting", "older"
    if results.freshness == "running":
        return "◌", "waiting", "requested"
    return "○", "quiet", "no request"


def _population(results: Results) -> str:
    if results.population_freshness == "stopped":
        return "stopped"
    return "older" if results.is_population_old else "requested"


def _duration(elapsed_ms: float) -> str:
    if elapsed_ms < 1000:
        return f"{elapsed_ms:z.0f} ms"
    return f"{elapsed_ms / 1000:z.1f} s"
