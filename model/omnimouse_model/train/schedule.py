"""Learning rates over a phase (spec "Schedule")."""

from omnimouse_model.train.config import Group, Phase


def learning_rate(group: Group, phase: Phase, step: int) -> float:
    """A group's rate in a phase's step.

    With `warmup_from` the warm-up is the official one: from that rate at the first
    step to the group's own at the last, `from + s·(lr − from)/(warmup − 1)`.
    """
    if phase.warmup_from is not None and step < phase.warmup:
        rise = group.lr * phase.lr_scale - phase.warmup_from
        return phase.warmup_from + step * rise / max(phase.warmup - 1, 1)
    return group.lr * (phase.lr_scale * schedule(phase, step))


def schedule(phase: Phase, step: int) -> float:
    """Linear warm-up, constant, linear fall over the last share of the phase."""
    warm = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    fall = phase.steps * phase.decay
    left = phase.steps - step
    return warm * (min(1.0, left / fall) if fall else 1.0)
