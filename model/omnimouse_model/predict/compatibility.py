"""What a predictor knows of a session, and what it wants that the session lacks."""

from dataclasses import dataclass

from omnimouse_model.data.session import Session
from omnimouse_model.predict.predictor import Needs

FITTED = "context-ridge"
"""Of the predictors that are fitted to any session, the one that sees the most."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """How a predictor and a session fit together.

    Attributes
    ----------
    n_neurons
        Of the session.
    n_known
        Neurons the predictor has embeddings for under the session's name; None for
        one that serves any session.
    lacks
        What the predictor wants and the session has not, a phrase each.
    """

    n_neurons: int
    n_known: int | None
    lacks: tuple[str, ...] = ()

    @property
    def is_answered(self) -> bool:
        """Whether the predictor can be asked about the session's neurons."""
        return self.n_known is None or self.n_known == self.n_neurons

    @property
    def is_new(self) -> bool:
        """Whether the predictor has embeddings, and none for this session."""
        return self.n_known == 0

    @property
    def words(self) -> str:
        """How many neurons are known, in a few words."""
        if self.n_known is None:
            return "any session"
        if not self.n_known:
            return "not seen in training"
        return f"{min(self.n_known, self.n_neurons):,} of {self.n_neurons:,} neurons"

    @property
    def remedy(self) -> str:
        """What can be done where it cannot be asked, "" where it can."""
        if self.is_answered:
            return ""
        if not self.n_known:
            return (
                f"This session was not seen in training: its {self.n_neurons:,} "
                "neurons need embeddings. Fine-tune the model to it (`omnimouse "
                "finetune`, minutes for a small one), or choose a baseline: those are "
                "fitted to any session."
            )
        return (
            f"This session was seen in training with {self.n_known:,} neurons, the "
            f"recording has {self.n_neurons:,}: is it the same export?"
        )


def knowledge_of(needs: Needs, session: Session) -> Knowledge:
    """What a predictor with these needs knows of a session."""
    known = None if needs.sessions is None else needs.n_neurons.get(session.id, 0)
    return Knowledge(session.n_neurons, known, tuple(_lacks(needs, session)))


def _lacks(needs: Needs, session: Session) -> list[str]:
    found = []
    if needs.sees_video and session.stimulus is None:
        found.append("no video: all its frames stay hidden")
    channels, wanted = len(session.behavior_names), needs.behavior_channels
    if needs.sees_behavior and not channels:
        found.append("no behaviour: it stays hidden")
    elif needs.sees_behavior and wanted is not None and channels != wanted:
        found.append(
            f"{channels} of {wanted} behaviour channels: they cannot be given, only "
            "hidden"
        )
    rate_hz = session.responses.rate_hz
    if needs.spec.responses == "count":
        # Spike times are counted in the bins of the model, whatever the stored rate.
        if not session.responses.has_events:
            found.append("no spike times: response traces cannot be counted")
    elif rate_hz < needs.spec.response_rate_hz * 0.9:
        found.append(
            f"responses {rate_hz:.3g} times a second instead of "
            f"{needs.spec.response_rate_hz:.3g}: each is held until the next"
        )
    return found
