# SPDX-License-Identifier: BSD-3-Clause
"""Sections 4 to 12: parameters, latents, float stages, samples."""

from __future__ import annotations

from collections.abc import Iterator

from numchic_bitstream import Descriptor
from numchic_conformance.coverage.items.item import Item, each, items
from numchic_conformance.synthetic.counts import CORRECTED_SCALES

_CODES = "4.2 Exp-Golomb codes"
_REAL = "4.3 Dequantisation"
_ARM = "5.1, 5.2 ARM"
_IFCE = "5.3, 6.2, 6.3 IFCE"
_RANGE = "5.5 Dynamic range"
_CONTEXT = "6.1 Neighbours"
_ORDER = "7 Coding order"
_MODEL = "8.1 to 8.3 Model"
_CODER = "8.4 Range coder"
_UPSAMPLING = "9 Upsampling"
_RANDOMNESS = "10 Common randomness"
_SYNTHESIS = "11.1 Synthesis"
_RESIZE = "11.2, 11.3 Resize"
_SAMPLES = "12 Samples"


def decoding_items() -> Iterator[Item]:
    """Items of the stages of decoding."""
    yield from _parameters()
    yield from _arm()
    yield from _ifce()
    yield from _latents()
    yield from _coder()
    yield from _upsampling()
    yield from _synthesis()
    yield from _resize()
    yield from _samples()


def _parameters() -> Iterator[Item]:
    for name in Descriptor._fields:
        yield Item(_CODES, f"block.{name}.some", f"a block of {name}")
    yield from each(_CODES, "order.{}", range(13), "codes of order {}")
    yield from each(_CODES, "code.{}", ("zero", "positive", "negative"), "q {}")
    for order in range(13):
        yield Item(_CODES, f"prefix.none.order-{order}", f"no leading zero with order {order}")
        yield Item(_CODES, f"prefix.some.order-{order}", f"leading zeros with order {order}")
    yield from items(
        _CODES,
        ("prefix.longest.order-0", "40 leading zeros with order 0"),
        ("prefix.longest.order-more", "leading zeros and order together 40"),
        ("code.beyond-24-bits.positive", "q of 2^24 or more"),
        ("code.beyond-24-bits.negative", "q of -2^24 or less"),
    )
    for block in ("upsampling_weight", "upsampling_bias", "synthesis_weight", "synthesis_bias"):
        text = f"{block} that float32 rounds"
        yield Item(_REAL, f"dequantised.{block}.rounded", text)


def _arm() -> Iterator[Item]:
    for hidden in ("none", "one", "more"):
        for stabiliser in ("with", "without"):
            for features in ("features", "no-features"):
                yield Item(
                    _ARM, f"arm.hidden-{hidden}.{stabiliser}-stabiliser.{features}",
                    f"hidden layers: {hidden}; {stabiliser} stabiliser; {features}",
                )  # fmt: skip
        yield Item(
            _ARM, f"arm.width-2.hidden-{hidden}", f"D = 2, square output; hidden layers: {hidden}"
        )
        yield Item(
            _ARM, f"arm.width-2-with-feature.hidden-{hidden}",
            f"D = 2 with an IFCE column in the identity; hidden layers: {hidden}",
        )  # fmt: skip
        yield Item(_ARM, f"arm.width-1.hidden-{hidden}", f"D = 1; hidden layers: {hidden}")
    yield from items(
        _ARM,
        ("arm.width-2-with-stabiliser", "D = 2 with a stabiliser, which has no identity"),
        ("arm.width-most", "D = 71"),
        ("hidden.negative", "a negative hidden value, which becomes 0"),
        ("hidden.positive", "a positive hidden value"),
        ("hidden.floored", "a hidden value whose shift rounds down"),
        ("output.floored.negative", "a negative output that is rounded down"),
        ("output.floored.positive", "a positive output that is rounded down"),
    )
    yield from items(
        _RANGE,
        ("arm.accumulator-float64", "ARM sums below 2^53"),
        ("arm.accumulator-int64", "ARM sums that may reach 2^53"),
        ("arm.accumulator-63-bits", "ARM sums that need 63 bits, the most that must be decoded"),
        ("feature.form-5.3-overflows", "IFCE that overflows in form 5.3, but not in form 5.4"),
    )


def _ifce() -> Iterator[Item]:
    yield from items(
        _IFCE,
        ("feature.map", "features from coarser grids"),
        ("feature.constant", "features of the first grid, from a dummy input"),
        ("ifce.dummy-input", "the coarsest grid has an IFCE"),
        ("ifce.square", "a square IFCE, without identity"),
        ("ifce.equal-size-doubled", "a map doubled although the sizes are equal"),
        ("ifce.one-sample", "a map of one sample for a grid of one sample"),
        ("ifce.stack-not-doubled", "two grids of equal size in the stack"),
        ("ifce.trimmed", "a doubled map that is cut"),
        ("feature.beyond-24-bits.map", "features above 2^24"),
        ("feature.beyond-24-bits.constant", "a constant feature above 2^24"),
        ("feature.rounded.map", "features that float32 rounds"),
        ("feature.rounded.constant", "a constant feature that float32 rounds"),
    )


def _latents() -> Iterator[Item]:
    yield from each(_CONTEXT, "neighbour.{}", range(40), "neighbour {} with a value other than 0")
    yield from items(
        _ORDER,
        ("order.raster", "raster order"),
        ("order.wavefront", "wavefront order"),
        ("order.samples-share-a-time", "samples of the same time"),
    )
    for width in (9, 10, 11):
        yield from each(
            _ORDER, f"order.width-{width}." + "{}", ("one-row", "rows"), f"width {width}: {{}}"
        )
    for name, highest in (("mu", 32767), ("scale", 2560)):
        for what, text in (
            ("below", "clipped at the lower end"), ("lowest", "0 without clipping"),
            ("inside", "inside the table"), ("highest", f"{highest} without clipping"),
            ("above", "clipped at the upper end"),
        ):  # fmt: skip
            yield Item(_MODEL, f"{name}.{what}", f"index of {name}: {text}")
    yield Item(_MODEL, "scale.all-entries", "every entry of the scale table")
    yield from each(
        _MODEL, "scale.corrected-{}", CORRECTED_SCALES, "scale {}, where its correction matters"
    )
    yield from each(_MODEL, "symbol.{}", (-64, -1, 0, 1, 63), "symbol {}")
    yield from items(
        _MODEL,
        ("symbol.left-of-mu", "a symbol below mu"),
        ("symbol.right-of-mu", "a symbol above mu"),
        ("symbol.mu-on-lower-bound", "mu on the lower bound of the symbol"),
        ("symbol.mu-on-upper-bound", "mu on the upper bound of the symbol"),
        ("symbol.far-left", "a symbol more than 8 below mu"),
        ("symbol.far-right", "a symbol more than 8 above mu"),
        ("counts.one", "a symbol with a single count"),
        ("counts.far-tail", "F rounds to 1"),
    )


def _coder() -> Iterator[Item]:
    yield from items(
        _CODER,
        ("coder.no-renormalisation", "a symbol without renormalisation"),
        ("coder.renormalisation.once", "a symbol with renormalisation"),
        ("coder.renormalisation.again", "renormalisation at two symbols in succession"),
    )
    for carry in ("carry", "no-carry"):
        for n in ("one", "two", "more"):
            yield Item(
                _CODER, f"coder.{carry}.{n}.symbol",
                f"words held back, {n}; then {carry.replace('-', ' ')}",
            )  # fmt: skip
        for n in ("one", "more"):
            yield Item(
                _CODER, f"coder.{carry}.{n}.end",
                f"words held back at the end, {n}; then {carry.replace('-', ' ')}",
            )  # fmt: skip
    yield from items(
        _CODER,
        ("coder.end.plain", "a payload that ends with the word of the point"),
        ("coder.end.word-of-zeros", "a payload that ends with a word of zeros"),
        ("coder.words.one", "a payload of one word; the second is read as 0"),
        ("coder.words.two", "a payload of two words"),
        ("coder.words.more", "a longer payload"),
        ("coder.words-too-many", "words after the last one needed"),
        ("coder.words-missing", "a final word of zeros left out"),
    )


def _upsampling() -> Iterator[Item]:
    yield from items(
        _UPSAMPLING,
        ("upsampling.steps-none", "S' = 1: nothing is filtered"),
        ("upsampling.steps-some", "at least one step"),
    )
    yield from each(_UPSAMPLING, "upsampling.x2-size-{}", range(4, 15, 2), "X2 of size {}")
    yield from each(_UPSAMPLING, "upsampling.preconcat-size-{}", range(1, 16, 2), "PRE of size {}")
    yield from items(
        _UPSAMPLING,
        ("upsampling.same-size", "a step between grids of the same size"),
        ("upsampling.larger", "a step to a larger grid"),
        ("upsampling.rows-cut", "an odd number of rows"),
        ("upsampling.rows-whole", "an even number of rows"),
        ("upsampling.columns-cut", "an odd number of columns"),
        ("upsampling.columns-whole", "an even number of columns"),
        ("upsampling.x2-wider-than-grid", "X2 that reaches over the whole grid"),
        ("upsampling.preconcat-wider-than-grid", "PRE that reaches over the whole grid"),
        ("upsampling.kernels-differ", "steps with different kernels"),
        ("upsampling.biases-not-zero", "biases that are not zero"),
    )
    yield from items(
        _RANDOMNESS,
        ("randomness.one-level", "one level"),
        ("randomness.levels", "several levels"),
        ("randomness.same-size", "two levels of the same size"),
        ("randomness.doubled-whole", "doubling without cut"),
        ("randomness.doubled-cut", "doubling with cut"),
        ("randomness.from-level-0", "lo = 0"),
        ("randomness.from-level-more", "lo > 0, in a picture of one pixel"),
        ("randomness.with-stabiliser", "a stabiliser, which has no noise channels"),
        ("randomness.without-stabiliser", "no stabiliser"),
    )


def _synthesis() -> Iterator[Item]:
    for mode in ("linear", "residual"):
        for activation in ("none", "relu"):
            yield from each(
                _SYNTHESIS, f"layer.{mode}.{activation}.k-" + "{}", ("1", "3", "more"),
                f"a {mode} layer with {activation}; kernel size: {{}}",
            )  # fmt: skip
            yield Item(
                _SYNTHESIS, f"last-layer.{mode}.{activation}",
                f"the last layer {mode} with {activation}",
            )  # fmt: skip
        yield Item(_SYNTHESIS, f"first-layer.{mode}", f"the first layer {mode}")
    yield from items(
        _SYNTHESIS,
        ("relu.negative", "a negative value before a ReLU"),
        ("relu.positive", "a positive value before a ReLU"),
        ("layer.kernel-beyond-picture", "a kernel that reaches over the whole picture"),
        ("output-transform.identity", "an output transform that is the identity"),
        ("output-transform.other", "another output transform"),
        ("output-transform.no-diagonal", "an output transform with a diagonal of zeros"),
    )


def _resize() -> Iterator[Item]:
    for kind in ("nearest", "bilinear", "bicubic"):
        for what, text in (
            ("identity", "nothing to do"), ("ratio-1", "one axis only"), ("ratio-2", "ratio 2"),
            ("ratio-whole", "another whole ratio"), ("ratio-other", "a ratio that is not whole"),
            ("axes-differ", "different ratios"), ("from-one-sample", "an axis of one sample"),
        ):  # fmt: skip
            yield Item(_RESIZE, f"resize.{kind}.{what}", f"{kind}: {text}")


def _samples() -> Iterator[Item]:
    for data_type in ("rgb", "yuv420", "yuv444"):
        yield from each(
            _SAMPLES, f"samples.{data_type}." + "{}", range(8, 17), f"{data_type}, {{}} bits"
        )
        for what, text in (
            ("below", "below 0"), ("inside", "inside"), ("above", "above the maximum"),
        ):  # fmt: skip
            yield Item(_SAMPLES, f"samples.{data_type}.{what}", f"{data_type}: values {text}")
    for height in ("even", "odd"):
        for width in ("even", "odd"):
            yield Item(
                _SAMPLES, f"yuv420.{height}-height-{width}-width",
                f"4:2:0 of {height} height and {width} width",
            )  # fmt: skip
    yield from items(
        _SAMPLES,
        ("samples.tie", "a product with the maximum half-way between two codes"),
        ("yuv420.smallest", "4:2:0 of 2 x 2"),
        ("chroma.tie", "a chroma mean half-way between two codes"),
        ("chroma.mean-of-values-outside", "a chroma mean inside 0..1 of values outside"),
        ("chroma.clamped", "a chroma mean outside 0..1"),
    )
