"""How a predictor fits to a session and a mask: known neurons, missing inputs."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from omnimouse_model.data.session import Session
from omnimouse_model.masks import Mask, scored_cells
from omnimouse_model.predict.predictor import Needs

FALLBACK = "linear-gaussian"
"""The baseline that answers any mask: stands in for a model, and beside it."""
# Responses sampled this much slower than the model reads them are reported; smaller
# differences are within the tolerance of recorded rates.
_SLOW = 0.9


@dataclass(frozen=True, slots=True)
class Compatibility:
    """How a predictor and a session fit together.

    Attributes
    ----------
    n_neurons
        Neurons of the session.
    n_known
        Neurons for which the predictor has embeddings under the session's name; None
        for a predictor that serves any session.
    missing
        One phrase per input that the predictor reads and the session lacks.
    is_stored
        Whether the predictor is a file of predictions; see `Needs`.
    """

    n_neurons: int
    n_known: int | None
    missing: tuple[str, ...] = ()
    is_stored: bool = False

    @property
    def is_supported(self) -> bool:
        """Whether the predictor can predict the session's neurons."""
        return self.n_known is None or self.n_known == self.n_neurons

    @property
    def is_new(self) -> bool:
        """Whether the predictor has embeddings, but none for this session."""
        return self.n_known == 0 and not self.is_stored

    @property
    def text(self) -> str:
        """Number of known neurons, in a few words."""
        if self.n_known is None:
            return "any recording"
        if not self.n_known:
            return "of another recording" if self.is_stored else "not seen in training"
        return f"{min(self.n_known, self.n_neurons):,} of {self.n_neurons:,} neurons"

    @property
    def remedy(self) -> str:
        """What the user can do if the session is not supported, else ""."""
        if self.is_supported:
            return ""
        if self.is_new:
            return (
                f"This recording was not seen in training: its {self.n_neurons:,} "
                "neurons need embeddings. Fine-tune the model to it (`omnimouse "
                "finetune`, minutes for a small one), or choose a baseline: those are "
                "fitted to any recording."
            )
        if self.is_stored:
            return (
                "This file has no predictions for the neurons of this recording. Open "
                "that for which they were made, or choose another model."
            )
        return (
            f"This recording was seen in training with {self.n_known:,} neurons, here "
            f"it has {self.n_neurons:,}: is it the same export?"
        )


def check_compatibility(needs: Needs, session: Session) -> Compatibility:
    """Compare the needs of a predictor with a session."""
    # A session without an entry is new: 0 known neurons.
    n_known = None if needs.sessions is None else needs.n_neurons.get(session.id, 0)
    missing = tuple(_missing(needs, session))
    return Compatibility(session.n_neurons, n_known, missing, needs.is_stored)


def unused_text(needs: Needs, session: Session) -> str:
    """Return what of a recording a model cannot use, and what it lacks; "" for nothing.

    Examples
    --------
    >>> from omnimouse_model.predict.compatibility import unused_text
    >>> unused_text(om.load_predictor("ridge").needs, session)
    'The model cannot use all of this recording: its video is not read.'
    """
    names = session.behavior_names
    phrases = []
    if session.stimulus is not None and not needs.sees_video:
        phrases.append("its video is not read")
    behavior = needs.spec.behavior
    if names and not (needs.sees_behavior or needs.predicts_behavior):
        phrases.append(f"its behaviour ({', '.join(names)}) is not read")
    elif behavior is not None and not behavior.stored_order:
        others = [name for name in names if name not in behavior.channels]
        use = "read" if needs.sees_behavior else "decoded"
        phrases += [f"{', '.join(others)}: not {use}"] if others else []
    phrases += _missing(needs, session)
    return f"The model cannot use all of this recording: {'; '.join(phrases)}." if phrases else ""


def unread_text(name: str, needs: Needs, mask: Mask) -> str:
    """Return that a predictor reads nothing of what a mask shows; "" if it does.

    Also "" for a mask that shows nothing, and a predictor without inputs.
    """
    # Name of the input, whether the mask shows it, whether the predictor reads it.
    inputs = (
        ("responses", bool(mask.visible.any()), needs.sees_responses),
        ("video", bool(mask.frames.any()), needs.sees_video),
        ("behaviour", mask.has_visible_behavior, needs.sees_behavior),
    )
    has_inputs = any(is_read for _, _, is_read in inputs)
    shown = [label for label, is_shown, _ in inputs if is_shown]
    is_used = any(is_shown and is_read for _, is_shown, is_read in inputs)
    if not shown or not has_inputs or is_used:
        return ""
    return f"{name} reads nothing that is shown ({', '.join(shown)})"


def task_id(needs: Needs, mask: Mask) -> str:
    """Return an id that is the same for masks that a predictor cannot tell apart.

    Such masks have the same predictions and the same scored cells. For a predictor that
    reads responses, it is the id of the mask.

    Examples
    --------
    >>> from omnimouse_model.predict.compatibility import task_id
    >>> asked = om.Mask.nothing(40).ask(range(20))
    >>> shown = asked.show(range(20, 40))
    >>> needs = [om.load_predictor(name).needs for name in ("mean", "last")]
    >>> [task_id(one, asked) == task_id(one, shown) for one in needs]
    [True, False]
    """
    if needs.sees_responses:
        return mask.mask_id
    behavior = mask.behavior if isinstance(mask.behavior, tuple) else (mask.behavior,)
    if not needs.sees_behavior:
        behavior = tuple("target" if b == "target" else "hidden" for b in behavior)
    digest = blake2b(digest_size=12)
    digest.update(np.packbits(scored_cells(mask)).tobytes())
    digest.update(mask.frames.tobytes() if needs.sees_video else b"")
    # Scores also tell whether anything that is shown is read.
    facts = (mask.spec, behavior, unread_text("", needs, mask))
    digest.update(repr(facts).encode())
    return digest.hexdigest()


def _without_windows(needs: Needs, session: Session) -> str:
    of, lengths = "a trial", session.trials.t_off - session.trials.t_on
    if not len(lengths):
        spans = session.responses.recorded_spans
        of = "what was recorded without a pause"
        lengths = np.diff([[0.0, session.duration_s]] if spans is None else spans, axis=1)
    return (
        f"no window of {needs.spec.duration_s:g} s lies within {of}, of which the longest "
        f"lasts {lengths.max():.3g} s: nothing can be predicted"
    )


def _missing(needs: Needs, session: Session) -> list[str]:
    phrases = []
    if not len(session.window_starts(include_blanks=True, spec=needs.spec)):
        phrases.append(_without_windows(needs, session))
    video, stimulus = needs.spec.video, session.stimulus
    if needs.sees_video and stimulus is None:
        phrases.append("no video: all its frames stay hidden")
    elif needs.sees_video and video is not None and stimulus is not None:
        size, read = stimulus.size, (video.height, video.width)
        if size != read:
            stored, fitted = ("×".join(map(str, one)) for one in (size, read))
            phrases.append(f"frames of {stored}: averaged to the model's {fitted}, gray")
    n_channels, n_read = len(session.behavior_names), needs.behavior_channels
    if needs.sees_behavior and not n_channels:
        phrases.append("no behaviour: it stays hidden")
    # The weights of a model fix its number of channels.
    elif needs.sees_behavior and n_read is not None and n_channels != n_read:
        counted = f"{n_channels} channel{'s' * (n_channels != 1)}"
        phrases.append(f"behaviour of {counted}, and the model needs {n_read}: it stays hidden")
    elif needs.sees_behavior and needs.spec.behavior and not needs.spec.behavior.stored_order:
        # Channels that are read by name.
        channels = needs.spec.behavior.channels
        if lacking := [name for name in channels if name not in session.behavior_names]:
            phrases.append(f"no {', '.join(lacking)}: the mean instead")
    responses = session.responses
    rate_hz, rate_read_hz = responses.rate_hz, needs.spec.response_rate_hz
    if needs.spec.responses == "count":
        # Spike times are counted in the bins of the model, whatever the stored rate.
        if not responses.has_events:
            phrases.append("no spike times: response traces cannot be counted")
    elif rate_hz < rate_read_hz * _SLOW:
        fill = "interpolated" if responses.mode == "linear" else "repeated"
        phrases.append(
            f"responses at {rate_hz:.3g} Hz; the model reads {rate_read_hz:.3g} Hz: they are {fill}"
        )
    return phrases
