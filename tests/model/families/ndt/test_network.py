"""The neural data transformer: reference values, sizes, what bins see, sessions."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from omnimouse_model.errors import CheckpointError, UnsupportedRequestError
from omnimouse_model.families.ndt.network import Dropout, Ndt, NdtConfig, poisson_loss
from tests import FIXTURES
from tests.conformance import ndt as conformance
from tests.conformance.public_ndt import from_public, own_to_public

FIXTURE = FIXTURES / "ndt_parity"
SMALL = NdtConfig(
    d_token=12, n_bins=8, d_model=16, n_layers=2, n_heads=2, d_inner=24,
    dropout=0.0, block_dropout=0.0,
)  # fmt: skip


def net_of(config=SMALL, **sessions):
    torch.manual_seed(0)
    return Ndt(config, sessions or {"a": 5, "b": 5}).eval()


def trials(n_neurons=5, n_bins=8):
    draw = torch.Generator().manual_seed(1)
    return torch.poisson(torch.full((3, n_bins, n_neurons), 0.5), generator=draw)


@pytest.mark.slow
def test_reference_values_are_met():
    found = {line.name: line.is_good for line in conformance.lines(FIXTURE)}
    assert all(found.values()), found
    assert {"neuron", "padded_causal", "mask draws", "one cycle"} <= set(found)


def test_draws_of_a_session_of_one_region_are_compared(tmp_path):
    reference = conformance.Reference(FIXTURE)
    shape, draws = (3, 2, 1), {"regions": np.array(["V1"] * 5)}
    for scheme in ("inter-region", "neuron"):
        draws |= {f"{scheme}.{kind}": np.zeros(shape) for kind in ("input", "target")}
        draws[f"{scheme}.length"] = np.array(5)
    draws |= {f"inter-region.{kind}_fraction": np.array(1.0) for kind in ("input", "target")}
    draws |= {f"neuron.{kind}_fraction": np.array(0.3) for kind in ("input", "target")}
    np.savez(tmp_path / "mask_draws.npz", **draws)
    reference.folder = tmp_path
    line = conformance.draws_line(reference)
    assert line.ratios["inter-region.input"] == 0
    assert np.isfinite(list(line.ratios.values())).all()


@pytest.mark.slow
def test_a_wrong_weight_is_found(tmp_path):
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "state_dict.safetensors"
    state = load_file(file)
    state["encoder.out_norm.weight"] *= 1.01
    save_file(state, file)
    reference = conformance.Reference(tmp_path)
    (case,) = (c for c in reference.cases["cases"] if c["name"] == "neuron")
    assert not conformance.case_line(reference, case).is_good


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "n_sessions", "wanted"),
    [
        (NdtConfig(n_bins=100, has_session=False), 1, 12_146_520),
        (NdtConfig(has_session=False), 1, 12_172_120),
        (NdtConfig(), 84, 12_215_128),
        (NdtConfig(d_token=1024), 200, 13_844_480),
    ],
)
def test_the_shared_part_has_the_published_size(config, n_sessions, wanted):
    with torch.device("meta"):
        net = Ndt(config, {f"s{number}": 2 for number in range(n_sessions)})
    assert sum(p.numel() for _, p in net.shared()) == wanted


@pytest.mark.slow
def test_a_session_has_the_published_size():
    with torch.device("meta"):
        net = Ndt(NdtConfig(), {"s": 1000})
    shared = sum(p.numel() for _, p in net.shared())
    assert sum(p.numel() for p in net.parameters()) - shared == 1_181_668


def test_later_bins_change_no_earlier_ones_unless_the_leak_is_wanted():
    counts = trials()
    changed = counts.clone()
    changed[:, 5:] += 1
    for leaks in (False, True):
        net = net_of(replace(SMALL, leaks=leaks))
        one, other = (net(x, "a", "causal")[:, :5] for x in (counts, changed))
        assert torch.equal(one, other) != leaks
        one, other = (net(x, "a", "neuron")[:, :5] for x in (counts, changed))
        assert not torch.equal(one, other)


def test_padding_changes_nothing():
    net, counts = net_of(), trials()
    is_real = torch.ones(3, 8, dtype=torch.bool)
    is_real[:, 6:] = False
    padded = counts.masked_fill(~is_real[..., None], -1)
    for scheme in ("neuron", "causal"):
        encoded = (net.encode(x, "a", scheme, is_real=is_real) for x in (counts, padded))
        one, other = (net.read(bins, "a")[:, :6] for bins in encoded)
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        short = net(counts[:, :6], "a", scheme)
        torch.testing.assert_close(one, short, rtol=1e-5, atol=1e-5)


def test_public_names_come_back(tmp_path):
    net = net_of(a=5, b=7)
    public = own_to_public(net)
    assert "encoder.stitcher.stitcher_dict.7.weight" in public
    again = from_public(dict(public), SMALL, {"a": 5, "b": 7}, "file")
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    missing = {n: v for n, v in public.items() if n != "encoder.out_norm.bias"}
    with pytest.raises(CheckpointError, match=r"encoder\.out_norm\.bias"):
        from_public(missing, SMALL, {"a": 5, "b": 7}, "file")
    with pytest.raises(CheckpointError, match=r"stitcher_dict\.9"):
        from_public(public, SMALL, {"a": 5, "b": 9}, "file")
    with pytest.raises(CheckpointError, match=r"_dict\.7"):
        from_public(public, SMALL, {"a": 5}, "file")
    with pytest.raises(CheckpointError, match="same number"):
        own_to_public(net_of())


def test_what_it_does_not_know_is_refused():
    net, counts = net_of(), trials()
    for arguments, what in (
        ((counts, "c", "neuron"), "'c' is unknown"),
        ((counts[..., :4], "a", "neuron"), "has 5 neurons, not 4"),
        ((trials(n_bins=9), "a", "neuron"), "9 bins; at most 8"),
        ((counts, "a", "temporal"), "no prompt"),
    ):
        with pytest.raises(UnsupportedRequestError, match=what):
            net(*arguments)
    with pytest.raises(ValueError, match="dot"):
        Ndt(SMALL, {"a.b": 3})


def test_the_loss_is_a_mean_of_scored_entries_or_their_sum():
    counts = trials()
    scored = torch.zeros_like(counts, dtype=torch.bool)
    scored[:, 2:4, 1] = True
    log_rates = torch.full_like(counts, -0.3).requires_grad_()
    mean = poisson_loss(log_rates, counts, scored)
    total = poisson_loss(log_rates, counts, scored, is_sum=True)
    assert float(total) == pytest.approx(6 * float(mean), rel=1e-5)
    mean.backward()
    assert not log_rates.grad[~scored].any()


def test_dropout_keeps_the_share_and_the_mean():
    torch.manual_seed(0)
    x = torch.ones(100, 101)
    dropout = Dropout(0.4)
    out = dropout(x)
    share = float((out == 0).float().mean())
    assert share == pytest.approx(0.4, abs=0.02)
    assert float(out.max()) == pytest.approx(1 / 0.6, rel=1e-4)
    # Entries share a random word of four; none of its parts is special.
    for part in range(4):
        own = float((out.flatten()[part::4] == 0).float().mean())
        assert own == pytest.approx(0.4, abs=0.04)
    assert not torch.equal(dropout(x), out)
    assert dropout.eval()(x) is x
