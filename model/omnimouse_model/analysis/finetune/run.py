"""Fine-tune an existing model to a new session.

    mine = om.finetune("demo", session, out="my_mouse/")

With `train="embeddings"`, as in the paper, the core is frozen. Trained are the vectors
of the session and its neurons, the biases of the neurons, and the vector of an unknown
animal. With `train="all"`, all parameters are trained. The run is a training run in a
folder: it can be killed, and resumes exactly.

    OUT/finetune.json                model, session and settings of the run
    OUT/finetuned.safetensors, .json the result, for `om.load_predictor(OUT)`
    and the files of every run (`checkpoints`, `metrics_log`)
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from omnimouse_model.analysis.finetune.families import (
    check_stitchers,
    check_transfer,
    fit_stitchers,
    transfer,
)
from omnimouse_model.analysis.finetune.records import (
    hold_out,
    result_card,
    write_settings,
)
from omnimouse_model.data.neuron_match import NeuronMatch, match_neurons
from omnimouse_model.data.session import Session
from omnimouse_model.errors import CheckpointError, FinetuneError
from omnimouse_model.families.ndt.predictor import NdtPredictor
from omnimouse_model.families.omnimouse.checkpoint import (
    Checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from omnimouse_model.families.omnimouse.context_part import OmniMouseWithContext, fit_context
from omnimouse_model.families.omnimouse.predictor import TransformerPredictor
from omnimouse_model.families.omnimouse.training import Origin
from omnimouse_model.families.omnimouse.training import train as run_loop
from omnimouse_model.families.omnimouse.training_config import (
    Group,
    Phase,
    Streams,
    TrainConfig,
    official_tasks,
)
from omnimouse_model.families.omnimouse.transfer_start import StartValues, Trained
from omnimouse_model.families.twin.predictor import TwinPredictor
from omnimouse_model.inference.registry import load_predictor
from omnimouse_model.predict.compatibility import unused_text
from omnimouse_model.predict.description import weights_hash
from omnimouse_model.predict.devices import resolve_device
from omnimouse_model.predict.predictor import Predictor
from omnimouse_model.progress import QUIET, SAVING, STARTING, Job, shows_progress
from omnimouse_model.storage.locks import sole_writer
from omnimouse_model.training.checkpoints import BEST, FINISHED
from omnimouse_model.training.distributed import launched_ranks
from omnimouse_model.training.loop import SUMMARY, OnStep
from omnimouse_model.training.sessions import TrainingSession

logger = logging.getLogger(__name__)

STEPS = 300
BATCH = 8
SESSION_LR = 5e-3
CORE_LR = 1e-4
"""A seventh of the official rate, because the core is already trained."""
# Number of validations over all steps, in addition to the one before the first step.
VALIDATIONS = 10
AVERAGE = 0.97
"""Decay of the average of the weights, which covers about the last 33 steps."""
PATIENCE = 6
"""Number of validations without a better score after which a run ends."""


@shows_progress
def finetune(
    predictor: Predictor | str | Path,
    session: Session,
    out: str | Path,
    *,
    train: Trained = "embeddings",
    neurons_of: Session | None = None,
    steps: int | None = None,
    batch: int = BATCH,
    seed: int = 0,
    device: str = "auto",
    on_step: OnStep = lambda step, row: None,
    job: Job = QUIET,
) -> Predictor:
    """Fine-tune a model to a session; the same call resumes a run in `out`.

    For a digital twin, this is the transfer to a new animal (`transfer`); for a neural
    data transformer, it fits the stitchers of a session (`stitchers`).

    Examples
    --------
    One step, so that the example is quick:

    >>> mine = om.finetune("demo", session, "my_mouse", steps=1, batch=1)
    >>> session.id in mine.needs.sessions
    True
    >>> same = om.load_predictor("my_mouse")
    >>> same.needs.n_neurons[session.id]
    40

    Parameters
    ----------
    predictor
        A loaded transformer, digital twin or neural data transformer, or an argument
        of `load_predictor`.
    out
        Folder of the run and its result, which `load_predictor(out)` loads.
    train
        "embeddings" trains the parameters of the session and the vector of an unknown
        animal; predictions for sessions that the model knows do not change. Of a twin,
        it trains perspective, modulation and readout; of a neural data transformer,
        both stitchers. "all" trains the core too; the result then contains this session
        only.
    neurons_of
        Recording that a transformer knows and that has some of the same neurons
        (`match_neurons`): their vectors start at those of the model.
    steps
        Total number of steps, including those before a resume. The run ends earlier if
        the held-out score stops rising. If the run already has at least as many steps,
        the result is written from its saved weights; 0 writes the start values.
    batch
        Number of windows, of a twin's clips, or of trials, per step.
    seed
        Seed of the held-out windows, the window order, masks and start values.
    on_step
        Called with each step and its row of the log: losses, and scores of validation.
    job
        Progress in steps, and stop request, which is asked after every step.

    Returns
    -------
    Predictor
        The model with the best weights on the held-out windows.

    Raises
    ------
    FinetuneError
        The model cannot be fine-tuned to this session, or `out` holds another run.
    OutputBusyError
        Another process writes in `out`.
    StoppedError
        The job is cancelled; the run is saved in `out`.
    """
    if launched_ranks() > 1:
        raise FinetuneError(
            "processes", "Fine-tuning runs in one process: start it without torchrun."
        )
    if train not in get_args(Trained):
        raise ValueError(f"train is one of {get_args(Trained)}, found {train!r}.")
    if isinstance(predictor, str | Path):
        predictor = load_predictor(predictor, device="cpu")
    unused = unused_text(predictor.needs, session)
    if unused:
        logger.warning(unused)
    out, place = Path(out), resolve_device(device)
    n_steps = STEPS if steps is None else steps
    settings = (train, n_steps, batch, seed)
    if neurons_of is not None and isinstance(predictor, NdtPredictor | TwinPredictor):
        raise FinetuneError(
            "neurons_of",
            f"{predictor.predictor_id!r} has no vector for each neuron: neurons_of is for "
            "transformers.",
        )
    if isinstance(predictor, NdtPredictor):
        check_stitchers(predictor, session, train)
        with sole_writer(out):
            fit_stitchers(predictor, session, out, settings, place, on_step, job)
    elif isinstance(predictor, TwinPredictor):
        check_transfer(predictor, session, train)
        with sole_writer(out):
            transfer(predictor, session, out, settings, place, on_step, job)
    else:
        model = _checkpoint_of(predictor)
        _check(model, session, train)
        shared = None if neurons_of is None else _shared(model, session, neurons_of)
        with sole_writer(out):
            _finetune(model, session, shared, out, settings, place, on_step, job)
    return load_predictor(out, device=device)


def _finetune(
    model: Checkpoint,
    session: Session,
    shared: NeuronMatch | None,
    out: Path,
    settings: tuple[Trained, int, int, int],
    place: torch.device,
    on_step: OnStep,
    job: Job,
) -> None:
    """Fine-tune as `finetune` does, in a folder that no other process writes."""
    train, n_steps, batch, seed = settings
    # Windows are held out by the seed, so a resumed run has the same split.
    source = hold_out(session, seed)
    config = _config(model, source, train, n_steps, batch, seed)
    chosen: dict[str, Any] = {"train": train, "seed": seed, "batch": batch}
    if shared is not None:
        chosen |= {"neurons_of": shared.sessions[1], "n_shared": len(shared)}
    write_settings(out, model.source, weights_hash(model.state), session, chosen)
    start = StartValues(model, source, train, seed, place, job, shared)
    job.progress(0.0, 1.0, STARTING)

    def report_step(step: int, row: dict[str, float]) -> None:
        # Without a score, no weights would ever be the best ones: fail before training.
        if step == 0 and SUMMARY not in row:
            raise FinetuneError(
                "no_score",
                f"The {len(source.held_out)} windows of session {session.id!r} that "
                "are held out have no score: the recorded responses are no numbers "
                "there. Look at its response file, or choose another seed.",
            )
        on_step(step, row)

    run_loop(
        config,
        [source],
        out,
        device=place,
        origin=Origin(start.animals, start.fill, start.is_trained),
        on_step=report_step,
        job=job,
    )
    _finish(out, start, config, place, job)


def is_finished(out: str | Path) -> bool:
    """Return True if a folder contains the result of a fine-tuning."""
    return (Path(out) / FINISHED).exists()


# -- checks ---------------------------------------------------------------------------
def _checkpoint_of(predictor: Predictor) -> Checkpoint:
    """Return the model as a checkpoint on the CPU."""
    context: Mapping[str, Tensor] = {}
    if isinstance(predictor, OmniMouseWithContext):
        context = predictor.context
        predictor = predictor.transformer
    if not isinstance(predictor, TransformerPredictor):
        raise FinetuneError(
            "no_transformer",
            f"{predictor.predictor_id!r} is neither a transformer nor a digital twin, "
            "and has nothing to fine-tune: choose 'demo', 'omnimouse-5M', 'twin-demo', "
            "'ndt-demo' or a checkpoint. Baselines are fitted to any session as they "
            "are.",
        )
    net = predictor.net
    return Checkpoint(
        config=net.config,
        state={k: v.detach().cpu() for k, v in net.state_dict().items()},
        sessions=net.session_sizes,
        animals=dict(net.animals),
        source=predictor.predictor_id,
        assumed=predictor.assumed,
        context=context,
    )


def _check(model: Checkpoint, session: Session, train: Trained) -> None:
    """Check model and session before anything is written."""
    n_known = model.sessions.get(session.id)
    if n_known is not None and n_known != session.n_neurons:
        raise FinetuneError(
            "neurons",
            f"{model.source!r} knows session {session.id!r} with {n_known:,} neurons, "
            f"this recording has {session.n_neurons:,}: is it the same export? Give "
            "the other one another name.",
        )
    if n_known is not None and train == "embeddings":
        raise FinetuneError(
            "known",
            f"{model.source!r} knows session {session.id!r} already: use it as it is, "
            'or fine-tune all of it to the session (train="all").',
        )
    # Parameter names use dots as separators, and torch refuses module names with dots.
    if "." in session.id:
        raise FinetuneError(
            "session_id",
            f"Session {session.id!r} has a dot in its name, which no checkpoint can "
            "hold: rename its folder, or its data_key.",
        )


def _shared(model: Checkpoint, session: Session, known: Session) -> NeuronMatch:
    """Return the neurons that the session shares with one that the model knows."""
    n_neurons = model.sessions.get(known.id)
    if n_neurons != known.n_neurons:
        found = "does not know" if n_neurons is None else f"knows {n_neurons:,} neurons of"
        raise FinetuneError(
            "neurons_of",
            f"{model.source!r} {found} session {known.id!r}, which has {known.n_neurons:,}: "
            "neurons_of is a recording with which the model was trained.",
        )
    try:
        return match_neurons(session, known)
    except ValueError as error:
        raise FinetuneError("neurons_of", str(error)) from error


# -- training -------------------------------------------------------------------------
def _config(
    model: Checkpoint,
    source: TrainingSession,
    train: Trained,
    steps: int,
    batch: int,
    seed: int,
) -> TrainConfig:
    """Return the training config of a fine-tuning run."""
    validate_every = max(1, steps // VALIDATIONS)
    phase = Phase(
        name=train,
        steps=steps,
        batch=batch,
        tasks=official_tasks(Streams.of(source.session, model.config.behavior_channels)),
        warmup=min(20, steps),
        decay=0.5,
        behavior_weight=model.config.behavior_loss_factor,
    )
    return TrainConfig(
        seed=seed,
        model=model.config,
        phases=(phase,),
        # Weight decays of the official recipe, for core and session groups.
        core=Group(lr=CORE_LR, weight_decay=0.1),
        session=Group(lr=SESSION_LR, weight_decay=0.001),
        sampling="balanced",
        average=AVERAGE,
        validate_every=validate_every,
        validation="held-out",
        patience=PATIENCE * validate_every,
    )


# -- the result -----------------------------------------------------------------------
def _finish(
    out: Path,
    start: StartValues,
    config: TrainConfig,
    device: torch.device,
    job: Job,
) -> None:
    """Write the best weights, together with the known sessions of the model.

    A model with a context part gets one for the session.

    Raises
    ------
    CheckpointError
        A frozen tensor has changed.
    StoppedError
        The job is cancelled during the fit of the context part.
    """
    model, best = start.model, read_checkpoint(out / BEST)
    frozen = {k: v for k, v in start.base.items() if not start.is_trained(k)}
    frozen_hash = weights_hash(frozen)
    if weights_hash({k: best.state[k] for k in frozen}) != frozen_hash:
        raise CheckpointError(
            f"{out / BEST} does not hold the frozen weights of {model.source}: it was "
            "written over. Remove the folder and fine-tune again."
        )
    trained = [best.state[k] for k in best.state if start.is_trained(k)]
    assert best.card is not None
    about = {
        "model": model.source,
        "session": start.source.key,
        "animal_was_known": start.animal in model.animals.values(),
        "train": start.train,
        "seed": config.seed,
        "unit": "single-trial correlation",
    }
    finetuned = result_card(about, frozen, trained, out, best.card)
    # Other sessions remain valid only with an unchanged core.
    if start.train == "embeddings":
        best = replace(
            best,
            state=model.state | best.state,
            sessions=model.sessions | best.sessions,
        )
    context: dict[str, Tensor] = {}
    if model.context:
        if start.train == "embeddings":
            context |= model.context
        net = best.build().requires_grad_(False).to(device)
        context |= fit_context(
            TransformerPredictor(net, model.source),
            start.source.session,
            job,
        )
    job.progress(1.0, 1.0, SAVING)
    card = {"finetuned": finetuned}
    save_checkpoint(out / FINISHED, best.build(), card, model.assumed, context)
