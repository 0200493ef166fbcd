# SPDX-License-Identifier: BSD-3-Clause
"""The generations 4.2, 4.1 and 4.0; sections of coolchic-4.2."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_conformance.coverage.items.item import Item, each, items
from numchic_conformance.coverage.v4 import HIGHEST_STEPS, LARGE

_FILE = "4.x: 3 File, C generations"
_FRAME = "4.x: 4 Frame header"
_TOPOLOGY = "4.x: 5.1 Topology"
_CODING = "4.x: 5.2, 8 Quantisation and codes"
_LATENTS = "4.x: 9 Latents"
_REFUSED = "4.x: 14 Validation"

_CHECKS = {
    "CorruptError": (
        "H", "W", "data_type", "bitdepth - 8", "frame_type", "display_index", "n_bytes_header",
        "reserved", "topology_copy[]", "global_flow[].y", "w", "n_res", "noise_mask",
        "latent_mask", "blk", "arm.q_w", "ups.q_b", "syn.q_b", "ups.eg_w", "ups.eg_b", "ups.len_b",
        "arm.len_w", "arm.w", "latent[]",
    ),
    "TruncatedError": ("payload", "display_index", "noise_mask", "arm.w", "latent[]"),
    "UnsupportedError": (
        "H", "arm.n", "ups.NU", "ups.KU", "pre.NP", "pre.KP", "n_syn", "syn[].out", "syn[].ks",
        "syn[].relu", "syn[].residual", "latent_mask", "noise_mask",
    ),
}  # fmt: skip


def items4() -> Iterator[Item]:
    """All items of the older generations."""
    for generation in ("4.2", "4.1", "4.0"):
        yield from each(
            _FILE, f"v4.{generation}." + "{}", ("still", "video"), f"{generation}: {{}}"
        )
        yield from each(_FILE, f"v4.{generation}.frame-{{}}", "IPB", f"{generation}: {{}} frame")
    for kind, depths in (("rgb", (8, 9, 12, 16)), ("yuv420", (8, 10)), ("yuv444", (8, 10))):
        yield from each(_FILE, f"v4.samples.{kind}." + "{}", depths, f"{kind}, {{}} bits")
    for axis in ("height", "width"):
        yield from each(_FILE, f"v4.{axis}." + "{}", ("one", "odd", "even"), f"{axis}: {{}}")
    yield from each(_FRAME, "v4.taps.{}", range(2, 17, 2), "interpolation with {} taps")
    yield from each(_FRAME, "v4.flow.{}", ("zero", "inside", "beyond"), "global flow: {}")
    for part in ("residue", "motion"):
        yield from each(
            _FRAME, f"v4.copy.{part}." + "{}", ("arm", "ups", "syn", "lat"), f"{part}: {{}} copied"
        )
    yield from _topology()
    yield from _codes()
    yield from _latents()
    for error, fields in _CHECKS.items():
        yield from each(_REFUSED, f"v4.refused.{error}." + "{}", fields, f"{error} for {{}}")


def _topology() -> Iterator[Item]:
    yield from each(_TOPOLOGY, "v4.arm.context-{}", (8, 12, 16, 24, 32), "a context of {}")
    yield from each(_TOPOLOGY, "v4.arm.hidden-{}", range(4), "{} hidden layers")
    yield from each(_TOPOLOGY, "v4.ups.size-{}", (4, 8, 12), "upsampling kernels of {}")
    yield from each(_TOPOLOGY, "v4.pre.size-{}", (1, 3, 5, 7, 15), "refinement kernels of {}")
    yield from each(_TOPOLOGY, "v4.ups.kernels-{}", ("one", "several"), "upsampling kernels: {}")
    for mode in ("linear", "residual"):
        for relu in ("relu", "none"):
            yield from each(
                _TOPOLOGY,
                f"v4.syn.{mode}.{relu}.k-" + "{}",
                (1, 3),
                f"{mode}, {relu}, kernel of {{}}",
            )
    yield from items(
        _TOPOLOGY,
        ("v4.syn.fused", "two first layers without neighbourhood"),
        ("v4.syn.not-fused", "other first layers"),
        ("v4.syn.wide", "more than 32 channels"),
        ("v4.lat.gap", "a resolution without latent after one with"),
        ("v4.lat.empty", "a latent plane of length 0"),
        ("v4.noise.beside-latent", "noise and latent at a resolution"),
        ("v4.noise.without-latent", "noise without latent at a resolution"),
        ("v4.zero.no-noise", "latents_zero"),
        ("v4.zero.noise", "latents_zero with noise planes"),
        ("v4.zero.motion", "latents_zero of motion"),
    )
    yield from each(_TOPOLOGY, "v4.lat.n-{}", (2, 3, 4, 5, 8), "{} resolutions")
    yield from each(_TOPOLOGY, "v4.lead.{}", range(4), "motion without its {} finest planes")


def _codes() -> Iterator[Item]:
    for module, highest in HIGHEST_STEPS.items():
        for kind, most in zip("wb", highest, strict=True):
            values = ("lowest", "between", "highest") if most else ("lowest",)
            yield from each(
                _CODING, f"v4.step.{module}.{kind}." + "{}", values, f"{module}.q_{kind}: {{}}"
            )
        yield from each(
            _CODING, f"v4.order.{module}." + "{}", ("lowest", "between", "highest"),
            f"orders of {module}: {{}}",
        )  # fmt: skip


def _latents() -> Iterator[Item]:
    yield from each(_LATENTS, "v4.blk.{}", ("none", "plain", "adaptive"), "block maps: {}")
    yield from items(
        _LATENTS,
        ("v4.block.skipped", "blocks that are not significant"),
        ("v4.block.none-skipped", "several blocks, all significant"),
        ("v4.block.flat", "flat blocks"),
        ("v4.block.none-flat", "several blocks, none flat"),
        ("v4.latent.zero", "latents of 0"),
        ("v4.latent.positive", "positive latents"),
        ("v4.latent.negative", "negative latents"),
        ("v4.latent.large", f"latents beyond {LARGE}"),
    )
