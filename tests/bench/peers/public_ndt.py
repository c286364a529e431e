"""The public code of the neural data transformer (MtM), with the weights of ours.

Its model, masker, evaluation and trainer are imported from a checkout and run as they
are. Packages that these modules import but do not need here are replaced by stand-ins
where they are not installed; figures and R² are left out, as in our code.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import click
import numpy as np
import torch
from torch import Tensor, nn

from omnimouse_model.families.ndt.network import Ndt
from omnimouse_model.families.ndt.predictor import UNUSED
from omnimouse_model.families.ndt.training import Batch
from tests.conformance.public_ndt import own_to_public

N_JOBS = 8
"""Neurons that the public scripts evaluate at once."""
_MODEL = "src/configs/ndt1_stitching_prompting.yaml"
_TRAINER = "src/configs/ssl_sessions_trainer.yaml"
_OWN = ("loader", "models", "trainer", "utils")
"""Top-level packages of the checkout."""
_ABOUT = (
    *("time_attn_mask", "space_attn_mask", "neuron_regions"),
    *("spikes_timestamps", "spikes_spacestamps"),
)
"""What the model is told about a batch."""


class PublicNdt:
    """The public model of one session; use it as a context.

    Parameters
    ----------
    checkout
        Folder of the repository.
    net
        Our network, of one session; its weights are copied.
    regions
        Region of each neuron.

    Raises
    ------
    click.UsageError
        The folder has no such code.
    """

    def __init__(self, checkout: Path, net: Ndt, regions: Sequence[str]) -> None:
        if not (checkout / "src" / "models" / "ndt1.py").is_file():
            raise click.UsageError(f"{checkout} is no checkout of IBL_MtM_model.")
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_importable(checkout.absolute()))
        self._regions = np.array(regions)
        self._device = net.encoder.out_norm.weight.device
        try:
            self._config = _config(net)
            (count,) = net.sessions.values()
            model = import_module("models.ndt1").NDT1(
                self._config.model, **self._config.method.model_kwargs, num_neurons=[count]
            )
            missing, unexpected = model.load_state_dict(
                {k: v.cpu() for k, v in own_to_public(net).items()}, strict=False
            )
            assert not unexpected
            assert set(missing) <= set(UNUSED), missing
        except BaseException:
            self._stack.close()
            raise
        self._model = model.to(self._device)

    def __enter__(self) -> "PublicNdt":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def co_smoothing(self, spikes: Tensor, n_held_out: int) -> np.ndarray:
        """Return the bits per spike of the first neurons, each left out in turn."""
        n_trials, n_bins, count = spikes.shape
        batch = self._batch(spikes)
        # The number of neurons that are evaluated is that before the first padded one;
        # the model does not read this mask.
        batch["space_attn_mask"] = torch.arange(count).expand(n_trials, -1) < n_held_out
        batch["space_attn_mask"] = batch["space_attn_mask"].long()
        about = {
            "cluster_uuids": [[str(k) for k in range(count)]],
            "cluster_regions": [self._regions],
        }
        with tempfile.TemporaryDirectory(prefix="omnimouse-mtm-") as folder:
            import_module("utils.eval_utils").co_smoothing_eval(
                self._model,
                self._accelerator,
                [batch],
                about,
                mode="per_neuron",
                is_aligned=False,
                target_regions=None,
                n_jobs=N_JOBS,
                n_time_steps=n_bins,
                method_name="bench",
                save_path=folder,
            )
            bits: np.ndarray = np.load(Path(folder) / "bps.npy", allow_pickle=False)
        self._model.encoder.mask = True
        return bits[:n_held_out]

    def step_seconds(self, batches: Sequence[Tensor]) -> list[float]:
        """Train on counts with the public trainer; return the seconds of each step."""
        moments: list[float] = []

        def noted() -> Iterator[dict[str, Any]]:
            for spikes in batches:
                moments.append(perf_counter())
                yield self._batch(spikes)
            moments.append(perf_counter())

        optimiser, schedule = self._optimiser(len(batches))
        trainer = import_module("trainer.base").Trainer(
            self._model,
            noted(),
            None,
            optimiser,
            lr_scheduler=schedule,
            accelerator=self._accelerator,
            config=self._config,
            stitching=True,
            num_neurons=[batches[0].shape[2]],
        )
        # One fork reads batches of another dataset in this place.
        if hasattr(trainer, "_forward_model_outputs"):
            trainer._forward_model_outputs_experanto = trainer._forward_model_outputs
        trainer.train_epoch(0)
        return np.diff(moments).tolist()

    def drawn_batches(
        self, session: str, batches: Sequence[Tensor]
    ) -> tuple[list[Batch], list[float]]:
        """Train without dropout; return what the masker drew, and the losses."""
        model, drawn, losses = self._model.train(), [], []
        _drop_nothing(model)
        optimiser, schedule = self._optimiser(len(batches))
        masks: list[Any] = []
        hook = model.encoder.masker.register_forward_hook(
            lambda _, inputs, output: masks.append([x.clone() for x in output])
        )
        for number, spikes in enumerate(batches):
            scheme = ("neuron", "causal", "inter-region", "intra-region")[number % 4]
            batch = self._batch(spikes)
            loss = model(
                batch["spikes_data"].clone(),
                **{name: batch[name] for name in _ABOUT},
                masking_mode=scheme,
                num_neuron=spikes.shape[2],
                eid=batch["eid"][0],
            ).loss
            loss.backward()
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
            seen, target = masks[-1]
            drawn.append(Batch(session, scheme, seen, spikes, target.bool()))
        hook.remove()
        return drawn, losses

    @property
    def _accelerator(self) -> Any:
        return SimpleNamespace(device=self._device)

    def _optimiser(self, steps: int) -> tuple[Any, Any]:
        """Return optimiser and schedule of the public training script."""
        settings = self._config.optimizer
        optimiser = torch.optim.AdamW(
            self._model.parameters(),
            lr=settings.lr,
            weight_decay=settings.wd,
            eps=settings.eps,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer=optimiser,
            total_steps=steps,
            max_lr=settings.lr,
            pct_start=settings.warmup_pct,
            div_factor=settings.div_factor,
        )
        return optimiser, schedule

    def _batch(self, spikes: Tensor) -> dict[str, Any]:
        """Return what the public loader gives for trials of one session."""
        n_trials, n_bins, count = spikes.shape

        def of_each(n: int) -> Tensor:
            return torch.arange(n).repeat(n_trials, 1).to(spikes.device)

        return {
            "spikes_data": spikes,
            "time_attn_mask": torch.ones_like(of_each(n_bins)),
            "space_attn_mask": torch.ones_like(of_each(count)),
            "spikes_timestamps": of_each(n_bins),
            "spikes_spacestamps": of_each(count),
            "target": torch.full((n_trials, 1), float("nan")),
            "neuron_regions": np.tile(self._regions, (n_trials, 1)),
            "eid": ["session"] * n_trials,
        }


def _config(net: Ndt) -> Any:  # a class of the foreign code
    """Return the public config of a network."""
    read = import_module("utils.config_utils").update_config
    sizes = net.config
    config = read(_TRAINER, read(_TRAINER))
    config["model"] = read(_MODEL, read(_MODEL))
    encoder = config["model"]["encoder"]
    encoder["embedder"] |= {
        "n_channels": sizes.d_token,
        "max_F": sizes.n_bins,
        "mult": sizes.mult,
        "dropout": sizes.dropout,
        "use_prompt": sizes.has_prompt,
        "use_session": sizes.has_session,
    }
    encoder["transformer"] |= {
        "n_layers": sizes.n_layers,
        "hidden_size": sizes.d_model,
        "n_heads": sizes.n_heads,
        "inter_size": sizes.d_inner,
        "dropout": sizes.block_dropout,
    }
    return config


def _drop_nothing(model: nn.Module) -> None:
    for module in model.modules():
        for name in ("p", "attn_dropout"):
            if hasattr(module, name):
                setattr(module, name, 0.0)


# -- imports ---------------------------------------------------------------------------
class _StandIn(ModuleType):
    """A module in the place of one that is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "ACT2FN":
            return _ACTIVATIONS
        return _do_nothing


class _TorchOfMasker:
    """Torch, as the masker sees it: what it makes of regions stays on the CPU.

    There it indexes tensors of the CPU, which torch refuses from a GPU.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def tensor(values: Any, **options: Any) -> Tensor:
        return torch.tensor(values)


def _do_nothing(*arguments: Any, **options: Any) -> Any:
    return arguments[0] if arguments else None


class _Activations(dict[str, type[nn.Module]]):
    """Activations by name, as `transformers` has them: an item is a new layer."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)()


_ACTIVATIONS = _Activations(gelu=nn.GELU, relu=nn.ReLU)


class _Finder(MetaPathFinder, Loader):
    """Finds stand-ins; the last finder, so that installed packages come first."""

    names: ClassVar[frozenset[str]] = frozenset(
        {
            *("accelerate", "datasets", "einops", "experanto", "huggingface_hub"),
            *("iblatlas", "matplotlib", "ray", "sklearn", "torchvision", "tqdm"),
            *("transformers", "wandb", "lightning", "torcheval", "pandas"),
        }
    )

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.split(".")[0] not in self.names:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stand-in has no code."""


@contextlib.contextmanager
def _importable(checkout: Path) -> Iterator[None]:
    """Import the checkout's modules within the block; forget them afterwards.

    They read files by paths relative to the checkout, and print.
    """
    finder, before = _Finder(), set(sys.modules)
    folder = Path.cwd()
    os.chdir(checkout)
    sys.path.insert(0, str(checkout / "src"))
    sys.meta_path.append(finder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            evaluation = vars(import_module("utils.eval_utils"))
            # No figures, no R² and no progress bars.
            evaluation["plt"] = _StandIn("figures")
            evaluation["viz_single_cell_unaligned"] = lambda *_, **__: np.zeros(2)
            evaluation["tqdm"] = _do_nothing
            vars(import_module("trainer.base"))["tqdm"] = _do_nothing
            vars(import_module("models.masker"))["torch"] = _TorchOfMasker()
            yield
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(checkout / "src"))
        os.chdir(folder)
        for name in set(sys.modules) - before:
            module = sys.modules[name]
            if name.split(".")[0] in _OWN or isinstance(module, _StandIn):
                del sys.modules[name]
