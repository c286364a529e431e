"""Progress of `omnimouse train`: losses, throughput, time left."""

from statistics import median

import click

from omnimouse_app.cli.output import Progress

RECENT = 50
"""Number of recent steps from which losses, throughput and time left are computed."""


class TrainReport:
    """One line that is updated at every step, and one that remains per validation."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._recent: list[dict[str, float]] = []

    def __call__(self, facts: dict[str, float]) -> None:
        """Show a step."""
        self._recent = [*self._recent[1 - RECENT :], facts]
        step = int(facts["step"])
        self._progress(step, self._total, self._line(step))
        if "validation" in facts:
            # The next progress line appears below the validation.
            self._progress.finish()
            click.echo(f"step {step}: {_validation(facts)}", err=True)

    def finish(self) -> None:
        """Keep the last line on screen."""
        self._progress.finish(keep=True)

    def _line(self, step: int) -> str:
        parts = [f"step {step}/{self._total}"]
        for name, word in (
            ("loss", "loss"),
            ("response_loss", "responses"),
            ("behavior_loss", "behaviour"),
        ):
            values = [row[name] for row in self._recent if name in row]
            if values:
                parts.append(f"{word} {sum(values) / len(values):.4g}")
        for name, unit in (
            ("windows_per_s", "windows/s"),
            ("tokens_per_s", "tokens/s"),
        ):
            rates = [row[name] for row in self._recent if name in row]
            if rates:
                # The median is robust against single slow steps.
                rate = median(rates)
                parts.append(
                    f"{rate:,.3g} {unit}" if rate < 1000 else f"{rate:,.0f} {unit}"
                )
        return "  ".join([*parts, *self._left(step)])

    def _left(self, step: int) -> list[str]:
        """Return the time left, from the second step on."""
        first, last = self._recent[0], self._recent[-1]
        if step >= self._total or first is last:
            return []
        # Elapsed time, which includes validation and saving.
        per_step = (last["seconds"] - first["seconds"]) / (step - first["step"])
        return [f"{duration(per_step * (self._total - step))} left"]


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours == 0:
        return f"{minutes} min {whole % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _validation(facts: dict[str, float]) -> str:
    told = ("validation", "loss", "step", "seconds", "lr", "session_lr", "waited_s")
    rest = ("response_loss", "behavior_loss", "windows", "tokens")
    rates = ("windows_per_s", "tokens_per_s")
    scores = {k: v for k, v in facts.items() if k not in (*told, *rest, *rates)}
    words = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
    return f"validation {facts['validation']:.3f}  ({words})"
