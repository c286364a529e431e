"""OmniMouse (ICLR 2026): the stages of one forward pass, in order.

1. identity: the meta vector of the session and its animal; neuron vectors
2. tokens: responses and behaviour (`trunk`), video (`encoder`)
3. context: latents attend the tokens once; then latents and video tokens pass through
   local and global self-attention layers (`trunk`)
4. readout: queries attend the context; linear readouts (`readout`)

A forward pass is four calls, so that each result can serve several others: one video
many masks, one context many queries.

    video = net.encode_video(frames, layout)
    context = net.encode(windows, layout, video)
    rates, _ = net.decode_responses(windows, layout, context)
    behavior, _ = net.decode_behavior(context)

The network takes tensors and indices (`layout`) and returns tensors. It does not depend
on files, devices, masks or losses. All parameters belong to one module, with the names
and in the order of the released checkpoints, which have one flat list of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnimouse_model.nets.omnimouse.attention import CrossBlock, SelfBlock
from omnimouse_model.nets.omnimouse.config import OmniMouseConfig, hidden_size
from omnimouse_model.nets.omnimouse.encoder import VideoEncoder
from omnimouse_model.nets.omnimouse.layout import Layout, WindowBatch
from omnimouse_model.nets.omnimouse.times import (
    AttentionPlan,
    Intervals,
    Phases,
    RotaryFrequencies,
)
from omnimouse_model.nets.omnimouse.trunk import (
    AnimalParameters,
    EncodedLatents,
    EncodedTokens,
    ExperimentTime,
    Latents,
    ResponseFeatures,
    SessionParameters,
    TrunkContext,
    attended_runs,
    behavior_from_hidden,
    join_batch,
    query_intervals,
    rates_from_logits,
    rows_of,
    run_layers,
    token_intervals,
)

VIDEO_TOKEN_FRAMES = 6
"""Frames that a video token covers: the temporal size of the patches."""


class OmniMouse(nn.Module):
    """The transformer for a set of sessions.

    Parameters
    ----------
    config
        Architecture.
    sessions
        session key -> number of neurons; keys must not contain ".".
    animals
        session key -> animal id.
    """

    def __init__(
        self, config: OmniMouseConfig, sessions: dict[str, int], animals: dict[str, str]
    ) -> None:
        super().__init__()
        self.config = config
        self.animals = dict(animals)
        d, e = config.d_model, config.d_embedding
        # Keep the order of these assignments: `initialise` draws in it, and optimiser
        # states of saved runs name parameters by their number.
        self.behavior_channel_embeddings = nn.Parameter(torch.zeros(config.behavior_channels, d))
        # Rows: responses, video, behaviour.
        self.missing_modality_embeddings = nn.Parameter(torch.zeros(3, d))
        self.behavior_readout_proj = nn.Parameter(
            torch.zeros(config.behavior_channels, config.n_behavior_samples, d)
        )
        self.register_buffer("behavior_timestamps", torch.zeros(config.behavior_channels))
        self.behavior_timestamps: Tensor
        self.sess_params = nn.ModuleDict(
            {key: SessionParameters(n, e) for key, n in sessions.items()}
        )
        # All animals of the run, also in a process that trains only some of the
        # sessions: the weights of the processes must have one form.
        self.animal_params = AnimalParameters(tuple(dict.fromkeys(animals.values())), e)
        self.sess_to_model_proj = nn.Linear(e, d)
        self.neuron_to_model_proj = nn.Linear(e, d)
        self.animal_to_model_proj = nn.Linear(e, d)
        self.exp_time_to_model_proj = nn.Linear(e, d)
        self.exp_time_embedding = ExperimentTime(config)
        self.response_latent_embedding = Latents(config)
        self.response_featx = ResponseFeatures(config)
        self.response_readout_proj = nn.Linear(d, config.response_stride_samples, bias=False)
        # `hiera`, `featx`, `enc`, `proc` and `decs` are abbreviations of the released
        # names and cannot be changed.
        self.hiera = VideoEncoder(config.hiera, d)
        self.behavior_featx = nn.Linear(config.n_behavior_samples, d)
        self.rotary_emb = RotaryFrequencies(config)
        heads = (config.num_heads, config.num_kv_heads or config.num_heads)
        hidden = hidden_size(d, config.ffn_hidden_mult)
        eps = config.norm_eps
        # Deeper layers are dropped more often, as in Huang et al. (2016).
        rates = np.linspace(0, config.drop_path_rate, config.num_layers).tolist()
        self.enc = CrossBlock(d, *heads, hidden, eps)
        self.proc = nn.ModuleList(SelfBlock(d, *heads, hidden, eps, rate) for rate in rates)
        self.decs = nn.ModuleList(
            CrossBlock(d, *heads, hidden_size(d, config.decoder_ffn_hidden_mult), eps)
            for _ in range(2 if config.per_modality_decoders else 1)
        )

    def session(self, key: str) -> SessionParameters:
        """Parameters of one session."""
        module = self.sess_params[key]
        assert isinstance(module, SessionParameters)
        return module

    @property
    def session_sizes(self) -> dict[str, int]:
        """Number of neurons of each session."""
        return {key: self.session(key).n_neurons for key in self.sess_params}

    def decoders(self) -> list[CrossBlock]:
        """The decoder of responses first, that of behaviour last; they may be one."""
        return [block for block in self.decs if isinstance(block, CrossBlock)]

    # -- 1. identity ------------------------------------------------------------------
    def meta_vector(
        self, key: str, start_times: Tensor | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Session and animal, projected and summed; (1, d), or (B, d) with time."""
        meta: Tensor = self.sess_to_model_proj(self.session(key).vector)
        animals = list(self.animals.values())
        # If every animal has one session, the two vectors have the same information.
        has_several = len(animals) > len(set(animals))
        if self.config.always_use_animal_embeddings or has_several:
            meta = meta + self.animal_to_model_proj(self.animal_params.vector(self.animals[key]))
        if not self.config.add_exp_time_embedding:
            return meta[None]
        if start_times is None:
            raise ValueError("This config needs WindowBatch.start_times.")
        meta = meta + self.exp_time_to_model_proj(self.exp_time_embedding(start_times))
        return meta

    def neuron_vectors(
        self, windows: WindowBatch, meta: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "item neuron dim"]:
        """Vectors of the neurons, added to their tokens and used as their queries."""
        vectors: Tensor = self.neuron_to_model_proj(
            self.session(windows.session).neurons(windows.neuron_ids)
        )
        if self.config.add_meta_to_embeddings:
            vectors = vectors + meta[:, None]
        return vectors

    def _channel_vectors(self, meta: Tensor) -> Tensor:
        """Vectors of the behaviour channels, used in the same two ways."""
        if not self.config.add_meta_to_embeddings:
            return self.behavior_channel_embeddings[None]
        return self.behavior_channel_embeddings + meta[:, None]

    # -- 2. tokens --------------------------------------------------------------------
    def encode_video(
        self, video: Float[Tensor, "batch 1 frame height width"], layout: Layout | None
    ) -> Float[Tensor, "batch step token dim"]:
        """Video tokens of the visible steps of the layout, of all steps without one.

        With `hidden_video="blank"` hidden frames are zero before the encoder, and
        cannot change the result. With "cut", as in the released models, they can:
        patches overlap in time, and official windows mix steps (see `encoder`).
        """
        # None as steps avoids a copy of all tokens.
        steps = None
        if layout is not None and not layout.all_steps:
            steps = layout.video_steps
            if self.config.hidden_video == "blank":
                # Selected and not multiplied: NaN times 0 is NaN.
                is_visible = layout.frames.to(video.device)[:, None, None]
                video = torch.where(is_visible, video, 0.0)
        tokens: Tensor = self.hiera(video, steps)
        return tokens

    def tokens(
        self,
        windows: WindowBatch,
        layout: Layout,
        meta: Float[Tensor, "batch dim"],
        neurons: Float[Tensor, "item neuron dim"],
    ) -> Float[Tensor, "item token dim"]:
        """Response tokens, then behaviour tokens, each with its identity."""
        parts = []
        if len(layout.token_neurons):
            values = self.response_featx(windows.responses, layout)
            # A sum: identity and value share one space of d features.
            parts.append(values + neurons[:, layout.token_neurons])
        if layout.behavior == "visible":
            if windows.behavior is None:
                raise ValueError(f"Session {windows.session!r} has no behaviour to show.")
            parts.append(self.behavior_featx(windows.behavior) + self._channel_vectors(meta))
        if not parts:
            # Nothing is visible, or only video: a sequence of length zero.
            return neurons[:, :0]
        return torch.cat(parts, dim=1)

    # -- 3. context -------------------------------------------------------------------
    def encode(
        self,
        windows: WindowBatch,
        layout: Layout,
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        all_rows: bool = False,
    ) -> TrunkContext:
        """The context for the queries of the layout; with `all_rows`, for any query.

        By default the last layer computes only the rows that these queries may attend.
        """
        encoded = self.encode_tokens(windows, layout)
        context = self.process(windows, layout, [encoded], video_tokens, all_rows=all_rows)
        return replace(context, neuron_vectors=encoded.neuron_vectors)

    def encode_tokens(self, windows: WindowBatch, layout: Layout) -> EncodedTokens:
        """Latents that have attended the response and behaviour tokens."""
        config = self.config
        meta = self.meta_vector(windows.session, windows.start_times)
        neurons = self.neuron_vectors(windows, meta)
        tokens = self.tokens(windows, layout, meta, neurons)
        vectors, times, intervals = self.response_latent_embedding.select(
            layout.context_span, config.sample_rate_hz
        )
        missing = (layout.responses_missing, layout.video_missing, layout.behavior != "visible")
        start = self.latents_start(vectors, missing, meta)
        phases = self.rotary_emb.phases(times[None])
        latents = start.expand(len(windows.neuron_ids), -1, -1)
        plan = None
        # Latents without tokens pass unchanged. By one official option behaviour is
        # ignored as well if there are no responses.
        has_tokens = tokens.shape[1] > 0
        if config.enable_fallback_sensorium_behavior:
            has_tokens = not layout.responses_missing
        if has_tokens:
            plan = AttentionPlan.between(
                intervals,
                token_intervals(config, windows, layout),
                ideal=config.ideal_times,
            )
            samples = self.rotary_emb.phases(windows.response_times)
            # Tokens are keys: their number grows with neurons and time, but only the
            # latents go through the layers (POYO; Azabou et al., 2023).
            keys = self.enc.keys(tokens, self._token_phases(samples, layout))
            latents = self.enc(latents, phases, keys, plan)
        return EncodedTokens(meta, latents, intervals, phases, neurons, tokens, start, plan)

    def latents_start(
        self, vectors: Tensor, missing: tuple[bool, bool, bool], meta: Tensor
    ) -> Tensor:
        """Latents with the identity and one vector per modality that is missing.

        `missing` is of responses, video and behaviour.
        """
        start = vectors[None]
        if self.config.add_meta_to_latents:
            start = start + meta[:, None]
        # Without them a latent could not distinguish a missing modality from one that
        # has no effect on it.
        for row, is_missing in enumerate(missing):
            if is_missing:
                start = start + self.missing_modality_embeddings[row]
        return start

    def _token_phases(self, samples: Phases, layout: Layout) -> Phases:
        phases = samples.take(layout.token_samples)
        if layout.behavior != "visible":
            return phases
        behavior = self.rotary_emb.phases(self.behavior_timestamps[None])
        return Phases.join([phases, behavior])

    def process(
        self,
        windows: WindowBatch,
        layout: Layout,
        encoded: Sequence[EncodedLatents],
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        all_rows: bool = False,
    ) -> TrunkContext:
        """Latents of each part of the batch, and its video, through all layers.

        The layouts of `encoded` may differ in their tokens only: span, video and
        queries are those of `layout`. The result has no vectors of neurons.
        """
        latents = join_batch([part.latents for part in encoded], encoded)
        meta = join_batch([part.meta for part in encoded], encoded)
        x, intervals, phases, flat_video = self._sequence(
            windows, layout, latents, encoded[0], video_tokens, meta
        )
        config = self.config
        # One plan for all local layers: the sequence has the same times in each.
        plan = AttentionPlan.between(intervals, intervals, ideal=config.ideal_times)
        runs = None if all_rows else attended_runs(config, windows, layout, intervals)
        rows = None if runs is None else rows_of(runs, intervals).to(x.device)
        x = run_layers(self.proc, config, x, phases, plan, rows)
        # Keys that were not computed must not be in the plan of the queries.
        if runs is not None and rows is not None:
            intervals, phases = intervals.take(runs), phases.take(rows)
        return TrunkContext(
            encoded=tuple(encoded),
            meta=meta,
            neuron_vectors=None,
            video_tokens=flat_video,
            processed=x,
            # Part of the context, so that several sets of queries can use them.
            keys=tuple(decoder.keys(x, phases) for decoder in self.decoders()),
            intervals=intervals,
            processor_plan=plan,
            sample_phases=self.rotary_emb.phases(windows.response_times),
        )

    def _sequence(
        self,
        windows: WindowBatch,
        layout: Layout,
        latents: Tensor,
        first: EncodedLatents,
        video_tokens: Tensor | None,
        meta: Tensor,
    ) -> tuple[Tensor, Intervals, Phases, Tensor | None]:
        """[latents, video tokens] with their intervals and phases; video tokens."""
        if video_tokens is None or not len(layout.video_steps):
            return latents, first.intervals, first.phases, None
        # (batch, step, token, dim) -> (batch, step * token, dim)
        per_step = video_tokens.shape[2]
        flat = video_tokens.flatten(1, 2)
        if self.config.add_meta_to_video_feats:
            flat = flat + meta[:, None]
        step_times = windows.video_times[:, layout.video_steps.cpu()]
        # Item 0 stands for the batch: one plan serves all items, as in the official
        # code. Phases below are those of each item.
        starts = step_times[0]
        length = VIDEO_TOKEN_FRAMES / self.config.sample_rate_hz
        intervals = Intervals.join(
            [
                first.intervals,
                Intervals(starts, starts + length, (per_step,) * len(starts)),
            ]
        )
        rows = torch.arange(len(starts), device=flat.device).repeat_interleave(per_step)
        phases = self.rotary_emb.phases(step_times).take(rows)
        phases = Phases.join([first.phases, phases])
        # One video may serve several items of the batch.
        flat = flat.expand(len(latents), -1, -1)
        return torch.cat([latents, flat], dim=1), intervals, phases, flat

    # -- 4. readout -------------------------------------------------------------------
    def decode_responses(
        self, windows: WindowBatch, layout: Layout, context: TrunkContext
    ) -> tuple[Float[Tensor, "batch query sample"], Tensor]:
        """Rates (B, Q, 5) of the queries of the layout, and the decoder's output."""
        assert context.neuron_vectors is not None
        phases = context.sample_phases.take(layout.query_samples)
        plan = self.query_plan(windows, layout, context)
        hidden = self.decoders()[0](
            # The vectors that were added to the tokens of the same neurons.
            context.neuron_vectors,
            phases,
            context.keys[0],
            plan,
            layout.query_neurons,
        )
        logits = self.response_readout_proj(hidden)
        biases = self.session(windows.session).biases(windows.neuron_ids)
        # (batch, query, 5) + (batch, query, 1)
        logits = logits + biases[:, layout.query_neurons]
        return rates_from_logits(logits, self.config.softplus_beta), hidden

    def query_plan(
        self, windows: WindowBatch, layout: Layout, context: TrunkContext
    ) -> AttentionPlan:
        """Which rows of the context each response query may attend."""
        queries = query_intervals(self.config, windows, layout)
        ideal = self.config.ideal_times
        return AttentionPlan.between(queries, context.intervals, ideal=ideal)

    def decode_behavior(
        self, context: TrunkContext
    ) -> tuple[Float[Tensor, "batch channel time"], Tensor]:
        """Behaviour (B, C, 40), and the decoder's output."""
        batch = len(context.processed)
        queries = self._channel_vectors(context.meta).expand(batch, -1, -1)
        phases = self.rotary_emb.phases(self.behavior_timestamps[None])
        # No plan: behaviour has the interval of the whole window.
        hidden = self.decoders()[-1](queries, phases, context.keys[-1], None)
        return behavior_from_hidden(hidden, self.behavior_readout_proj), hidden


# -- sizes of a config that make no network, refused before any memory is allocated ---
MAX_SIZE = 10**6
"""Limit of every single number of a config."""
MAX_LAYERS = 1000
_LAYERS = ("num_layers", "hiera.stages")
MAX_PARAMETERS = 10**11


def check_size(config: OmniMouseConfig, sessions: Mapping[str, int], name: str) -> None:
    """Refuse a config that makes no network, or one larger than any machine's memory.

    Parameters
    ----------
    sessions
        Number of neurons by session key.
    name
        Name of the config, for the message.

    Raises
    ------
    ValueError
        A number is too large, or no network can be built.
    """
    check_numbers(config, name)
    try:
        # Without memory for the weights.
        with torch.device("meta"):
            net = OmniMouse(config, dict(sessions), dict.fromkeys(sessions, "animal"))
    except Exception as error:  # numbers that make no net fail in many ways
        raise ValueError(f"{name}: model makes no network: {repr(error)[:200]}.") from error
    count = sum(parameter.numel() for parameter in net.parameters())
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"{name}: model has {count:,} parameters; expected at most {MAX_PARAMETERS:,}."
        )


def check_numbers(config: OmniMouseConfig, name: str) -> None:
    """Refuse single numbers of a config for which even a list of layers is too large.

    Raises
    ------
    ValueError
        The message names the field.
    """
    for field, number in _numbers(config):
        limit = MAX_LAYERS if field in _LAYERS else MAX_SIZE
        if abs(number) > limit:
            raise ValueError(f"{name}: model.{field} is {number:,}; expected at most {limit:,}.")


def _numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the name and value of every whole number of a config."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{field.name}.")
        for one in value if isinstance(value, tuple) else (value,):
            # Sizes are whole numbers; a base of frequencies may be large.
            if isinstance(one, int) and not isinstance(one, bool):
                yield f"{prefix}{field.name}", one
