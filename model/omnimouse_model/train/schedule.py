"""Learning rate as a function of the step within a phase (spec "Schedule")."""

from omnimouse_model.train.config import Group, Phase


def learning_rate(group: Group, phase: Phase, step: int) -> float:
    """Return the learning rate of a parameter group at a step of a phase.

    With `warmup_from`, the warm-up is the official one: step s uses
    `from + s·(lr − from)/(warmup − 1)`, so the last warm-up step reaches `lr`.
    """
    if phase.warmup_from is not None and step < phase.warmup:
        rise = group.lr * phase.lr_scale - phase.warmup_from
        return phase.warmup_from + step * rise / max(phase.warmup - 1, 1)
    return group.lr * (phase.lr_scale * schedule(phase, step))


def schedule(phase: Phase, step: int) -> float:
    """Return the factor of linear warm-up, constant part and linear decay."""
    # step + 1: the first step must not have rate 0, which would waste a batch.
    warm = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    fall = phase.steps * phase.decay
    # Counted with the current step, so the last step has rate lr / fall and not 0.
    left = phase.steps - step
    return warm * (min(1.0, left / fall) if fall else 1.0)
