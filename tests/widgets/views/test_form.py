import pytest

from tests.widgets.settings import Recording, Settings, form_of


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def form(recording):
    return form_of(recording)


def field_of(form, name):
    (found,) = (each for each in form.fields() if each.name == name)
    return found


def test_a_form_begins_with_the_defaults_of_the_context(form):
    assert form.read() == Settings(neurons=10)
    kinds = {each.name: each.kind for each in form.fields()}
    assert list(kinds) == ["rate_hz", "neurons", "history", "windows", "tier", "video"]
    assert list(kinds.values()) == ["number", "integer", "text", "text", "choice", "switch"]
    assert field_of(form, "history").value == "0, 10"
    assert field_of(form, "windows").empty == "all"


def test_typed_texts_become_values_of_the_type_of_the_setting(form):
    typed = {"rate_hz": "12.5", "neurons": " 7 ", "history": "4,  8,", "windows": "3"}
    for name, text in typed.items():
        form.set(name, text)
    form.set("tier", "oracle")
    form.set("video", False)
    assert form.read() == Settings(12.5, 7, (4, 8), 3, "oracle", False)
    form.set("windows", "")
    assert form.read().windows is None


@pytest.mark.parametrize(
    ("name", "typed", "parts"),
    [
        ("rate_hz", "0", ["0.1", "Hz", "found 0"]),
        ("rate_hz", "nan", ["a number", "nan"]),
        ("rate_hz", "", ["a number", "nothing"]),
        ("neurons", "41", ["0 to 40", "found 41"]),
        ("neurons", "many", ["whole number", "many"]),
        ("history", "2, x", ["whole number", "x"]),
        ("history", "2, -2", ["at least 0", "found -2"]),
        ("history", "3", ["even numbers only"]),
        ("windows", "0", ["at least 1", "found 0"]),
    ],
)
def test_an_invalid_value_stays_with_its_reason(form, name, typed, parts):
    form.set(name, typed)
    shown = field_of(form, name)
    assert shown.value == typed
    assert all(part in shown.reason for part in parts), shown.reason
    assert [each.name for each in form.fields() if each.reason] == [name]
    assert form.refusal
    with pytest.raises(ValueError, match=f"^{shown.label}: .*{parts[-1]}"):
        form.read()
    assert form.value(name) == getattr(Settings(), name)


def test_ranges_and_choices_follow_the_recording(form, recording):
    form.set("neurons", 30)
    form.set("tier", "oracle")
    recording.n_neurons, recording.tiers = 41, ("test", "final")
    # 41 // 4 is the same start value: what was typed holds.
    assert form.read().neurons == 30
    assert form.read().tier == "test"
    assert [value for value, *_ in field_of(form, "tier").options] == ["test", "final"]
    recording.tiers = ("live",)
    assert form.read().tier == "live"
    recording.n_neurons = 20
    assert form.read().neurons == 5
    recording.has_video = False
    assert "no video" in field_of(form, "video").refusal


def test_a_change_is_told_once(form):
    told = []
    form.changed.connect(lambda: told.append(form.value("neurons")))
    form.set("neurons", 3)
    form.set("neurons", 3)
    form.reset()
    assert told == [3, 10]
