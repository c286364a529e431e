"""Settings of a form for tests, with a recording that changes."""

from dataclasses import dataclass, field

from psygnal import SignalInstance

from omnimouse_widgets.views.form import Form, setting


@dataclass
class Recording:
    """What the ranges and choices of `Settings` depend on."""

    n_neurons: int = 40
    tiers: tuple[str, ...] = ("test", "oracle")
    has_video: bool = True
    suffix: str = ""
    changed: SignalInstance = field(default_factory=SignalInstance)

    def become(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.emit()


def is_even(value: tuple[int, ...], _: Recording) -> None:
    """Refuse odd numbers."""
    if any(number % 2 for number in value):
        raise ValueError("even numbers only")


@dataclass(frozen=True, slots=True)
class Settings:
    """One field of each kind."""

    rate_hz: float = setting("Rate", "Samples per second", 30.0, unit="Hz", low=0.1)
    neurons: int = setting(
        "Neurons", "Visible ones", 10, low=0, high=lambda r: r.n_neurons, step=5,
        initial=lambda r: r.n_neurons // 4,
    )  # fmt: skip
    history: tuple[int, ...] = setting("History", "Samples", (0, 10), low=0, check=is_even)
    windows: int | None = setting("Windows", "At most", None, low=1, empty="all")
    tier: str = setting(
        "Tier", "Held-out windows", "test",
        options=lambda r: [(tier, tier.upper() + r.suffix, "") for tier in r.tiers],
    )  # fmt: skip
    video: bool = setting(
        "Video", "Visible", True, refusal=lambda r: "" if r.has_video else "It has no video"
    )


def form_of(recording: Recording) -> Form[Settings]:
    """Return a form over a recording."""
    return Form(Settings, lambda: recording)
