# SPDX-License-Identifier: BSD-3-Clause
"""Payloads that hold something impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from numchic_bitstream import (
    Descriptor,
    Parameters,
    read_parameters,
    read_stream,
    write_parameters,
)
from numchic_conformance.manifest import Expect
from numchic_conformance.synthetic.drawing import Signal, uniform
from numchic_conformance.synthetic.malformed.case import STILL, Case, refuse
from numchic_conformance.synthetic.malformed.editing import (
    Change,
    put,
    replace_bits,
    replace_payloads,
)
from numchic_conformance.synthetic.recipe import Edit, Recipe, header, still
from numchic_conformance.synthetic.videos import video

_STEPS = header().nn_q_step
_EXACT = _STEPS._replace(arm_weight=8, arm_bias=16, ifce_weight=8, ifce_bias=16)

# The largest that every exp-Golomb order can carry.
_LARGEST = (1 << 40) - (1 << 12)


def payload_cases() -> Iterator[Case]:
    """Network and latent payloads."""
    yield from _codes()
    yield from _latents()
    yield from _accumulators()
    yield from _floats()


def _either(
    name: str,
    description: str,
    change: Change,
    error: str,
    field: str,
    *features: str,
    good: Recipe = STILL,
    same_picture: bool = False,
) -> Case:
    case = refuse(name, description, change, error, field, *features, good=good)
    return replace(case, expect=Expect.EITHER, same_picture=same_picture)


def _codes() -> Iterator[Case]:
    yield refuse(
        "codes-all-zero", "A network payload of zeros: the first prefix does not end.",
        replace_payloads(lambda payload: bytes(len(payload)), n_bit_pad=0),
        "CorruptError", "nn_payload.arm_weight", "exp-golomb",
    )  # fmt: skip
    for order in (0, 12):
        yield refuse(
            f"codes-prefix-too-long-order-{order}",
            f"Order {order}: a prefix of one zero more than fits 40 bits.",
            replace_bits(_prefixed("0" * (41 - order) + "1")),
            "CorruptError", "nn_payload.arm_weight", "exp-golomb",
            good=still(
                f"base-order-{order}", "", img_size=(6, 12),
                nn_expgol_cnt=Descriptor(*[order] * 8),
            ),
        )  # fmt: skip
    yield refuse(
        "codes-prefix-to-the-end", "The last code is zeros up to the end of the payload.",
        replace_bits(lambda bits: bits[:-30] + "0" * 30),
        "TruncatedError", "nn_payload.synthesis_bias", "exp-golomb",
    )  # fmt: skip
    for n, what in ((1, "bit"), (8, "byte"), (30, "30 bits")):
        yield refuse(
            f"codes-without-last-{what.replace(' ', '-')}",
            f"The network payload without its last {what}.",
            replace_bits(_without_bits(n)),
            "TruncatedError", "nn_payload.synthesis_bias", "exp-golomb",
        )  # fmt: skip
    yield refuse(
        "codes-without-synthesis", "The network payload ends in the weights of the synthesis.",
        replace_bits(lambda bits: bits[: len(bits) * 2 // 3]),
        "TruncatedError", "nn_payload.synthesis_weight", "exp-golomb",
    )  # fmt: skip
    yield refuse(
        "codes-more-parameters-than-bits",
        "More parameters than the network payload has bits.",
        replace_payloads(lambda payload: payload[:20], n_bit_pad=0),
        "CorruptError", "nn_payload", "exp-golomb",
    )  # fmt: skip
    # The official decoder skips the padding and ignores what is left over.
    for n in (1, 7):
        yield _either(
            f"codes-padding-{n}-not-zero", f"{n} padding bits of the network payload are ones.",
            _ones_before(n), "CorruptError", "nn_payload", "exp-golomb",
            good=_padded(n), same_picture=True,
        )  # fmt: skip
    for more in ("0", "1", "0" * 8, "1" * 8):
        yield _either(
            f"codes-{len(more)}-left-over-{more[0]}", f"The bits {more} after the last parameter.",
            replace_bits(_followed(more)), "CorruptError", "nn_payload",
            "exp-golomb", same_picture=True,
        )  # fmt: skip
    yield refuse(
        "codes-padding-too-large", "nn_n_bit_pad counts the first bits of the first code.",
        put("residue 0", "nn_n_bit_pad", 7), "CorruptError", "nn_payload", "exp-golomb",
        good=_padded(0),
    )  # fmt: skip


def _prefixed(more: str) -> Callable[[str], str]:
    return lambda bits: more + bits


def _followed(more: str) -> Callable[[str], str]:
    return lambda bits: bits + more


def _without_bits(n: int) -> Callable[[str], str]:
    return lambda bits: bits[:-n]


def _without_words(n: int) -> Callable[[bytes], bytes]:
    return lambda payload: payload[: -4 * n]


def _padded(n: int) -> Recipe:
    """Return a still whose network payload has n padding bits."""
    orders = header().nn_expgol_cnt
    for i in range(64):
        # With an odd number of biases, the order decides whether the number of bits is even.
        recipe = still(
            f"base-padding-{i}", "", img_size=(6, 12), spatial_context_arm=5,
            nn_expgol_cnt=orders._replace(arm_bias=5 + i % 2),
        )  # fmt: skip
        if recipe.stream().frames[0].residue.header.nn_n_bit_pad == n:
            return recipe
    raise AssertionError(n)


def _ones_before(n: int) -> Change:
    """Set the n padding bits."""

    def change(data: bytes) -> bytes:
        ones = ((1 << n) - 1) << (8 - n)
        return replace_payloads(lambda p: bytes([p[0] | ones]) + p[1:])(data)

    return change


def _latents() -> Iterator[Case]:
    yield refuse(
        "latents-all-ones", "A latent payload of ones, which is no state of the range coder.",
        replace_payloads(latents=lambda payload: b"\xff" * len(payload)),
        "CorruptError", "latent_payload", "range coder",
    )  # fmt: skip
    yield refuse(
        "latents-barely-invalid", "The smallest first words that are no state of the range coder.",
        replace_payloads(latents=lambda p: bytes.fromhex("ffffffff000000ff") + p[8:]),
        "CorruptError", "latent_payload", "range coder",
    )  # fmt: skip
    for n in (2, 3):
        yield _either(
            f"latents-{n}-words-missing",
            f"The last {n} words of the latents are missing, and n_bytes_latent says so.",
            replace_payloads(latents=_without_words(n)),
            "TruncatedError", "latent_payload", "range coder",
        )  # fmt: skip
    yield _either(
        "latents-one-word", "All but the first word of the latents are missing.",
        replace_payloads(latents=lambda p: p[:4]),
        "TruncatedError", "latent_payload", "range coder",
    )  # fmt: skip


def _edited(edit: Edit, frame: int = 0) -> Change:
    """Change the parameters of a decoder and keep its latents, which they no longer fit.

    It is the last decoder of the frame: residue of an intra frame, motion of others.
    """

    def change(data: bytes) -> bytes:
        part = read_stream(data).frames[frame].parts[-1]
        parameters = read_parameters(part.header, part.nn_payload)
        edit(parameters)
        payload, n_bit_pad = write_parameters(part.header, parameters)
        return replace_payloads(lambda _: payload, n_bit_pad=n_bit_pad, frame=frame)(data)

    return change


def _accumulators() -> Iterator[Case]:
    """Bounds that reach 2^63; the official decoder wraps around."""

    def hidden_bias(parameters: Parameters) -> None:
        parameters.arm.hidden[1].bias[0] = _LARGEST

    def hidden_weights(parameters: Parameters) -> None:
        for layer in parameters.arm.hidden:
            layer.weight[0, 0] = 1 << 23

    def output_weights(parameters: Parameters) -> None:
        parameters.arm.hidden[0].weight[0, 0] = 1 << 22
        parameters.arm.output.weight[0, 0] = 1 << 19

    def direct(parameters: Parameters) -> None:
        parameters.arm.output.weight[0, :3] = _LARGEST

    def ifce(parameters: Parameters) -> None:
        parameters.ifce.by_grid[0].weight[...] = _LARGEST

    def features(parameters: Parameters) -> None:
        parameters.ifce.by_grid[0].weight[...] = 1 << 30
        parameters.arm.hidden[0].weight[0, -1] = 1 << 20

    rows = (
        ("hidden-weights", "two hidden layers with weights of 2^23", 2, hidden_weights, "arm"),
        ("output-weights", "large hidden and output weights", 1, output_weights, "arm"),
        ("direct-weights", "weights of 2^40 without hidden layers", 0, direct, "arm"),
        ("features", "large IFCE features with large ARM weights", 1, features, "arm"),
        ("ifce-weights", "IFCE weights of 2^40", 1, ifce, "ifce"),
    )
    for name, what, n_hidden, edit, module in rows:
        recipe = still(
            f"base-accumulators-{n_hidden}", "", img_size=(6, 12), nn_q_step=_EXACT,
            n_hidden_layers_arm=n_hidden, latents=uniform(64), signal=Signal(latent=64),
            latent_resolution=(0, 3),
        )  # fmt: skip
        yield _either(
            f"overflow-{name}", f"Accumulators that may need more than 63 bits: {what}.",
            _edited(edit), "CorruptError", f"nn_payload.{module}", "overflow",
            good=recipe,
        )  # fmt: skip
    finest = still(
        "base-accumulators-bias", "", img_size=(6, 12), n_hidden_layers_arm=2,
        nn_q_step=_EXACT._replace(arm_weight=0),
    )  # fmt: skip
    yield _either(
        "overflow-hidden-bias", "A single bias that needs more than 63 bits.",
        _edited(hidden_bias), "CorruptError", "nn_payload.arm", "overflow",
        good=finest,
    )  # fmt: skip


def _floats() -> Iterator[Case]:
    coarse = header().nn_q_step._replace(upsampling_weight=12, synthesis_weight=12)
    recipe = still("base-floats", "", img_size=(6, 12), nn_q_step=coarse)

    def infinite(parameters: Parameters) -> None:
        for layer in parameters.synthesis.layers():
            layer.weight[...] = _LARGEST

    def undefined(parameters: Parameters) -> None:
        infinite(parameters)
        for layer in (*parameters.upsampling.x2, *parameters.upsampling.preconcat):
            layer.weight[...] = _LARGEST
        parameters.synthesis.output_transform.weight[:, 1::2] *= -1

    def at_the_end(parameters: Parameters) -> None:
        for layer in parameters.synthesis.trunk:
            layer.weight[...] = 1 << 36
        transform = parameters.synthesis.output_transform.weight
        transform[...] = 0
        transform[0, 0] = 1 << 8

    for name, what, edit in (
        ("infinite", "The synthesis gives infinity", infinite),
        ("undefined", "The synthesis gives infinity minus infinity", undefined),
        ("at-the-end", "The synthesis is finite, but not its product with 65535", at_the_end),
    ):
        yield _either(
            f"overflow-float-{name}", f"{what}.", _edited(edit),
            "CorruptError", "nn_payload.synthesis", "overflow", good=recipe,
        )  # fmt: skip

    moving = video("base-motion", "", 3, (0,), (2,), img_size=(6, 12), motion={"nn_q_step": coarse})
    yield _either(
        "overflow-float-motion", "Motion vectors are infinite.", _edited(undefined, 1),
        "CorruptError", "nn_payload.synthesis", "overflow", "video", good=moving,
    )  # fmt: skip
