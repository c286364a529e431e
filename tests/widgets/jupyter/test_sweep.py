"""The notebook's context curves: what code reads and sets, and what a page gets."""

import pytest

from omnimouse_model.analysis.sweep.run import context_sweep
from omnimouse_widgets.jupyter.jobs import ContextSweep
from omnimouse_widgets.views.context.view import FROM_CODE
from tests.predictors import NoisyPredictor

SELECTED = [3, 11, 30]
CONTENT = "block3"


@pytest.fixture
def noisy_controller(empty_controller, session, tmp_path):
    made = empty_controller
    made.sweeps.folder = tmp_path / "kept"
    made.model.choose(NoisyPredictor())
    made.loader.open_now(session)
    made.selection.select(SELECTED)
    return made


@pytest.fixture
def part(noisy_controller):
    return ContextSweep(noisy_controller)


def items(message):
    rows = [one for one in message["items"] if one["kind"] == "row"]
    inner = [item for row in rows for item in row["items"]]
    return {item["name"]: item for item in (*message["items"], *inner)}


def refusal(message):
    return items(message).get("start", {}).get("refusal")


def test_live_curves_are_computed_while_somebody_looks(part, noisy_controller, page):
    assert not noisy_controller.state.sweep_shown
    opened = page(part)
    opened.look()
    assert noisy_controller.state.sweep_shown
    message, _ = opened.wait_for(CONTENT, lambda one, _: "neurons" in items(one))
    assert items(message)["history_samples"]["lines"]
    assert part.sweep == noisy_controller.results.sweep
    assert f"{len(SELECTED)} neurons" in part.status
    opened.say("gone")
    assert not noisy_controller.state.sweep_shown
    opened.look()
    opened.say("choose", name="live", value=False)
    assert not part.is_live
    assert not noisy_controller.state.sweep_shown
    part.is_live = True
    assert noisy_controller.state.sweep_shown
    part.close()
    assert not noisy_controller.state.sweep_shown


def test_a_sweep_of_a_cell_replaces_the_live_one(part, noisy_controller, page):
    page(part, CONTENT)
    ask = {"neurons": [0, 8], "seeds": 2, "max_windows": 2}
    found = context_sweep(NoisyPredictor(), noisy_controller.state.session, **ask)
    heard = []
    part.observe(heard.append, "is_live")
    part.sweep = found
    assert not part.is_live
    assert len(heard) == 1
    assert [(each.name, each.sweep) for each in part.drawn()] == [(FROM_CODE, found)]
    part.is_live = True
    assert part.sweep == noisy_controller.results.sweep


def test_a_page_fills_the_form_and_starts_a_sweep(part, noisy_controller, page, tmp_path):
    opened = page(part, CONTENT)
    opened.say("choose", name="sweep", value=True)
    message, _ = opened.wait_for(CONTENT, lambda one, _: "settings" in items(one))
    fields = {field["name"]: field for field in items(message)["settings"]["form"]}
    held_out = [value for value, *_ in fields["targets"]["options"]].index("all others")
    typed = {"targets": held_out, "pool": held_out, "neurons": "0, 8", "history": "5"}
    for field, text in {**typed, "draws": "2", "windows": "2"}.items():
        opened.say("fill", name="settings", field=field, typed=text)
    message, _ = opened.wait_for(CONTENT, lambda one, _: refusal(one))
    assert "History" in refusal(message)
    opened.say("fill", name="settings", field="history", typed="10")
    opened.say("press", name="start")
    assert part.problem == ""
    assert part.progress == 1.0
    [entry] = noisy_controller.sweeps.entries
    assert entry.sweep.plan.asked == "held-out neurons from all others"
    assert part.write_csv(tmp_path / "drawn.csv").exists()
    noisy_controller.sweeps._client.choose(None)
    with pytest.raises(ValueError, match="model"):
        part.start(neurons=(0, 8))
