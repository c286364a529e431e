"""The rooms that are mutated: source files, and the tests that must find a fault."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """Source files of one topic and their tests, as glob patterns from the checkout.

    The tests are run in this order until one fails, so the nearest come first.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]


_MODEL = "model/omnimouse_model"
ROOMS = {
    "masks": Room(
        (f"{_MODEL}/masks/*.py", f"{_MODEL}/strategies.py"),
        (
            *("tests/model/masks/test_*.py", "tests/model/test_strategies.py"),
            *("tests/model/test_live_undo.py", "tests/model/test_given.py"),
        ),
    ),
    "tokens": Room(
        (f"{_MODEL}/tokens.py",),
        (
            *("tests/model/test_tokens.py", "tests/model/test_strategies.py"),
            *("tests/model/test_parity.py", "tests/model/test_transformer.py"),
        ),
    ),
    "windows": Room(
        (
            *(f"{_MODEL}/data/windows.py", f"{_MODEL}/data/starts.py"),
            *(f"{_MODEL}/data/clock.py", f"{_MODEL}/data/gather.py"),
            *(f"{_MODEL}/data/signal.py", f"{_MODEL}/data/stimulus.py"),
        ),
        (
            *("tests/model/data/test_*.py", "tests/model/test_windows.py"),
            *("tests/model/test_session_errors.py", "tests/model/test_spikes.py"),
            "tests/model/test_trial_steps.py",
        ),
    ),
    "metrics": Room(
        (
            *(f"{_MODEL}/metrics/behavior.py", f"{_MODEL}/metrics/correlation.py"),
            *(f"{_MODEL}/metrics/geometry.py", f"{_MODEL}/metrics/information.py"),
            *(f"{_MODEL}/metrics/repeats.py", f"{_MODEL}/metrics/spatial.py"),
            *(f"{_MODEL}/metrics/running_repeats.py", f"{_MODEL}/metrics/tuning.py"),
            *(f"{_MODEL}/metrics/streaming.py", f"{_MODEL}/metrics/zig.py"),
        ),
        (
            *("tests/model/metrics/test_*.py", "tests/model/test_clips.py"),
            *("tests/model/test_evaluate.py", "tests/model/test_neuron_facts.py"),
        ),
    ),
    "statistics": Room(
        (
            *(f"{_MODEL}/metrics/aggregate.py", f"{_MODEL}/metrics/bootstrap.py"),
            *(f"{_MODEL}/metrics/fits.py", f"{_MODEL}/data/readers/statistics.py"),
            *(f"{_MODEL}/analysis/scoring.py", f"{_MODEL}/analysis/scores.py"),
            f"{_MODEL}/analysis/population_ceiling.py",
        ),
        (
            *("tests/model/metrics/test_*.py", "tests/model/test_score_summary.py"),
            *("tests/model/test_evaluate.py", "tests/model/test_population_ceiling.py"),
            *("tests/model/test_evaluate_parts.py", "tests/model/test_scaling.py"),
            *("tests/model/data/test_*.py", "tests/model/test_hostile_folders.py"),
        ),
    ),
    "predictors": Room(
        (
            *(f"{_MODEL}/predict/naive.py", f"{_MODEL}/predict/rules.py"),
            *(f"{_MODEL}/predict/ridge.py", f"{_MODEL}/predict/context.py"),
            *(f"{_MODEL}/predict/energy.py", f"{_MODEL}/predict/history.py"),
            *(f"{_MODEL}/predict/seen.py", f"{_MODEL}/predict/fitted.py"),
            *(f"{_MODEL}/predict/ensemble.py", f"{_MODEL}/predict/knowledge.py"),
            *(f"{_MODEL}/predict/parts.py", f"{_MODEL}/predict/predictor.py"),
            *(f"{_MODEL}/predict/transformer.py", f"{_MODEL}/predict/joining.py"),
            *(f"{_MODEL}/predict/deltas.py", f"{_MODEL}/predict/kept.py"),
        ),
        (
            *("tests/model/test_naive.py", "tests/model/test_transformer.py"),
            *("tests/model/test_models.py", "tests/model/test_kept.py"),
            *("tests/model/test_fitted.py", "tests/model/test_memory_fallback.py"),
            *("tests/model/test_evaluate_parts.py", "tests/model/masks/test_files.py"),
            *("tests/model/test_live_undo.py", "tests/model/test_beside.py"),
            *("tests/model/test_worker.py", "tests/model/test_predictor_lifetime.py"),
        ),
    ),
}
