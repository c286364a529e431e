import numpy as np

from omnimouse_model.data.open import open_session
from omnimouse_model.data.session import Session


def messages(session: Session) -> dict[str, str]:
    return {note.code: note.message for note in session.warnings}


def open_responses(responses: np.ndarray) -> Session:
    return open_session({"responses": responses, "rate_hz": 30.0})


def values(n_samples: int, n_neurons: int) -> np.ndarray:
    return np.random.default_rng(0).gamma(1.0, 2.0, (n_samples, n_neurons))


def test_missing_responses_are_counted():
    responses = values(900, 6)
    assert "missing_responses" not in messages(open_responses(responses))
    responses[100:400, 3] = np.nan
    responses[5, 2] = np.inf
    message = messages(open_responses(responses))["missing_responses"]
    for part in ("900 samples", "301 responses", "5.57 %", "NaN", "2 neurons", "2, 3"):
        assert part in message


def test_a_neuron_without_values_is_missing_and_not_silent():
    responses = values(900, 6)
    responses[:, 4] = np.nan
    responses[:, 1] = 2.0
    found = messages(open_responses(responses))
    assert "1 of them without any value (columns 4)" in found["missing_responses"]
    assert "1 of 6 neurons never vary (columns 1)" in found["zero_variance"]


def test_a_large_recording_is_looked_at_in_part():
    responses = np.zeros((30_000, 20), np.float32)
    responses[::7] = 1.0
    responses[:, 3] = np.nan
    responses[::5, 2] = -999
    found = messages(open_responses(responses))
    assert "a part of the recording" in found["missing_responses"]
    assert "(5 %)" in found["missing_responses"]
    assert "(column 2): in a part of the recording, " in found["marks"]
