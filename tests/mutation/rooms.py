"""Rooms of the mutation run: source files, and the tests that must find a fault."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """Source files of one topic and their tests, as glob patterns from the checkout.

    The tests run in this order until one fails, so the most specific ones come first.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]


def _files(folder: str, names: str) -> tuple[str, ...]:
    """Return paths of files in one folder; `names` are separated by spaces."""
    return tuple(f"{folder}/{name}.py" for name in names.split())


_MODEL = "model/omnimouse_model"
_TESTS = "tests/model"
ROOMS = {
    "masks": Room(
        _files(_MODEL, "masks/*"),
        _files(_TESTS, "masks/test_* live/mask/test_editor")
        + _files(_TESTS, "analysis/sweep/test_context_of_mask")
        + _files(_TESTS, "families/omnimouse/test_tokens")
        + _files(_TESTS, "predict/test_foreign_specs"),
    ),
    "tokens": Room(
        _files(_MODEL, "families/omnimouse/tokens"),
        _files(f"{_TESTS}/families/omnimouse", "test_tokens test_network test_predictor")
        + _files(_TESTS, "masks/test_strategies"),
    ),
    "windows": Room(
        _files(f"{_MODEL}/data", "session recording clock signal")
        + _files(f"{_MODEL}/data", "stimulus"),
        _files(f"{_TESTS}/data", "test_* readers/test_errors")
        + _files(f"{_TESTS}/data/readers", "test_experanto")
        + _files(_TESTS, "live/test_navigation analysis/test_counterfactual")
        + _files(_TESTS, "predict/test_foreign_specs"),
    ),
    "metrics": Room(
        _files(f"{_MODEL}/metrics", "correlation information")
        + _files(f"{_MODEL}/metrics", "repeats tuning"),
        _files(_TESTS, "metrics/test_* live/neurons/test_repeats")
        + _files(_TESTS, "analysis/test_evaluate")
        + _files(_TESTS, "live/neurons/test_neuron_info")
        + _files(_TESTS, "data/test_resampling"),
    ),
    "statistics": Room(
        _files(f"{_MODEL}/metrics", "named time_blocks fits")
        + _files(f"{_MODEL}/data/readers/build", "finalise")
        + _files(f"{_MODEL}/evaluation", "running_score results repeats"),
        _files(_TESTS, "metrics/test_*")
        + _files(_TESTS, "analysis/test_evaluate evaluation/test_repeats")
        + _files(_TESTS, "evaluation/test_evaluate_parts")
        + _files(f"{_TESTS}/analysis", "scaling/test_fits")
        + _files(f"{_TESTS}/data", "test_* readers/test_hostile_folders")
        + _files(f"{_TESTS}/data", "readers/test_errors"),
    ),
    "predictors": Room(
        _files(f"{_MODEL}/families", "classical/* parts/* omnimouse/predictor ensemble/*")
        + _files(f"{_MODEL}/predict", "compatibility predictor devices")
        + _files(f"{_MODEL}/inference", "mask_delta"),
        _files(f"{_TESTS}/families", "classical/test_predictor omnimouse/test_predictor")
        + _files(_TESTS, "inference/test_registry predict/test_compatibility")
        + _files(f"{_TESTS}/predict", "test_devices")
        + _files(f"{_TESTS}/live", "models/test_fallback_baseline mask/test_editor")
        + _files(_TESTS, "evaluation/test_evaluate_parts masks/test_files")
        + _files(_TESTS, "predict/test_foreign_specs")
        + _files(f"{_TESTS}/live", "test_navigation")
        + _files(f"{_TESTS}/inference", "test_client test_lifetime"),
    ),
}
