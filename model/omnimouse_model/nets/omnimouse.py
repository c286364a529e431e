"""OmniMouse: the transformer, top to bottom (ICLR 2026; `spec` sections named).

1. meta vector of the session and its animal (§4)
2. response and behaviour tokens (§7), video tokens (§8)
3. latents read the tokens once (encoder), then latents and video tokens go through
   local and global self-attention blocks (§10, §11)
4. queries read the result (decoder); linear readouts (§12)

The net takes tensors and indices and gives tensors. It knows no file, no device, no
mask and no loss. Parameter names are those of the released checkpoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from omnimouse_model.nets.attention import (
    CrossBlock,
    Phases,
    SelfBlock,
    rotary_phases,
)
from omnimouse_model.nets.config import OmniMouseConfig
from omnimouse_model.nets.embeddings import (
    BEHAVIOR_SECONDS,
    AnimalParameters,
    ExperimentTime,
    Latents,
    ResponseFeatures,
    RotaryFrequencies,
    SessionParameters,
)
from omnimouse_model.nets.layout import Layout
from omnimouse_model.nets.plan import AttentionPlan, Intervals
from omnimouse_model.nets.video import VideoEncoder, hidden_size

VIDEO_TOKEN_FRAMES = 6


@dataclass(frozen=True, slots=True)
class Clip:
    """What the net reads of one batch of windows of one session.

    Attributes
    ----------
    session
        Key of the session's embeddings.
    neuron_ids
        int64 (B, N): the population in its order, per item.
    responses
        float32 (B, 60, N): values in that order; only visible ones are read.
    behavior
        float32 (B, C, 40), read only when it is visible.
    response_times, video_times
        seconds since the first sample of each item, (B or 1, 60) each, CPU.
    start_times
        absolute seconds of the first sample (B,), for the experiment-time embedding.
    """

    session: str
    neuron_ids: Int[Tensor, "batch neuron"]
    responses: Float[Tensor, "batch sample neuron"]
    behavior: Float[Tensor, "batch channel time"] | None
    response_times: Tensor
    video_times: Tensor
    start_times: Tensor | None = None

    def items(self, start: int, stop: int) -> "Clip":
        """Some items of the batch."""

        def cut(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[start:stop]

        return replace(
            self,
            neuron_ids=self.neuron_ids[start:stop],
            responses=self.responses[start:stop],
            behavior=None if self.behavior is None else self.behavior[start:stop],
            response_times=cut(self.response_times),
            video_times=cut(self.video_times),
            start_times=None if self.start_times is None else cut(self.start_times),
        )


@dataclass(frozen=True, slots=True)
class Read:
    """What the encoder made of one layout's tokens; it knows no video and no query."""

    meta: Tensor
    neuron_vectors: Tensor
    tokens: Tensor
    latents_start: Tensor
    latents: Tensor
    intervals: Intervals
    phases: Phases
    encoder_plan: AttentionPlan | None


@dataclass(frozen=True, slots=True)
class Context:
    """The encoded context that queries read, and what the parity tests look at.

    `reads` are in the order of the batch, `meta` and `neuron_vectors` those of all.
    """

    reads: tuple[Read, ...]
    meta: Tensor
    neuron_vectors: Tensor
    video_tokens: Tensor | None
    processed: Tensor
    keys: tuple[tuple[Tensor, Tensor], ...]
    intervals: Intervals
    processor_plan: AttentionPlan
    sample_phases: Phases


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
        self,
        config: OmniMouseConfig,
        sessions: dict[str, int],
        animals: dict[str, str],
    ) -> None:
        super().__init__()
        self.config = config
        self.animals = dict(animals)
        d, e = config.d_model, config.d_embedding
        self.behavior_channel_embeddings = nn.Parameter(
            torch.zeros(config.behavior_channels, d)
        )
        self.missing_modality_embeddings = nn.Parameter(torch.zeros(3, d))
        self.behavior_readout_proj = nn.Parameter(
            torch.zeros(config.behavior_channels, config.n_behavior_samples, d)
        )
        self.register_buffer(
            "behavior_timestamps", torch.zeros(config.behavior_channels)
        )
        self.behavior_timestamps: Tensor
        self.sess_params = nn.ModuleDict(
            {key: SessionParameters(n, e) for key, n in sessions.items()}
        )
        self.animal_params = AnimalParameters(tuple(dict.fromkeys(animals.values())), e)
        self.sess_to_model_proj = nn.Linear(e, d)
        self.neuron_to_model_proj = nn.Linear(e, d)
        self.animal_to_model_proj = nn.Linear(e, d)
        self.exp_time_to_model_proj = nn.Linear(e, d)
        self.exp_time_embedding = ExperimentTime(
            int(
                config.max_recording_len_s / config.absolute_experiment_time_precision_s
            ),
            e,
        )
        self.response_latent_embedding = Latents(config)
        self.response_featx = ResponseFeatures(config)
        self.response_readout_proj = nn.Linear(
            d, config.response_stride_samples, bias=False
        )
        self.hiera = VideoEncoder(config.hiera, d)
        self.behavior_featx = nn.Linear(config.n_behavior_samples, d)
        self.rotary_emb = RotaryFrequencies(config)
        heads = (config.num_heads, config.num_kv_heads or config.num_heads)
        hidden = hidden_size(d, config.ffn_hidden_mult)
        eps = config.norm_eps
        rates = np.linspace(0, config.drop_path_rate, config.num_layers).tolist()
        self.enc = CrossBlock(d, *heads, hidden, eps)
        self.proc = nn.ModuleList(
            SelfBlock(d, *heads, hidden, eps, rate) for rate in rates
        )
        self.decs = nn.ModuleList(
            CrossBlock(d, *heads, hidden_size(d, config.decoder_ffn_hidden_mult), eps)
            for _ in range(2 if config.per_modality_decoders else 1)
        )

    # -- 1. who -----------------------------------------------------------------
    def session(self, key: str) -> SessionParameters:
        """One session's parameters."""
        module = self.sess_params[key]
        assert isinstance(module, SessionParameters)
        return module

    def meta_vector(
        self, key: str, start_times: Tensor | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Session and animal, projected and summed; (1, d), or (B, d) with time."""
        meta: Tensor = self.sess_to_model_proj(self.session(key).vector)
        counts = list(self.animals.values())
        several = len(counts) > len(set(counts))
        if self.config.always_use_animal_embeddings or several:
            meta = meta + self.animal_to_model_proj(
                self.animal_params.vector(self.animals[key])
            )
        if not self.config.add_exp_time_embedding:
            return meta[None]
        if start_times is None:
            raise ValueError("This config needs Clip.start_times.")
        row = start_times / self.config.absolute_experiment_time_precision_s
        table = self.exp_time_embedding.positional_embeddings
        meta = meta + self.exp_time_to_model_proj(table[row.long()])
        return meta

    # -- 2. tokens --------------------------------------------------------------
    def encode_video(
        self, video: Float[Tensor, "batch 1 frame height width"], layout: Layout
    ) -> Float[Tensor, "batch step token dim"]:
        """Video tokens of the layout's visible steps.

        With `hidden_video="blank"` hidden frames are zero before the encoder, and
        cannot inform the result; with "cut" they can (spec §8).
        """
        if self.config.hidden_video == "blank" and not layout.all_steps:
            video = video * layout.frames.to(video)[:, None, None]
        steps = None if layout.all_steps else layout.video_steps
        tokens: Tensor = self.hiera(video, steps)
        return tokens

    def _tokens(
        self, clip: Clip, layout: Layout, meta: Tensor, neurons: Tensor
    ) -> Tensor:
        parts = []
        if len(layout.token_neurons):
            values = self.response_featx(clip.responses, layout)
            parts.append(values + neurons[:, layout.token_neurons])
        if layout.behavior == "visible":
            if clip.behavior is None:
                raise ValueError(f"Session {clip.session!r} has no behaviour to show.")
            parts.append(
                self.behavior_featx(clip.behavior) + self._channel_vectors(meta)
            )
        if not parts:
            return neurons[:, :0]
        return torch.cat(parts, dim=1)

    def _channel_vectors(self, meta: Tensor) -> Tensor:
        if not self.config.add_meta_to_embeddings:
            return self.behavior_channel_embeddings[None]
        return self.behavior_channel_embeddings + meta[:, None]

    def _neuron_vectors(self, clip: Clip, meta: Tensor) -> Tensor:
        vectors: Tensor = self.neuron_to_model_proj(
            self.session(clip.session).neurons(clip.neuron_ids)
        )
        if self.config.add_meta_to_embeddings:
            vectors = vectors + meta[:, None]
        return vectors

    # -- 3. context -------------------------------------------------------------
    def encode(
        self,
        clip: Clip,
        layout: Layout,
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        whole: bool = False,
    ) -> Context:
        """All that the layout's queries, or any of them, need to be answered.

        What none of them may attend is left out of the last layer, unless `whole`.
        """
        reads = [self.read(clip, layout)]
        return self.process(clip, layout, reads, video_tokens, whole=whole)

    def read(self, clip: Clip, layout: Layout) -> Read:
        """Latents that have read the response and behaviour tokens."""
        config = self.config
        meta = self.meta_vector(clip.session, clip.start_times)
        neurons = self._neuron_vectors(clip, meta)
        tokens = self._tokens(clip, layout, meta, neurons)
        vectors, times, intervals = self.response_latent_embedding.select(
            layout.context_span, config.sample_rate_hz
        )
        start = self._latents_start(vectors, layout, meta)
        phases = self._phases(times[None])
        latents = start.expand(len(clip.neuron_ids), -1, -1)
        plan = None
        has_tokens = tokens.shape[1] > 0
        if config.enable_fallback_sensorium_behavior:
            has_tokens = not layout.responses_missing
        if has_tokens:
            plan = self._plan(intervals, self._token_intervals(clip, layout))
            samples = self._phases(clip.response_times)
            keys = self.enc.keys(tokens, self._token_phases(samples, layout))
            latents = self.enc(latents, phases, keys, plan)
        return Read(meta, neurons, tokens, start, latents, intervals, phases, plan)

    def process(
        self,
        clip: Clip,
        layout: Layout,
        reads: Sequence[Read],
        video_tokens: Float[Tensor, "batch step token dim"] | None,
        *,
        whole: bool = False,
    ) -> Context:
        """What was read of each part of the batch, and its video, together.

        The layouts of `reads` may differ in their tokens alone: span, video and
        queries are those of `layout`.
        """
        latents = _stacked([read.latents for read in reads], reads)
        meta = _stacked([read.meta for read in reads], reads)
        neurons = _stacked([read.neuron_vectors for read in reads], reads)
        x, intervals, phases, flat_video = self._sequence(
            clip, layout, latents, reads[0], video_tokens, meta
        )
        plan = self._plan(intervals, intervals)
        runs = None if whole else self._seen_runs(clip, layout, intervals)
        rows = None if runs is None else _rows_of(runs, intervals).to(x.device)
        x = self._process(x, phases, plan, rows)
        if runs is not None and rows is not None:
            intervals, phases = intervals.take(runs), phases.take(rows)
        return Context(
            reads=tuple(reads),
            meta=meta,
            neuron_vectors=neurons,
            video_tokens=flat_video,
            processed=x,
            keys=tuple(decoder.keys(x, phases) for decoder in self._decoders()),
            intervals=intervals,
            processor_plan=plan,
            sample_phases=self._phases(clip.response_times),
        )

    def _decoders(self) -> list[CrossBlock]:
        return [block for block in self.decs if isinstance(block, CrossBlock)]

    def _latents_start(self, vectors: Tensor, layout: Layout, meta: Tensor) -> Tensor:
        start = vectors[None]
        if self.config.add_meta_to_latents:
            start = start + meta[:, None]
        missing = (
            layout.responses_missing,
            layout.video_missing,
            layout.behavior != "visible",
        )
        for row, is_missing in enumerate(missing):
            if is_missing:
                start = start + self.missing_modality_embeddings[row]
        return start

    def _sequence(
        self,
        clip: Clip,
        layout: Layout,
        latents: Tensor,
        read: Read,
        video_tokens: Tensor | None,
        meta: Tensor,
    ) -> tuple[Tensor, Intervals, Phases, Tensor | None]:
        """[latents, video tokens] with their intervals and phases."""
        if video_tokens is None or not len(layout.video_steps):
            return latents, read.intervals, read.phases, None
        per_step = video_tokens.shape[2]
        flat = video_tokens.flatten(1, 2)
        if self.config.add_meta_to_video_feats:
            flat = flat + meta[:, None]
        step_times = clip.video_times[:, layout.video_steps.cpu()]
        starts = step_times[0]
        length = VIDEO_TOKEN_FRAMES / self.config.sample_rate_hz
        intervals = Intervals.join(
            [
                read.intervals,
                Intervals(starts, starts + length, (per_step,) * len(starts)),
            ]
        )
        rows = torch.arange(len(starts), device=flat.device).repeat_interleave(per_step)
        phases = Phases.join([read.phases, self._phases(step_times).take(rows)])
        flat = flat.expand(len(latents), -1, -1)
        return torch.cat([latents, flat], dim=1), intervals, phases, flat

    def _seen_runs(
        self, clip: Clip, layout: Layout, intervals: Intervals
    ) -> Tensor | None:
        """Runs of the context that queries may attend, bool (runs,); None for all.

        A last layer that is local is computed whole: its plan knows all rows.
        """
        is_last_local = self.config.layer_is_local()[-1]
        if is_last_local or layout.behavior == "target" or not layout.query_runs:
            return None
        keys, queries = intervals, self._query_intervals(clip, layout)
        if self.config.ideal_times:
            keys, queries = keys.ideal(), queries.ideal()
        seen = keys.seen_by(queries)
        return None if seen.all() or not seen.any() else seen

    def _process(
        self, x: Tensor, phases: Phases, local: AttentionPlan, rows: Tensor | None
    ) -> Tensor:
        """Through all layers, of the last one the chosen rows alone."""
        layers = list(zip(self.proc, self.config.layer_is_local(), strict=True))
        layers *= self.config.num_blocks
        for number, (block, is_local) in enumerate(layers):
            skips_rotary = self.config.use_global_nope and not is_local
            x = block(
                x,
                None if skips_rotary else phases,
                local if is_local else None,
                rows if number == len(layers) - 1 else None,
            )
        return x

    # -- 4. answers -------------------------------------------------------------
    def decode_responses(
        self, clip: Clip, layout: Layout, context: Context
    ) -> tuple[Float[Tensor, "batch query sample"], Tensor]:
        """Rates (B, Q, 5) of the layout's queries, and the decoder's output."""
        phases = context.sample_phases.take(layout.query_samples)
        plan = self._plan(self._query_intervals(clip, layout), context.intervals)
        hidden = self._decoders()[0](
            context.neuron_vectors,
            phases,
            context.keys[0],
            plan,
            layout.query_neurons,
        )
        logits = self.response_readout_proj(hidden)
        biases = self.session(clip.session).biases(clip.neuron_ids)
        logits = logits + biases[:, layout.query_neurons]
        rates = F.softplus(logits.float(), beta=self.config.softplus_beta, threshold=20)
        return rates, hidden

    def decode_behavior(
        self, context: Context
    ) -> tuple[Float[Tensor, "batch channel time"], Tensor]:
        """Behaviour (B, C, 40), and the decoder's output."""
        batch = len(context.neuron_vectors)
        queries = self._channel_vectors(context.meta).expand(batch, -1, -1)
        phases = self._phases(self.behavior_timestamps[None])
        hidden = self._decoders()[-1](queries, phases, context.keys[-1], None)
        # written out, since autocast would take a matmul to bf16 (§12 asks float32)
        weighted = hidden.float()[:, :, None] * self.behavior_readout_proj
        return weighted.sum(dim=-1), hidden

    # -- times ------------------------------------------------------------------
    def _phases(self, times: Tensor) -> Phases:
        frequencies = self.rotary_emb.inv_freq
        return rotary_phases(times.to(frequencies.device), frequencies)

    def _plan(self, queries: Intervals, keys: Intervals) -> AttentionPlan:
        if self.config.ideal_times:
            queries, keys = queries.ideal(), keys.ideal()
        return AttentionPlan.between(queries, keys)

    def _token_phases(self, samples: Phases, layout: Layout) -> Phases:
        phases = samples.take(layout.token_samples)
        if layout.behavior != "visible":
            return phases
        return Phases.join([phases, self._phases(self.behavior_timestamps[None])])

    def _token_intervals(self, clip: Clip, layout: Layout) -> Intervals:
        length = self.config.response_window_samples / self.config.sample_rate_hz
        parts = [_run_intervals(clip, layout.token_runs, 0.0, length)]
        if layout.behavior == "visible":
            parts.append(
                Intervals(
                    torch.zeros(1),
                    torch.full((1,), BEHAVIOR_SECONDS),
                    (self.config.behavior_channels,),
                )
            )
        return Intervals.join(parts)

    def _query_intervals(self, clip: Clip, layout: Layout) -> Intervals:
        rate = self.config.sample_rate_hz
        back = self.config.response_query_lookback_samples / rate
        return _run_intervals(
            clip, layout.query_runs, back, self.config.query_lookahead / rate
        )

    def query_plan(
        self, clip: Clip, layout: Layout, context: Context
    ) -> tuple[Intervals, AttentionPlan]:
        """Intervals of the response queries and the plan they are answered under."""
        intervals = self._query_intervals(clip, layout)
        return intervals, self._plan(intervals, context.intervals)


def _stacked(parts: list[Tensor], reads: Sequence[Read]) -> Tensor:
    """Join along the batch; what is one for all items of a read is repeated."""
    if len(parts) == 1:
        return parts[0]
    sizes = [len(read.latents) for read in reads]
    return torch.cat(
        [part.expand(n, *part.shape[1:]) for part, n in zip(parts, sizes, strict=True)]
    )


def _rows_of(runs: Tensor, intervals: Intervals) -> Tensor:
    """Elements of the chosen runs, int64 (rows,)."""
    counts = torch.tensor(intervals.counts)
    return runs.repeat_interleave(counts).nonzero()[:, 0]


def _run_intervals(
    clip: Clip, runs: tuple[tuple[int, int], ...], back: float, ahead: float
) -> Intervals:
    """Intervals [t - back, t + ahead) of runs that start at given samples."""
    times = clip.response_times[0].cpu()[[sample for sample, _ in runs]]
    starts = times - back if back else times
    return Intervals(starts, times + ahead, tuple(count for _, count in runs))
