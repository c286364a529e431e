"""Take a package that adds families through the library, the commands and both front ends.

usage: python -m tests.acceptance.family PACKAGE [--no-window] [--only CHECK]

PACKAGE is a folder with a pyproject.toml that states entry points of the group
`omnimouse.families`, or the name of an installed distribution. A folder is not installed:
its entry points are put on the path of this process and of those that it starts. Prints
one line per check and exits with 1 if one fails. `--no-window` leaves the napari window
out, which needs a display.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import distribution
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

GROUP = "omnimouse.families"
FAILURES = (Exception, pytest.fail.Exception)
"""What a check raises; that of pytest is no `Exception`."""
STEPS = 2
"""Steps of every short training."""
PATIENCE_S = 180.0
FAULTS = ("internal error", "a package of models, failed", "Traceback")
"""What no refusal says."""
KNOWN, OTHER, NEW = "a-1-1", "b-1-1", "c-1-1"


def entry_points_of(package: Path) -> dict[str, str]:
    """Return the families that a folder's pyproject.toml states."""
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    return dict(project.get("entry-points", {}).get(GROUP, {}))


@contextmanager
def on_path(package: Path) -> Iterator[tuple[str, ...]]:
    """Put a package and its entry points on the path; yield the paths."""
    source = package / "src" if (package / "src").is_dir() else package
    with TemporaryDirectory() as site:
        info = Path(site) / "package_under_test-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: package-under-test\nVersion: 1.0\n"
        )
        lines = [f"{name} = {value}" for name, value in entry_points_of(package).items()]
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(lines) + "\n")
        paths = (site, str(source.resolve()))
        before = os.environ.get("PYTHONPATH", "")
        sys.path[:0] = paths
        # Worker processes and commands find the package, too.
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, before])
        try:
            yield paths
        finally:
            os.environ["PYTHONPATH"] = before
            for path in paths:
                sys.path.remove(path)


class Course:
    """All checks of one family, in a folder; each is a method."""

    def __init__(self, name: str, folder: Path) -> None:
        import omnimouse_model as om
        from omnimouse_model.inference.families import families
        from tests.small_sessions import SECONDS_PER_TRIAL, write_session

        self.name, self.folder = name, folder
        assert name in families(), "the family cannot be imported; its warning says why"
        self.family = families()[name]
        self.spec = self._spec()
        # Trials that hold two windows, with spikes for a model of counts.
        trial_s = max(SECONDS_PER_TRIAL, ceil(2 * (self.spec.warmup_s + self.spec.duration_s)))
        self.places = [
            write_session(
                folder / key, 12 + k, 4, trial_s, is_spiking=self.spec.responses == "count"
            )
            for k, key in enumerate((KNOWN, OTHER, NEW))
        ]
        self.known, self.other, self.new = (om.open_session(place) for place in self.places)
        self.trained = [self.known, self.other]
        self.model: Any = None
        self.file: Path | None = None

    def _spec(self) -> Any:
        """Windows of the family's models, of those that it trains if it does."""
        import omnimouse_model as om

        if self.family.training is not None:
            return self._plan().spec
        name = next(iter(self.family.names), None)
        return om.OMNIMOUSE if name is None else om.load_predictor(name, device="cpu").needs.spec

    # -- the object -------------------------------------------------------------------
    def check_texts(self) -> None:
        family = self.family
        assert family.name == self.name, "the entry point has another name than the family"
        assert family.title, "title is empty"
        assert family.summary, "summary is empty"

    def check_names(self) -> None:
        import omnimouse_model as om

        for name in self.family.names:
            predictor = om.load_predictor(name, device="cpu")
            assert isinstance(predictor, om.Predictor), f"{name} is no predictor"
            self._contract(predictor)
            done = self._command("info", name, "--json")
            assert json.loads(done)["rows"][0]["family"] == self.name

    def check_presets(self) -> None:
        import omnimouse_model as om

        for session in (self.known, bare_session()):
            for preset in self.family.presets(session):
                assert preset.name
                assert isinstance(preset.mask, om.Mask) or preset.reason

    def check_attachment(self) -> None:
        """Keep what the family stores in a mask: in a file, and through an edit."""
        import omnimouse_model as om

        for mask in self._attached():
            path = self.folder / "attached.json"
            mask.save(path)
            loaded = om.Mask.load(path)
            assert loaded.attachment == mask.attachment, "a file loses the attachment"
            assert loaded.mask_id == mask.mask_id
            edited = mask.hide([0]).show([0])
            assert edited.attachment == mask.attachment.after_edit(edited.cells)
            predictor = self._model()
            if predictor is not None and self._knows(predictor):
                window = self._window(mask.spec)
                assert np.array_equal(
                    predictor.predict(window, loaded).responses,
                    predictor.predict(window, mask).responses,
                    equal_nan=True,
                )

    def check_refusals(self) -> None:
        """Say in one line what the family does not offer: in the library and in a command."""
        import omnimouse_model as om
        from omnimouse_model.errors import FinetuneError

        out = self.folder / "refused"
        if self.family.training is None:
            with refused(ValueError):
                om.fit(self.name, self.known, out)
            self._refused_command("fit", self.name, self.places[0], "--out", out)
        if self.family.transfer is None and (predictor := self._model()) is not None:
            with refused(FinetuneError) as told:
                om.finetune(predictor, self.new, out)
            assert self._small() is None or "om.fit(" in str(told.value)
            name = str(self._chosen())
            self._refused_command("finetune", name, self.places[2], "--out", out)
        assert not out.exists(), "a refusal leaves a folder behind"

    # -- training ---------------------------------------------------------------------
    def check_training(self) -> None:
        """Train, stop, continue: as in one go; then load, describe, export and score."""
        import omnimouse_model as om
        from omnimouse_model.analysis.fit import run_steps
        from omnimouse_model.inference.families import describe
        from omnimouse_model.progress import QUIET

        if self.family.training is None:
            return
        plan, out = self._plan(), self.folder / "whole"
        try:
            whole = run_steps(plan, self.trained, out, QUIET, 2 * STEPS, device="cpu")
        except ValueError as error:  # a family can train models of one recording
            assert not out.exists(), "a refusal leaves a folder behind"
            self.trained, first = [self.known], error
            try:
                whole = run_steps(plan, self.trained, out, QUIET, 2 * STEPS, device="cpu")
            except ValueError:
                raise first from None
        sessions = self.trained
        run_steps(plan, sessions, self.folder / "parts", QUIET, STEPS, device="cpu")
        parts = run_steps(plan, sessions, self.folder / "parts", QUIET, STEPS, device="cpu")
        assert hash_of(whole) == hash_of(parts), "a stopped training continues otherwise"
        known = whole.needs.sessions
        assert known is None or {s.id for s in sessions} <= known
        self.file = self.folder / "whole"
        self.model = om.load_predictor(self.file, device="cpu")
        assert hash_of(self.model) == hash_of(whole), "load gives another model"
        family, description = describe(self.file)
        assert family.name == self.name
        assert set(description.sessions) == set(whole.needs.n_neurons)
        self._contract(whole)
        if self.family.export is not None:
            path = self.folder / "exported.safetensors"
            self.family.export(self.file, path)
            assert om.load_predictor(path, device="cpu").needs.n_neurons == whole.needs.n_neurons

    def check_fit(self) -> None:
        import omnimouse_model as om

        if self._small() is None:
            return
        fitted = om.fit(self.name, self.known, self.folder / "fit", steps=STEPS, device="cpu")
        assert fitted.needs.sessions is None or self.known.id in fitted.needs.sessions

    def check_scores(self) -> None:
        import omnimouse_model as om

        predictor = self._model()
        if predictor is None:
            return
        if not self._knows(predictor):
            return
        mask = self._mask(predictor)
        scores = om.evaluate(predictor, [self.known], mask, tier="train")
        assert len(scores.scores) == mask.target.any()
        assert bool(scores.behavior) == mask.has_behavior_target
        for score in (*scores.scores, *scores.behavior):
            assert not score.refusal, score.refusal

    # -- transfer and ranking ---------------------------------------------------------
    def check_transfer(self) -> None:
        import omnimouse_model as om

        if self.family.transfer is None or self._model() is None:
            return
        assert is_dataclass(self.family.transfer.options)
        self.family.transfer.options()
        out, options = self.folder / "transfer", self._steps()
        before = self._model().needs.n_neurons
        tuned = om.finetune(self._model(), self.new, out, device="cpu", **options)
        assert tuned.needs.sessions is None or self.new.id in tuned.needs.sessions
        again = om.finetune(self._model(), self.new, out, device="cpu", **options)
        assert hash_of(tuned) == hash_of(again), "the same call gives another result"
        assert hash_of(om.load_predictor(out, device="cpu")) == hash_of(tuned)
        assert before == self._model().needs.n_neurons, "the model was changed in place"

    def check_ranking(self) -> None:
        import omnimouse_model as om

        if self.family.transfer is None or self.family.training is None:
            return
        config = self._config()
        steps = self._steps().get("steps")
        factory = om.model_factory(config, transfer_steps=steps, device="cpu")
        criterion = self._criterion(factory.spec)
        table = om.rank_sessions(
            factory,
            [self.known, self.other],
            [self.new],
            criterion,
            seeds=(0,),
            results=self.folder / "x.ranking.jsonl",
        )
        assert table.rows()

    # -- commands ---------------------------------------------------------------------
    def check_commands(self) -> None:
        if self.family.training is None:
            return
        run, tuned = self.folder / "command", self.folder / "command-tuned"
        self._model()
        known = self.places[: len(self.trained)]
        places = [w for place in known for w in ("--sessions", place)]
        self._command("train", self._config(), *places, "--out", run, "--steps", STEPS)
        (row,) = json.loads(self._command("info", run, "--json"))["rows"]
        assert row["family"] == self.name
        mask = self.folder / "mask.json"
        self._mask(self._model()).save(mask)
        words = ["--tier", "train", "--device", "cpu"]
        session = self.places[0]
        self._command(
            "predict",
            session,
            "--model",
            run,
            "--mask",
            mask,
            "--out",
            self.folder / "p.zarr",
            *words,
        )
        if self._small() is not None:
            self._command("fit", self.name, session, "--out", self.folder / "f", "--steps", STEPS)
        if self.family.transfer is not None:
            options = [w for k, v in self._steps().items() for w in ("--set", f"{k}={v}")]
            self._command("finetune", run, self.places[2], "--out", tuned, *options)
            (row,) = json.loads(self._command("info", tuned, "--json"))["rows"]
            assert row["family"] == self.name

    def check_analyses(self) -> None:
        """Answer each analysis of the commands, or say why there is no answer."""
        if (model := self._model()) is None or not self._knows(model):
            return
        words = ("--model", self._chosen(), "--tier", "train", "--max-windows", 2, "--json")
        session, task = ("--session", self.places[0]), self._criterion(self.spec).task
        self._answered("evaluate", *session, "--strategy", task, "--no-baselines", *words)
        for name in ("sources", "areas"):
            self._answered(name, *session, *words)
        self._answered("sweep", *session, "--neurons", "0,4", "--seeds", 1, *words)
        if self.family.transfer is not None and self.family.training is not None:
            known = [w for place in self.places[:2] for w in ("--sessions", place)]
            words = ("--task", task, "--max-windows", 2, "--seed", 0, "--device", "cpu")
            new, file = ("--heldout", self.places[2]), self.folder / "c.ranking.jsonl"
            steps = ("--steps", STEPS) if self._steps() else ()
            self._answered("rank", self._config(), *known, *new, "--results", file, *words, *steps)

    # -- front ends -------------------------------------------------------------------
    def check_window(self) -> None:
        """Open napari with the model: predictions, presets and a fine-tuning on screen."""
        from omnimouse_app.tour.hand import wait_for
        from omnimouse_app.window.launch import launch

        dock = launch(self.places[0], self._chosen(), device="cpu", show=False)
        try:
            self._drive(dock.controller, partial(wait_for, timeout_s=PATIENCE_S))
        finally:
            dock.close_viewer()

    def check_notebook(self) -> None:
        """Do the same in a notebook cell."""
        import omnimouse_app as om

        explorer = om.Explorer(self.places[0], self._chosen(), baseline="")
        try:
            self._drive(explorer.controller, waited)
        finally:
            explorer.close()

    def _drive(self, controller: Any, wait: Callable[[Callable[[], bool], str], object]) -> None:
        results, editor = controller.results, controller.editor
        # In the place of a model that does not know the recording, a baseline answers.
        is_known = self._model() is not None and self._knows(self._model())
        spec = self._model().needs.spec if is_known else None

        def is_answered() -> bool:
            if results.error is not None:
                return True
            is_fresh = results.freshness == results.population_freshness == "fresh"
            return is_fresh and spec in (None, controller.state.spec)

        def answer(of: str) -> None:
            wait(is_answered, f"the answer of {of}")
            assert results.error is None, f"{of}: {results.error}"

        wait(is_answered, "the answer of the model")
        if is_known and not self._model().needs.predicts_responses:
            # The first mask asks for responses.
            assert "ask for behaviour" in str(results.error), f"{results.error}"
        else:
            assert results.error is None, f"the model: {results.error}"
        for name, problem in editor.preset_problems.items():
            assert problem, name
        offered = {name for name, _ in editor.presets}
        for preset in self.family.presets(self.known):
            name = f"{self.name}:{preset.name}"
            assert name in offered, f"{name} is not offered"
            if preset.mask is None or preset.mask.spec != spec:
                continue
            before = controller.state.mask
            editor.apply_preset(name)
            answer(name)
            assert controller.state.mask.attachment == preset.mask.attachment
            editor.undo()
            assert controller.state.mask == before
            editor.redo()
            assert controller.state.mask.attachment == preset.mask.attachment
            answer(name)
        # Fine-tune the model to another recording, and use the result.
        controller.loader.open_now(self.places[2])
        finetuning = controller.finetuning
        model = self._model()
        if self.family.transfer is None or model is None or self._knows(model, self.new):
            assert not finetuning.is_offered
            return
        # A baseline has taken the place of a model that does not know the recording.
        controller.model.choose(str(self._chosen()))
        wait(lambda: finetuning.is_offered, "a fine-tuning that is offered")
        finetuning.start(**self._steps())
        wait(lambda: finetuning.is_finished or finetuning.error is not None, "its result")
        assert finetuning.error is None, f"{finetuning.error}"
        if not finetuning.is_chosen:
            finetuning.use()
        wait(lambda: results.needs is not None and self._knows(results, self.new), "the result")
        answer("the fine-tuned model")

    # -- parts ------------------------------------------------------------------------
    def _contract(self, predictor: Any) -> None:
        """Check what every predictor promises (`predict.predictor.Predictor`)."""
        from tests.model.contract import check_contract

        if self._knows(predictor):
            predictor.prepare(self.known)
            window = self._window(predictor.needs.spec)
            check_contract(predictor, window, self._mask(predictor))

    def _knows(self, predictor: Any, session: Any = None) -> bool:
        known = predictor.needs.sessions
        return known is None or (session or self.known).id in known

    def _attached(self) -> list[Any]:
        masks = [preset.mask for preset in self.family.presets(self.known) if preset.mask]
        return [m for m in masks if m.attachment is not None and m.attachment.name == self.name]

    def _window(self, spec: Any) -> Any:
        """Return a window of the train tier, not the first: a warm-up lies before it."""
        starts = self.known.window_starts("train", spec=spec)
        return self.known.window(float(starts[len(starts) // 4]), spec)

    def _mask(self, predictor: Any) -> Any:
        """Return a task that the model answers: a general one, else one of its presets."""
        from omnimouse_model.errors import UnsupportedRequestError

        spec = predictor.needs.spec
        general = self._general(predictor.needs)
        if not self._knows(predictor):
            return general
        presets = (preset.mask for preset in self.family.presets(self.known))
        window, refusals = self._window(spec), []
        predictor.prepare(self.known)
        for mask in (general, *(mask for mask in presets if mask and mask.spec == spec)):
            try:
                predictor.predict(window, mask)
            except UnsupportedRequestError as error:
                refusals.append(str(error))
            else:
                return mask
        raise AssertionError(f"the model answers no preset and no general task: {refusals}")

    def _general(self, needs: Any) -> Any:
        import omnimouse_model as om

        mask, half = om.Mask.nothing(self.known, needs.spec), needs.spec.n_samples // 2
        if needs.sees_video and needs.spec.n_frames:
            mask = mask.with_frames(True)
        if needs.spec.n_behavior and needs.sees_behavior:
            mask = mask.with_behavior("visible")
        elif needs.spec.n_behavior and needs.predicts_behavior:
            mask = mask.with_behavior("target")
        if not needs.predicts_responses:  # a decoder may read the whole population
            return mask.show(slice(None))
        if needs.sees_responses:
            mask = mask.show(range(0, 6), slice(None))
        return mask.ask(range(6, 12), slice(half, None))

    def _model(self) -> Any:
        import omnimouse_model as om

        if self.model is None and self.family.training is not None:
            self.check_training()
        if self.model is None and self.family.names:
            self.model = om.load_predictor(next(iter(self.family.names)), device="cpu")
        return self.model

    def _chosen(self) -> Any:
        if self.family.training is not None:
            self._model()
            return self.file
        return next(iter(self.family.names), "mean")

    def _config(self) -> Path:
        training = self.family.training
        assert training is not None
        small = self._small()
        return small if small is not None else next(iter(training.configs.values()))

    def _small(self) -> Path | None:
        training = self.family.training
        return None if training is None else training.configs.get(f"{self.name}-small")

    def _plan(self) -> Any:
        from omnimouse_model.inference.families import training_plan

        return training_plan(self._config(), {"sessions": []})

    def _steps(self) -> dict[str, int]:
        assert self.family.transfer is not None
        names = {one.name for one in fields(self.family.transfer.options)}
        return {"steps": STEPS} if "steps" in names else {}

    def _criterion(self, spec: Any) -> Any:
        from omnimouse_model.analysis.ranking.core_runs import task_score

        needs, metric = self._model().needs, None
        if not needs.predicts_responses:
            task, metric = "test/all_response_only", "correlation"
        elif needs.sees_responses:
            task = "causal_response_25_behavior"
        else:
            task = "test/video_behavior"
        return task_score(task, spec, metric, max_windows=2)

    def _refused_command(self, *words: object) -> None:
        done = ran(*words)
        assert done.returncode == 1, done
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        assert len(lines) == 1, f"a refusal is one line, not {lines}"

    def _answered(self, *words: object) -> None:
        """Run a command that prints an answer, or why there is none."""
        done = ran(*words)
        text = f"omnimouse {' '.join(map(str, words))}: {done.stderr[-2000:]}"
        assert done.returncode in (0, 1), text
        assert not any(word in done.stderr for word in FAULTS), text

    def _command(self, *words: object) -> str:
        done = ran(*words)
        text = f"omnimouse {' '.join(map(str, words))}: {done.stderr[-2000:]}"
        assert done.returncode == 0, text
        return done.stdout


def waited(is_over: Callable[[], bool], what: str) -> None:
    """Wait until other threads have done something."""
    end = monotonic() + PATIENCE_S
    while not is_over():
        assert monotonic() < end, f"waited {PATIENCE_S:g} s for {what}"
        sleep(0.01)


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command of `omnimouse`."""
    command = [sys.executable, "-m", "omnimouse_app", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@contextmanager
def refused(kind: type[Exception]) -> Iterator[Any]:
    """Fail unless the block raises an error of this kind, in one line."""
    with pytest.raises(kind) as error:
        yield error
    assert "\n" not in str(error.value), f"a refusal is one line, not {error.value}"


def hash_of(predictor: Any) -> str:
    """Return the hash in a predictor's id, without the name of a file."""
    from omnimouse_model.inference.families import weights_in

    return weights_in(predictor)


def bare_session() -> Any:
    """Return a recording without video, behaviour and positions."""
    import omnimouse_model as om

    draw = np.random.default_rng(0)
    arrays: Mapping[str, Any] = {"responses": draw.gamma(2, 1, (900, 5)), "rate_hz": 30.0}
    return om.open_session(arrays)


CHECKS = (
    *("texts", "names", "presets", "attachment", "training", "fit", "scores", "transfer"),
    *("ranking", "commands", "analyses", "refusals", "window", "notebook"),
)


def run(name: str, checks: tuple[str, ...], report: Callable[[str], None]) -> int:
    """Run the checks of one family; return the number of failures."""
    failed = 0
    with TemporaryDirectory() as folder:
        # Models that the front ends fine-tune are not those of the user.
        os.environ |= dict.fromkeys(("OMNIMOUSE_CACHE", "OMNIMOUSE_CONFIG"), f"{folder}/user")
        try:
            course = Course(name, Path(folder))
        except FAILURES as error:
            report(f"{name}: FAILED: {type(error).__name__}: {error}")
            return 1
        for check in checks:
            try:
                getattr(course, f"check_{check}")()
                report(f"{name}: {check}: passed")
            except FAILURES as error:  # the course goes on, and says what failed
                failed += 1
                report(f"{name}: {check}: FAILED: {type(error).__name__}: {error}")
    return failed


def main(words: list[str]) -> int:
    """Run the course of all families of a package."""
    only = words[words.index("--only") + 1] if "--only" in words else ""
    checks = tuple(c for c in CHECKS if not only or c == only)
    if "--no-window" in words:
        checks = tuple(c for c in checks if c != "window")
    package = Path(words[0])
    if package.is_dir():
        with on_path(package):
            return sum(run(name, checks, print) for name in entry_points_of(package)) > 0
    points = distribution(words[0]).entry_points.select(group=GROUP)
    return sum(run(point.name, checks, print) for point in points) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
