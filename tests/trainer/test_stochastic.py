# SPDX-License-Identifier: BSD-3-Clause
"""Stochastic block: recorded results, properties, errors (ladder-stochastic, sections 1 to 11)."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F
from torch.testing import assert_close

import numchic_trainer
from numchic_trainer import NormalStochasticBlock
from numchic_trainer.ladder import stochastic
from numchic_trainer.ladder.gaussian import LogVar, NaiveLogVar
from vectors import Recording, stochastic_recordings

F64 = torch.float64
METRICS = {
    "kl_elementwise", "kl_samplewise", "kl_samplewise_restricted", "kl_channelwise", "kl_spatial",
}  # fmt: skip
KEYS = {"z", "p_params", "q_params", "logprob_q", "qvar_max", *METRICS}
NO_PAIR: Any = None  # the parameters that compute_kl_metrics does not read

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
booleans = st.booleans()


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the maps are tiny: threads would only wait for each other
    yield
    torch.set_num_threads(threads)


def make(dtype: torch.dtype = F64, **arguments: Any) -> NormalStochasticBlock:
    return NormalStochasticBlock(**{"c_in": 4, "c_vars": 2, "c_out": 3} | arguments).to(dtype)


def make_raw(dtype: torch.dtype = F64, **arguments: Any) -> NormalStochasticBlock:
    """Make a block whose inputs are means and raw log-variances, those of q too."""
    block = make(dtype, kernel=1, transform_p_params=False, **arguments)
    with torch.no_grad():
        block.conv_in_q.weight.copy_(torch.eye(4).reshape(4, 4, *(1,) * block.conv_dims))
        block.conv_in_q.bias.zero_()  # type: ignore[union-attr]
    return block


def maps(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=F64)


def raw_maps(raw: float, *size: int, dtype: torch.dtype = F64) -> Tensor:
    """Inputs of :func:`make_raw`: random means, the same raw log-variance everywhere."""
    mean = torch.randn(1, 2, *size, dtype=dtype)
    return torch.cat([mean, torch.full_like(mean, raw)], 1).requires_grad_()


def normal(*shape: int) -> Normal:
    return Normal(maps(*shape), torch.exp(maps(*shape)))


def fix_draw(block: NormalStochasticBlock, eps: Tensor) -> None:
    """Replace get_z on the instance."""

    def get_z(distribution: Normal, *_: object) -> Tensor:
        return distribution.mean + eps * distribution.stddev

    block.get_z = get_z  # type: ignore[method-assign, assignment]


@contextmanager
def draws(*shapes: tuple[int, ...], dtype: torch.dtype = F64) -> Iterator[list[Tensor]]:
    """Check that these standard normal tensors, and no others, are drawn; give them."""
    before = torch.get_rng_state()
    expected = [torch.randn(shape, dtype=dtype) for shape in shapes]
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    yield expected
    assert torch.equal(torch.get_rng_state(), after)


@contextmanager
def refuses(*said: str) -> Iterator[None]:
    """Check that a ValueError says all this, and that nothing was drawn before."""
    pattern = "(?s)^" + "".join(f"(?=.*{re.escape(text)})" for text in said)
    with draws(), pytest.raises(ValueError, match=pattern):
        yield


def flat(out: Tensor, data: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give everything but None, under the names of the recordings."""
    assert set(data) == KEYS
    found = {"out": out} | {k: v for k, v in data.items() if isinstance(v, Tensor)}
    for side in ("p", "q"):
        if data[f"{side}_params"] is not None:
            mean, logvar = data[f"{side}_params"]
            found |= {f"{side}.mean": mean.get(), f"{side}.std": logvar.get_std()}
    return found


def check(found: Mapping[str, Any], expected: Mapping[str, Any], rtol: float, atol: float) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        actual = found[name].detach().numpy()
        assert actual.shape == value.shape, name
        np.testing.assert_allclose(actual, value, rtol, atol, err_msg=name)


# Recorded results (section 11)


def load(recording: Recording) -> tuple[NormalStochasticBlock, dict[str, NDArray[np.floating]]]:
    arrays = recording.arrays()
    assert {name: list(array.shape) for name, array in arrays.items()} == recording.entry["arrays"]
    dtype = getattr(torch, recording.entry["dtype"])
    block = make(dtype, **recording.entry["constructor"])
    state = {k[2:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("w.")}
    block.load_state_dict(state)
    return block, arrays


def tolerance(recording: Recording) -> tuple[float, float]:
    if recording.entry["dtype"] == "float32":
        return 1e-3, 1e-3
    stored = recording.entry.get("results_dtype", "float32")
    return (1e-9, 1e-9) if stored == "float64" else (1e-6, 1e-6)


@pytest.mark.parametrize("force", [False, True], ids=["as-recorded", "forced"])
@pytest.mark.parametrize("recording", stochastic_recordings("forward"))
def test_forward_recorded(recording: Recording, force: bool) -> None:
    block, arrays = load(recording)
    entry = recording.entry
    dtype = getattr(torch, entry["dtype"])
    tensors = {k: torch.from_numpy(v).to(dtype) for k, v in arrays.items()}
    inputs = {k[3:]: v.requires_grad_() for k, v in tensors.items() if k.startswith("in.")}
    assert ("q_params" in inputs) == entry["has_q_params"]
    if force:
        inputs["forced_latent"] = tensors["z"]
    elif "eps" in tensors:
        fix_draw(block, tensors["eps"])
    with draws():
        out, data = block(**inputs, **entry["forward"])
    assert {name for name, value in data.items() if value is None} == set(entry["none"])
    results = {k: v for k, v in arrays.items() if k != "eps" and k[:2] != "w." and k[:3] != "in."}
    gradients = {k[5:]: results.pop(k) for k in list(results) if k.startswith("grad.")}
    check(flat(out, data), results, *tolerance(recording))
    assert bool(gradients) == entry["gradients"]
    if gradients and not force:
        (
            out.sum() + (0 if data["kl_samplewise"] is None else data["kl_samplewise"].sum())
        ).backward()
        leaves = {f"in.{k}": v for k, v in inputs.items()} | dict(block.named_parameters())
        found = {k: v.grad for k, v in leaves.items() if v.grad is not None}
        check(found, gradients, *tolerance(recording))


@pytest.mark.parametrize("recording", stochastic_recordings("process_q_params"))
def test_process_q_params_recorded(recording: Recording) -> None:
    block, arrays = load(recording)
    entry = recording.entry
    x = torch.from_numpy(arrays["in.q_params"])
    mean, logvar, distribution = block.process_q_params(
        x, entry["var_clip_max"], allow_oddsizes=entry["allow_oddsizes"]
    )
    found = {
        "q.mean": mean.get(),
        "q.std": logvar.get_std(),
        "q.logvar": logvar.get(),
        "q.var": logvar.get_var(),
    }
    if entry["sampled"]:
        fix_draw(block, torch.from_numpy(arrays["eps"]))
        found["z"] = block.get_z(distribution, None, False, False)
        with draws(tuple(found["z"].shape)) as (eps,):
            z = block.sample_from_q(x, entry["var_clip_max"])
        assert_close(z, mean.get() + eps * logvar.get_std())
    results = {k: v for k, v in arrays.items() if k[:2] == "q." or k == "z"}
    check(found, results, *tolerance(recording))
    assert_close(distribution.mean, mean.get())
    assert_close(distribution.stddev, logvar.get_std())


@pytest.mark.parametrize("recording", stochastic_recordings("stable_exponential"))
def test_maps_recorded(recording: Recording) -> None:
    table = recording.arrays()
    x = torch.from_numpy(table.pop("x")).requires_grad_()

    def slope(y: Tensor) -> Tensor:
        return torch.autograd.grad(y.sum(), x)[0]

    stable, naive = LogVar(x), NaiveLogVar(x)
    found = {
        "exp": stable.get_var() - 1e-6,
        "var": stable.get_var(),
        "std": stable.get_std(),
        "logvar": stable.get(),
        "d_exp": slope(stable.get_var()),
        "d_std": slope(stable.get_std()),
        "d_logvar": slope(stable.get()),
        "naive_var": naive.get_var(),
        "naive_std": naive.get_std(),
        "naive_logvar": naive.get(),
    }
    # There is no method for the logarithm without epsilon.
    assert_close(stable.get_var(), torch.exp(torch.from_numpy(table.pop("log_of_exp"))) + 1e-6)
    check(found, table, 1e-9, 1e-12)


# Constructor (section 1)


def test_public_name() -> None:
    assert NormalStochasticBlock is stochastic.NormalStochasticBlock
    assert "NormalStochasticBlock" in dir(numchic_trainer)


def test_signatures() -> None:
    def arguments(function: Any) -> list[Any]:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        return [p.name if p.default is p.empty else (p.name, p.default) for p in parameters]

    assert arguments(NormalStochasticBlock.__init__) == [
        "c_in", "c_vars", "c_out", ("conv_dims", 2), ("kernel", 3), ("transform_p_params", True),
        ("vanilla_latent_hw", None), ("use_naive_exponential", False),
    ]  # fmt: skip
    assert arguments(NormalStochasticBlock.forward) == [
        "p_params", ("q_params", None), ("forced_latent", None), ("force_constant_output", False),
        ("analytical_kl", False), ("mode_pred", False), ("use_uncond_mode", False),
        ("var_clip_max", None),
    ]  # fmt: skip
    names = ["p", "p_params", "q", "q_params", "mode_pred", "analytical_kl", "z"]
    assert arguments(NormalStochasticBlock.compute_kl_metrics) == names
    names = ["sampling_distrib", "forced_latent", "mode_pred", "use_uncond_mode"]
    assert arguments(NormalStochasticBlock.get_z) == names


def test_arguments_by_position() -> None:
    block = NormalStochasticBlock(5, 2, 3, 3, 1, False, (2, 4), True).double()
    assert (block.c_in, block.c_vars, block.c_out, block.conv_dims) == (5, 2, 3, 3)
    assert block.transform_p_params is False
    assert block.conv_out.kernel_size == (1, 1, 1)
    p, q = maps(1, 4, 1, 4, 8), maps(1, 5, 1, 4, 8)
    logvar = block.process_p_params(p, None)[1]
    assert_close(logvar.get(), p[:, 2:])  # naive
    kl = block(p, q)[1]["kl_elementwise"]
    restricted = block(p, q, kl.detach(), False, True)[1]
    expected = restricted["kl_elementwise"][..., 1:3, 2:6].sum((1, 2, 3, 4))
    assert_close(restricted["kl_samplewise_restricted"], expected)


@pytest.mark.parametrize("transform", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("dims", [2, 3])
def test_layers(dims: int, kernel: int, transform: bool) -> None:
    block = NormalStochasticBlock(6, 3, 5, dims, kernel, transform)
    sizes = {"conv_in_p": (6, 6), "conv_in_q": (6, 6), "conv_out": (5, 3)}
    if not transform:
        del sizes["conv_in_p"]
        assert not hasattr(block, "conv_in_p")
    state = block.state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {
        f"{name}.{part}": shape
        for name, size in sizes.items()
        for part, shape in (("weight", size + (kernel,) * dims), ("bias", size[:1]))
    }
    for name, layer in block.named_children():
        assert type(layer) is (nn.Conv2d if dims == 2 else nn.Conv3d)
        assert set(layer.stride) == {1}
        assert set(layer.padding) == {kernel // 2}
        assert layer.padding_mode == "zeros"
        bound = (sizes[name][1] * kernel**dims) ** -0.5  # torch's default initialisation
        assert bound / 2 < layer.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("kernel", n) for n in (0, -1, -3, 2, 4)),
        *(("conv_dims", n) for n in (0, 1, 4, -2)),
        *((name, n) for name in ("c_in", "c_vars", "c_out") for n in (0, -7)),
        *(("vanilla_latent_hw", v) for v in (0, -9, (0, 4), (4, -5), [4, 0], (4,), (4, 4, 4), ())),
    ],
)
def test_constructor_refuses(name: str, value: Any) -> None:
    with refuses(name, str(value)):
        make(**{name: value})


# Parameters of the distributions (sections 2 to 5)


@few
@given(st.lists(st.floats(-1e8, 1e8), min_size=1, max_size=20), st.sampled_from([F64, torch.float]))
def test_stable_map(values: list[float], dtype: torch.dtype) -> None:
    r = torch.tensor([*values, 0.0, -1e8, 1e8, -1e4, 1e4], dtype=dtype, requires_grad=True)
    x = r.detach().double().numpy()
    low = np.exp(np.minimum(x, 0))
    var = np.where(x > 0, 1 + np.maximum(x, 0), low) + 1e-6
    slope = np.where(x > 0, 1, low)
    logvar = LogVar(r)
    rtol = 1e-12 if dtype == F64 else 1e-5
    for found, value, factor in (
        (logvar.get_var(), var, 1.0),
        (logvar.get_std(), np.sqrt(var), 0.5 / np.sqrt(var)),
        (logvar.get(), np.log(var), 1 / var),
    ):
        gradient = torch.autograd.grad(found.sum(), r)[0]
        assert found.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(found.detach().numpy(), value, rtol, 1e-6)
        np.testing.assert_allclose(gradient.numpy(), slope * factor, rtol, 1e-30)
    assert torch.autograd.grad(logvar.get_var()[len(values)], r)[0][len(values)] == 1


def test_naive_map() -> None:
    r = torch.tensor([-1e4, -2.0, 0.0, 3.0, 1e4], dtype=F64)
    logvar = NaiveLogVar(r)
    assert torch.equal(logvar.get(), r)
    assert_close(logvar.get_var(), torch.exp(r))
    assert_close(logvar.get_std(), torch.sqrt(torch.exp(r)))


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("clip", [0.5, 0, -2.0])
def test_clip_is_from_above_and_before_the_map(clip: float, naive: bool) -> None:
    block = make_raw(use_naive_exponential=naive)
    raw = torch.tensor([-50.0, -3.0, -1.0, 0.25, 2.0, 60.0], dtype=F64).repeat(1, 2, 1, 1)
    for process in (block.process_p_params, block.process_q_params):
        x = torch.cat([maps(1, 2, 1, 6), raw], 1).requires_grad_()
        mean, logvar, _ = process(x, clip)
        assert torch.equal(mean.get(), x[:, :2])
        limit = np.exp(clip) if naive else (1 + clip if clip > 0 else np.exp(clip)) + 1e-6
        assert logvar.get_var().max().item() == pytest.approx(limit)
        free = process(x, None)[1].get()
        assert torch.equal(logvar.get()[raw < clip], free[raw < clip])
        (gradient,) = torch.autograd.grad(logvar.get().sum(), x)
        assert torch.equal(gradient[:, 2:] != 0, raw < clip)


@pytest.mark.parametrize("naive", [False, True])
def test_processed_parameters(naive: bool) -> None:
    block = make(use_naive_exponential=naive)
    x = maps(2, 4, 5, 7)
    for process, layer in (
        (block.process_p_params, block.conv_in_p),
        (block.process_q_params, block.conv_in_q),
    ):
        size = (5, 7) if layer is block.conv_in_p else (4, 6)  # the prior is never cropped
        both = layer(x)[..., : size[0], : size[1]]
        mean, logvar, distribution = process(x, None)
        kind = NaiveLogVar if naive else LogVar
        assert type(logvar) is kind
        assert_close(mean.get(), both[:, :2])
        assert_close(logvar.get(), kind(both[:, 2:]).get())
        assert type(distribution) is Normal
        assert torch.equal(distribution.mean, mean.get())
        assert torch.equal(distribution.stddev, logvar.get_std())
        with pytest.raises(ValueError, match="support"):  # arguments are checked
            distribution.log_prob(torch.full_like(mean.get(), torch.nan))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("depth", [None, 1, 3])
@pytest.mark.parametrize(
    ("size", "even"),
    [
        ((4, 6), (4, 6)),
        ((5, 6), (5, 6)),
        ((4, 7), (4, 6)),
        ((5, 7), (4, 6)),
        ((1, 7), (1, 6)),
        ((5, 1), (4, 1)),
        ((4, 1), (4, 1)),
        ((1, 1), (1, 1)),
    ],
)
def test_posterior_is_made_even(
    size: tuple[int, int], even: tuple[int, int], depth: int | None
) -> None:
    block = make(conv_dims=2 if depth is None else 3)
    x = maps(2, 4, *([] if depth is None else [depth]), *size)
    whole = block.process_q_params(x, None, allow_oddsizes=True)
    cropped = block.process_q_params(x, None)
    for kept, left in (
        (whole[0].get(), cropped[0].get()),
        (whole[1].get(), cropped[1].get()),
        (whole[2].mean, cropped[2].mean),
        (whole[2].stddev, cropped[2].stddev),
    ):
        assert tuple(kept.shape) == (2, 2, *x.shape[2:])
        assert torch.equal(kept[..., : even[0], : even[1]], left)


# The latent (sections 6 and 8)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("mode_pred", [False, True])
@pytest.mark.parametrize("uncond", [False, True])
def test_get_z(forced: bool, mode_pred: bool, uncond: bool) -> None:
    block, distribution = make(), normal(2, 2, 3, 4)
    latent = maps(2, 2, 3, 4) if forced else None
    mean = mode_pred and uncond
    with draws(*([] if forced or mean else [(2, 2, 3, 4)])) as eps:
        z = block.get_z(distribution, latent, mode_pred, uncond)
    if forced:
        assert z is latent
    elif mean:
        assert torch.equal(z, distribution.mean)
    else:
        assert_close(z, distribution.mean + distribution.stddev * eps[0])


def test_sample_is_differentiable() -> None:
    block, mean = make(), maps(1, 2, 3, 4).requires_grad_()
    std = torch.exp(maps(1, 2, 3, 4)).requires_grad_()
    with draws((1, 2, 3, 4)) as (eps,):
        z = block.get_z(Normal(mean, std), None, False, False)
    by_mean, by_std = torch.autograd.grad(z.sum(), (mean, std))
    assert_close(by_mean, torch.ones_like(mean))
    assert_close(by_std, eps)


@pytest.mark.parametrize(
    "shape", [(1, 2, 3, 4), (2, 1, 3, 4), (2, 2, 4, 3), (2, 2, 3), (2, 2, 3, 3)]
)
def test_get_z_refuses(shape: tuple[int, ...]) -> None:
    block, distribution = make(), normal(2, 2, 3, 4)
    with refuses(str(shape), "(2, 2, 3, 4)"):
        block.get_z(distribution, torch.zeros(shape), False, False)


def test_sample_from_q() -> None:
    block, x = make(), maps(2, 4, 5, 7)
    mean, logvar, _ = block.process_q_params(x, -1.0)
    with draws((2, 2, 4, 6)) as (eps,):
        z = block.sample_from_q(x, -1.0)
    assert_close(z, mean.get() + eps * logvar.get_std())
    assert z.requires_grad


def test_forward_calls_what_can_be_replaced() -> None:
    calls: list[Any] = []

    class Replaced(NormalStochasticBlock):
        def get_z(self, *arguments: Any) -> Tensor:
            calls.append(arguments)
            return cast(Tensor, arguments[0].mean + 1)

        def process_q_params(self, *arguments: Any) -> Any:
            calls.append("q")
            return super().process_q_params(*arguments)

        def process_p_params(self, *arguments: Any) -> Any:
            calls.append("p")
            return super().process_p_params(*arguments)

    block = Replaced(4, 2, 3)
    x = torch.randn(1, 4, 4, 4)
    out, data = block(x, x, mode_pred=True)
    distribution, *others = calls.pop()
    assert calls == ["p", "q"]
    assert others == [None, True, False]
    assert torch.equal(data["z"], distribution.mean + 1)
    assert torch.equal(distribution.mean, data["q_params"][0].get())
    assert_close(out, block.conv_out(data["z"]))


# Information (section 7)


def kl_of_the_text(p: Normal, q: Normal, z: Tensor | None) -> NDArray[np.float64]:
    mp, sp, mq, sq = (x.detach().numpy() for x in (p.mean, p.stddev, q.mean, q.stddev))
    if z is None:
        result = np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5
    else:
        x = z.detach().numpy()
        result = np.log(sp / sq) + (x - mp) ** 2 / (2 * sp**2) - (x - mq) ** 2 / (2 * sq**2)
    return cast(NDArray[np.float64], result)


@few
@given(
    seeds,
    booleans,
    st.integers(1, 3),
    booleans,
    st.lists(st.integers(1, 4), min_size=2, max_size=3),
)
def test_metrics(seed: int, analytic: bool, batch: int, one: bool, size: list[int]) -> None:
    torch.manual_seed(seed)
    p = normal(1 if one else batch, 2, *size)
    q, z = normal(batch, 2, *size), maps(batch, 2, *size)
    block = make(conv_dims=len(size))
    kl = block.compute_kl_metrics(p, NO_PAIR, q, NO_PAIR, False, analytic, z)
    found = {name: cast(Tensor, value) for name, value in kl.items()}
    expected = kl_of_the_text(p, q, None if analytic else z)
    spatial = tuple(range(2, 2 + len(size)))
    results = {
        "kl_elementwise": expected,
        "kl_samplewise": expected.sum((1, *spatial)),
        "kl_samplewise_restricted": expected.sum((1, *spatial)),
        "kl_channelwise": expected.sum(spatial),
        "kl_spatial": expected.sum(1),
    }
    check(found, results, 1e-9, 1e-9)
    assert_close(found["kl_channelwise"].sum(1), found["kl_samplewise"])
    assert_close(found["kl_spatial"].flatten(1).sum(1), found["kl_samplewise"])
    assert torch.equal(found["kl_samplewise_restricted"], found["kl_samplewise"])
    if analytic:
        assert (found["kl_elementwise"] >= -1e-12).all()
        other = block.compute_kl_metrics(p, NO_PAIR, q, NO_PAIR, False, True, z + 1)
        assert torch.equal(cast(Tensor, other["kl_elementwise"]), found["kl_elementwise"])


def test_no_metrics_in_prediction() -> None:
    block, p, z = make(), normal(1, 2, 3, 4), maps(1, 2, 3, 4)
    kl = block.compute_kl_metrics(p, NO_PAIR, p, NO_PAIR, True, False, z)
    assert kl == dict.fromkeys(METRICS)
    kl["kl_spatial"] = z  # the dictionary is the caller's
    assert block(maps(1, 4, 3, 4))[1]["kl_spatial"] is None
    again = block.compute_kl_metrics(p, NO_PAIR, p, NO_PAIR, True, False, z)
    assert again["kl_spatial"] is None


@pytest.mark.parametrize(
    ("window", "size", "rows", "columns"),
    [
        (4, (8, 8), slice(2, 6), slice(2, 6)),
        (3, (8, 8), slice(2, 6), slice(2, 6)),  # odd gap: one more
        (5, (8, 7), slice(1, 7), slice(1, 6)),
        (7, (8, 8), slice(0, 8), slice(0, 8)),
        (1, (5, 4), slice(2, 3), slice(1, 3)),
        (4, (4, 9), slice(0, 4), slice(2, 7)),
        (4, (2, 8), slice(0, 2), slice(2, 6)),
        ((2, 8), (6, 8), slice(2, 4), slice(0, 8)),
        ([6, 2], (6, 8), slice(0, 6), slice(3, 5)),
        ((9, 3), (6, 8), slice(0, 6), slice(2, 6)),
        (16, (8, 8), slice(0, 8), slice(0, 8)),
        (None, (8, 8), slice(0, 8), slice(0, 8)),
    ],
)
@pytest.mark.parametrize("depth", [None, 5])
def test_window(
    window: Any, size: tuple[int, int], rows: slice, columns: slice, depth: int | None
) -> None:
    shape = (2, 2, *([] if depth is None else [depth]), *size)
    p, q, z = normal(*shape), normal(*shape), maps(*shape)
    block = make(conv_dims=len(shape) - 2, vanilla_latent_hw=window)
    kl = block.compute_kl_metrics(p, NO_PAIR, q, NO_PAIR, False, False, z)
    expected = kl_of_the_text(p, q, z)[..., rows, columns].reshape(2, -1).sum(1)
    assert_close(kl["kl_samplewise_restricted"], torch.from_numpy(expected))
    if (rows, columns) == (slice(0, size[0]), slice(0, size[1])):
        restricted, samplewise = kl["kl_samplewise_restricted"], kl["kl_samplewise"]
        assert torch.equal(cast(Tensor, restricted), cast(Tensor, samplewise))


@few
@given(seeds, st.floats(-1e4, 1e4), booleans)
def test_analytic_kl_is_zero_when_p_equals_q(seed: int, raw: float, single: bool) -> None:
    torch.manual_seed(seed)
    dtype = torch.float32 if single else F64
    x = raw_maps(raw, 3, 4, dtype=dtype)
    data = make_raw(dtype)(x, x, analytical_kl=True)[1]
    assert not any(data[name].any() for name in METRICS)


def test_monte_carlo_approaches_the_analytic_value() -> None:
    n = 4000
    block = make()
    p, q = 3 * maps(1, 4, 2, 2), 3 * maps(1, 4, 2, 2)
    with torch.no_grad():
        analytic = block(p, q, analytical_kl=True)[1]
        estimate = block(p, q.expand(n, -1, -1, -1))[1]
    for name in METRICS:
        error = estimate[name].std(0) / n**0.5
        assert (error > 0).all()
        assert ((estimate[name].mean(0) - analytic[name][0]).abs() <= 4 * error).all()


# Forward (section 9)


def reference(
    block: NormalStochasticBlock, naive: bool, window: tuple[int, int] | None,
    p_in: Tensor, q_in: Tensor | None, forced: Tensor | None, constant: bool,
    analytic: bool, mode_pred: bool, uncond: bool, clip: float | None, seed: int,
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """Everything that forward gives and is not None, step by step from the text."""

    def convolve(x: Tensor, layer: nn.Module) -> Tensor:
        function = F.conv2d if block.conv_dims == 2 else F.conv3d
        weight = cast(Tensor, layer.weight)
        return function(x, weight, cast(Tensor, layer.bias), padding=weight.shape[-1] // 2)

    def gaussian(x: Tensor) -> list[NDArray[np.float64]]:
        values = x.detach().numpy()
        mean, r = values[:, : block.c_vars], values[:, block.c_vars :]
        if clip is not None:
            r = np.minimum(r, clip)
        f = np.where(r > 0, 1 + r, np.exp(np.minimum(r, 0)))
        return [mean, np.sqrt(np.exp(r) if naive else f + 1e-6)]

    p = gaussian(convolve(p_in, block.conv_in_p) if block.transform_p_params else p_in)
    q = None
    if q_in is not None and not (mode_pred and uncond):
        q = gaussian(convolve(q_in, block.conv_in_q))
        height, width = q[0].shape[-2:]
        if width % 2 == 1:
            height -= int(height % 2 == 1 and height > 1)
            width -= int(width > 1)
        q = [x[..., :height, :width] for x in q]
        if not mode_pred:
            top, left = (p[0].shape[-2] - height) // 2, (p[0].shape[-1] - width) // 2
            p = [x[..., top : top + height, left : left + width] for x in p]
    mean, std = p if q is None else q
    if forced is not None:
        z = forced.numpy()
    elif mode_pred and uncond:
        z = mean
    else:
        torch.manual_seed(seed)
        z = mean + std * torch.randn(mean.shape, dtype=F64).numpy()
    if constant:
        z = np.stack([z[0]] * len(z))
        p = [np.stack([x[0]] * len(x)) for x in p]
        q = None if q is None else [np.stack([x[0]] * len(x)) for x in q]
    out = convolve(torch.from_numpy(z), block.conv_out).detach().numpy()
    result = {"z": z, "out": out, "p.mean": p[0], "p.std": p[1], "qvar_max": np.zeros(())}
    if q is None:
        return result
    axes = tuple(range(1, z.ndim))
    log_q = -0.5 * ((z - q[0]) / q[1]) ** 2 - np.log(q[1]) - 0.5 * np.log(2 * np.pi)
    result |= {"q.mean": q[0], "q.std": q[1], "logprob_q": log_q.sum(axes)}
    result["qvar_max"] = np.max(2 * np.log(q[1]))
    if mode_pred:
        return result
    sides = [Normal(torch.from_numpy(side[0]), torch.from_numpy(side[1])) for side in (p, q)]
    kl = kl_of_the_text(sides[0], sides[1], None if analytic else torch.from_numpy(z))
    inside = kl
    for axis, v in zip((-2, -1), window or (), strict=False):
        n = inside.shape[axis]
        border = max(0, (n - v) // 2)
        inside = np.take(inside, [i for i in range(n) if border <= i < n - border], axis)
    return result | {
        "kl_elementwise": kl,
        "kl_samplewise": kl.sum(axes),
        "kl_samplewise_restricted": inside.sum(axes),
        "kl_channelwise": kl.sum(axes[1:]),
        "kl_spatial": kl.sum(1),
    }


@settings(max_examples=60, deadline=None)
@given(st.data(), seeds)
def test_forward_is_that_of_the_text(draw: st.DataObject, seed: int) -> None:
    def pick(*values: Any) -> Any:
        return draw.draw(st.sampled_from(values))

    torch.manual_seed(seed)
    transform, naive, three = (draw.draw(booleans) for _ in range(3))
    window = pick(None, 2, (1, 4), (3, 2))
    block = make(
        conv_dims=3 if three else 2, kernel=pick(1, 3), transform_p_params=transform,
        vanilla_latent_hw=window, use_naive_exponential=naive,
    )  # fmt: skip
    batch, height, width = pick(1, 2, 3), pick(1, 2, 3, 4, 5), pick(1, 2, 3, 4, 5)
    depth = [pick(1, 3)] if three else []
    p_in = 2 * maps(pick(1, batch), 4, *depth, height + pick(0, 1, 2, 3), width + pick(0, 1, 2, 3))
    q_in = pick(None, 2 * maps(batch, 4, *depth, height, width))
    constant, analytic, mode_pred, uncond = (draw.draw(booleans) for _ in range(4))
    clip = pick(None, 0.3, -1.0)
    forced = None
    options = (constant, analytic, mode_pred, uncond, clip)
    pair = (window, window) if isinstance(window, int) else window
    expected = reference(block, naive, pair, p_in, q_in, None, *options, seed)
    if draw.draw(booleans):
        forced = torch.randn(expected["z"].shape, dtype=F64)
        expected = reference(block, naive, pair, p_in, q_in, forced, *options, seed)
    torch.manual_seed(seed)
    sampled = forced is None and not (mode_pred and uncond)
    with draws(*([expected["z"].shape] if sampled else [])):
        out, data = block(p_in, q_in, forced, *options)
    check(flat(out, data), expected, 1e-9, 1e-9)
    assert (data["q_params"] is None) == ("q.mean" not in expected)


@pytest.mark.parametrize(
    ("given_q", "forced", "mode_pred", "uncond"), list(itertools.product([False, True], repeat=4))
)
def test_which_latent_is_used(given_q: bool, forced: bool, mode_pred: bool, uncond: bool) -> None:
    block, p, latent = make(), maps(2, 4, 4, 4), maps(2, 2, 4, 4)
    q = maps(2, 4, 4, 4) if given_q else None
    mean = mode_pred and uncond
    used = given_q and not mean
    with draws(*([] if forced or mean else [(2, 2, 4, 4)])) as eps:
        _, data = block(
            p, q, latent if forced else None, mode_pred=mode_pred, use_uncond_mode=uncond
        )
    source = data["q_params" if used else "p_params"]
    if forced:
        assert data["z"] is latent
    else:
        expected = source[0].get() + (0 if mean else eps[0] * source[1].get_std())
        assert_close(data["z"], expected)
    none = {name for name, value in data.items() if value is None}
    if not used:
        assert none == METRICS | {"logprob_q", "q_params"}
        assert data["qvar_max"].shape == ()
        assert data["qvar_max"] == 0
    else:
        assert none == (METRICS if mode_pred else set())


def test_unconditional_prediction_does_not_look_at_q() -> None:
    block, p = make(), maps(2, 4, 5, 5)
    for q in (None, maps(3, 7, 9, 9), torch.full((2, 4, 5, 5), torch.nan, dtype=F64)):
        out, data = block(p, q, mode_pred=True, use_uncond_mode=True)
        assert_close(data["z"], block.process_p_params(p, None)[0].get())
        assert_close(out, block.conv_out(data["z"]))


@pytest.mark.parametrize("p_batch", [1, 3])
@pytest.mark.parametrize("given_q", [False, True])
@pytest.mark.parametrize("analytic", [False, True])
def test_constant_output(p_batch: int, given_q: bool, analytic: bool) -> None:
    block, p, q = make(), maps(p_batch, 4, 4, 4), maps(3, 4, 4, 4) if given_q else None
    batch = 3 if given_q else p_batch
    with draws((batch, 2, 4, 4)) as (eps,):
        out, data = block(p, q, force_constant_output=True, analytical_kl=analytic)
    alone = block(p[:1], None if q is None else q[:1], data["z"][:1], analytical_kl=analytic)
    first = flat(*alone)
    for name, value in flat(out, data).items():
        if value.dim():
            assert len(value) == (p_batch if name[:2] == "p." else batch)
        assert_close(value, first[name].expand(value.shape))
    means = [data[side][0].get() for side in ("p_params", "q_params") if data[side]]
    std = data["q_params" if given_q else "p_params"][1].get_std()
    assert_close(data["z"][0], means[-1][0] + eps[0] * std[0])
    for copy in (data["z"], *means):
        assert copy.is_contiguous()  # an expanded view would not be
        assert copy.untyped_storage().nbytes() == copy.numel() * 8


def test_constant_output_leaves_the_forced_latent() -> None:
    latent = maps(3, 2, 4, 4)
    before = latent.clone()
    data = make()(maps(3, 4, 4, 4), None, latent, force_constant_output=True)[1]
    assert torch.equal(latent, before)
    assert torch.equal(data["z"], latent[:1].repeat(3, 1, 1, 1))


def test_prior_of_batch_1() -> None:
    block = make(transform_p_params=False)
    p, q = maps(1, 4, 6, 6), maps(3, 4, 4, 4)
    for analytic in (False, True):
        torch.manual_seed(1)
        broadcast = flat(*block(p, q, analytical_kl=analytic))
        torch.manual_seed(1)
        expanded = flat(*block(p.expand(3, -1, -1, -1), q, analytical_kl=analytic))
        assert broadcast["p.mean"].shape == broadcast["p.std"].shape == (1, 2, 4, 4)
        for name, value in broadcast.items():
            assert_close(value.expand(expanded[name].shape), expanded[name])
    assert block(p)[1]["z"].shape == (1, 2, 6, 6)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("given_q", [False, True])
def test_precision_is_kept(dtype: torch.dtype, naive: bool, given_q: bool) -> None:
    block = make(dtype, use_naive_exponential=naive)
    p, q = (torch.randn(2, 4, 6, 6, dtype=dtype) for _ in range(2))
    for options in ({}, {"analytical_kl": True}, {"mode_pred": True}, {"var_clip_max": -1}):
        with draws((2, 2, 6, 6), dtype=dtype):
            found = flat(*block(p, q if given_q else None, **options))
        assert {value.dtype for value in found.values()} == {dtype}


@few
@given(
    seeds, st.sampled_from([1, 3, 5]), booleans, booleans, st.integers(1, 5), st.integers(1, 5),
    st.integers(0, 3), st.sampled_from([None, 2]),
)  # fmt: skip
def test_3d_with_one_slice_is_2d(
    seed: int, kernel: int, analytic: bool, mode_pred: bool,
    height: int, width: int, gap: int, window: int | None,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    flat_block = make(kernel=kernel, vanilla_latent_hw=window)
    deep = make(kernel=kernel, vanilla_latent_hw=window, conv_dims=3)
    with torch.no_grad():
        for name, value in deep.state_dict().items():
            source = flat_block.state_dict()[name]
            if name.endswith("bias"):
                value.copy_(source)
            else:
                value.zero_()[:, :, kernel // 2] = source
    p, q = maps(2, 4, height + gap, width), maps(2, 4, height, width)
    options = {"analytical_kl": analytic, "mode_pred": mode_pred}
    torch.manual_seed(seed)
    expected = flat(*flat_block(p, q, **options))
    torch.manual_seed(seed)
    found = flat(*deep(p.unsqueeze(2), q.unsqueeze(2), **options))
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_close(found[name].reshape(value.shape), value)
    assert found["z"].shape[2] == 1


# Gradients (section 9)


@pytest.mark.parametrize("analytic", [False, True])
@pytest.mark.parametrize("naive", [False, True])
def test_gradients_are_those_of_the_values(analytic: bool, naive: bool) -> None:
    block, eps = make(use_naive_exponential=naive), maps(1, 2, 2, 2)
    fix_draw(block, eps)

    def everything(p: Tensor, q: Tensor) -> Tensor:
        out, data = block(p, q, analytical_kl=analytic)
        return cast(Tensor, out.sum() + sum(data[k].sum() for k in KEYS if k[1:] != "_params"))

    inputs = (maps(1, 4, 3, 3).requires_grad_(), maps(1, 4, 3, 3).requires_grad_())
    assert torch.autograd.gradcheck(everything, inputs, fast_mode=True)


def test_sample_passes_gradients_to_everything() -> None:
    block = make()
    p, q = maps(2, 4, 4, 4).requires_grad_(), maps(2, 4, 4, 4).requires_grad_()
    out, data = block(p, q)
    by_out = torch.autograd.grad(out.sum(), q, retain_graph=True)[0]  # through the sample
    assert by_out.any()
    (out.sum() + data["kl_samplewise"].sum()).backward()
    for leaf in (p, q, *block.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.any()
    out = block(p)[0]
    assert torch.autograd.grad(out.sum(), p)[0].any()


@pytest.mark.parametrize("analytic", [False, True])
def test_forced_latent_passes_gradients_through_information_only(analytic: bool) -> None:
    block = make()
    p, q = maps(2, 4, 4, 4).requires_grad_(), maps(2, 4, 4, 4).requires_grad_()
    z = maps(2, 2, 4, 4)
    out, data = block(p, q, z, analytical_kl=analytic)
    weights = (block.conv_in_p.weight, block.conv_in_q.weight)

    def reached(y: Tensor) -> list[bool]:
        leaves = (p, q, *weights)
        gradients = torch.autograd.grad(y.sum(), leaves, retain_graph=True, allow_unused=True)
        return [g is not None and bool(g.any()) for g in gradients]

    assert reached(out) == [False] * 4
    assert reached(data["logprob_q"]) == [False, True] * 2
    for name in METRICS:
        assert reached(data[name]) == [True] * 4
    assert torch.autograd.grad(out.sum(), block.conv_out.weight)[0].any()
    z.requires_grad_()
    assert torch.autograd.grad(block(p, q, z)[0].sum(), z)[0].any()


@pytest.mark.parametrize("naive", [False, True])
def test_qvar_max_is_a_log_variance_and_not_detached(naive: bool) -> None:
    x = torch.zeros(2, 4, 4, 4, dtype=F64)
    x[1, 3, 2, 0] = 3
    x.requires_grad_()
    value = make_raw(use_naive_exponential=naive)(maps(2, 4, 4, 4), x)[1]["qvar_max"]
    assert value.shape == ()
    assert float(value.detach()) == pytest.approx(3 if naive else np.log(4 + 1e-6))
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.nonzero(gradient).tolist() == [[1, 3, 2, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("analytic", [False, True])
@pytest.mark.parametrize(
    ("raw_p", "raw_q"), list(itertools.product([-1e8, -1e4, 0.0, 1e4, 1e8], repeat=2))
)
def test_gradients_are_finite(
    raw_p: float, raw_q: float, analytic: bool, dtype: torch.dtype
) -> None:
    block = make_raw(dtype)
    p, q = raw_maps(raw_p, 2, 2, dtype=dtype), raw_maps(raw_q, 2, 2, dtype=dtype)
    out, data = block(p, q, analytical_kl=analytic)
    assert all(value.isfinite().all() for value in flat(out, data).values())
    (out.sum() + data["kl_samplewise"].sum() + data["logprob_q"].sum()).backward()
    for leaf in (p, q, *block.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


# Errors (section 9)


ERRORS: dict[str, tuple[dict[str, Any], Any, Any, Any, list[str]]] = {
    # constructor, shapes of p, q and the forced latent, what the message says
    "p lower": ({}, (2, 4, 3, 8), (2, 4, 4, 8), None, ["(3, 8)", "(4, 8)"]),
    "p narrower": ({}, (2, 4, 4, 6), (2, 4, 4, 8), None, ["(4, 6)", "(4, 8)"]),
    "p smaller than even q": ({}, (2, 4, 9, 7), (2, 4, 9, 9), None, ["(9, 7)", "(9, 9)"]),
    "p lower, 3D": ({"conv_dims": 3}, (2, 4, 1, 3, 8), (2, 4, 1, 4, 8), None, ["(3, 8)", "(4, 8)"]),
    "Z": ({"conv_dims": 3}, (2, 4, 5, 4, 4), (2, 4, 3, 4, 4), None, ["Z", "5", "3"]),
    "batch": ({}, (2, 4, 4, 4), (3, 4, 4, 4), None, ["batch", "2", "3"]),
    "batch of q is 1": ({}, (3, 4, 4, 4), (1, 4, 4, 4), None, ["batch", "3", "1"]),
    "channels of p": ({"c_in": 5}, (2, 4, 4, 4), None, None, ["(2, 4, 4, 4)", "5 channels"]),
    "channels of raw p": (
        {"c_in": 5, "transform_p_params": False},
        (2, 5, 4, 4), None, None, ["(2, 5, 4, 4)", "4 channels"],
    ),
    "channels of q": (
        {"c_in": 5, "transform_p_params": False},
        (2, 4, 4, 4), (2, 4, 4, 4), None, ["(2, 4, 4, 4)", "5 channels"],
    ),
    "axes of p": ({}, (4, 4, 4), None, None, ["(4, 4, 4)", "(B, C, Y, X)"]),
    "axes of p, 2D": ({}, (2, 4, 1, 4, 4), None, None, ["(2, 4, 1, 4, 4)"]),
    "axes of p, 3D": ({"conv_dims": 3}, (2, 4, 4, 4), None, None, ["(B, C, Z, Y, X)"]),
    "axes of q": ({}, (2, 4, 4, 4), (2, 4, 1, 4, 4), None, ["(2, 4, 1, 4, 4)"]),
    "forced, odd q": (
        {}, (2, 4, 5, 5), (2, 4, 5, 5), (2, 2, 5, 5), ["(2, 2, 5, 5)", "(2, 2, 4, 4)"],
    ),
    "forced, channels": (
        {}, (2, 4, 4, 4), (2, 4, 4, 4), (2, 1, 4, 4), ["(2, 1, 4, 4)", "(2, 2, 4, 4)"],
    ),
    "forced, batch": (
        {}, (1, 4, 4, 4), (2, 4, 4, 4), (1, 2, 4, 4), ["(1, 2, 4, 4)", "(2, 2, 4, 4)"],
    ),
    "forced, p": ({}, (2, 4, 5, 5), None, (2, 2, 4, 4), ["(2, 2, 4, 4)", "(2, 2, 5, 5)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_forward_refuses(name: str) -> None:
    constructor, *shapes, said = ERRORS[name]
    block = make(**constructor)
    p, q, forced = (None if shape is None else maps(*shape) for shape in shapes)
    for options in ({}, {"mode_pred": True}, {"force_constant_output": True}):
        with refuses(*said):
            block(p, q, forced, **options)


def test_p_needs_to_be_as_large_as_the_even_q_only() -> None:
    data = make()(maps(2, 4, 8, 8), maps(2, 4, 9, 9))[1]
    assert data["kl_elementwise"].shape == (2, 2, 8, 8)


@pytest.mark.parametrize("shape", [(2, 5, 4, 4), (4, 4, 4), (2, 4, 1, 4, 4)])
@pytest.mark.parametrize("name", ["process_p_params", "process_q_params", "sample_from_q"])
@pytest.mark.parametrize("transform", [False, True])
def test_processing_refuses(shape: tuple[int, ...], name: str, transform: bool) -> None:
    block, x = make(transform_p_params=transform), maps(*shape)
    with refuses(str(shape)):
        getattr(block, name)(x, None)


NAN = float("nan")


@pytest.mark.parametrize(
    ("naive", "channel", "value", "said"),
    [
        (False, 0, NAN, "Real"),
        (False, 2, NAN, "GreaterThan"),
        (True, 2, NAN, "GreaterThan"),
        (True, 2, -1e4, "GreaterThan"),
        (True, 2, 1e4, "infinite"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_distribution_refuses(
    naive: bool, channel: int, value: float, said: str, dtype: torch.dtype
) -> None:
    block = make_raw(dtype, use_naive_exponential=naive)
    good = torch.zeros(2, 4, 4, 4, dtype=dtype)
    bad = good.clone()
    bad[1, channel, 0, 1] = value
    # The convolution that q goes through spreads NaN over all channels.
    said_of_q = "Real" if np.isnan(value) else said
    for p, q, text in ((bad, good, said), (bad, None, said), (good, bad, said_of_q)):
        for options in ({}, {"mode_pred": True}):
            with refuses(text):
                block(p, q, **options)
    with refuses(said):
        block.process_p_params(bad, None)
    with refuses(said_of_q):
        block.sample_from_q(bad, None)
