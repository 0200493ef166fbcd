# SPDX-License-Identifier: BSD-3-Clause
"""Synthesis: dense latents -> picture signal (coolchic-5, section 11.1). Float.

Order of operations, every product and sum rounded to float32: a filter starts from its bias and
adds its taps row by row, column by column, input channels innermost; then a residual layer adds its
input; then negative values become 0 with relu.

The whole synthesis is a chain of such layers. The linear stabiliser is one whose input is the dense
latents and whose residual is the output of the trunk; the output transform follows it.

Picture rows pass through all layers one after the other: each layer keeps only as many rows of its
output as the next one looks at, so memory does not grow with the height, and stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F32_1D, I64, I64_1D, I64_2D
from numchic_bitstream.errors import UsageError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.parameters import (
    FloatLayer,
    Layer,
    SynthesisParameters,
    dequantise,
)

_NO_BUFFER = -1
_MACS_PER_CALL = 1 << 29  # some 50 ms


class _Stage(NamedTuple):
    """One layer of the chain. Buffer 0 is the input, buffer i + 1 the output of stage i."""

    weight: F32
    bias: F32
    source: int
    residual: int
    relu: bool

    @property
    def reach(self) -> int:
        """Rows and columns that the filter looks at on each side."""
        return int(self.weight.shape[2]) // 2


class _StageRow(NamedTuple):
    """A stage as the kernel sees it; one row of an int64 table."""

    source: int
    residual: int
    n_outputs: int
    n_inputs: int
    k_size: int
    relu: int
    ahead: int
    weight_start: int
    bias_start: int


class _BufferRow(NamedTuple):
    """A buffer as the kernel sees it: ``n_rows`` picture rows of every channel, used in turn."""

    start: int
    n_rows: int
    stride: int
    margin: int
    first_row: int


class Synthesiser:
    """Runs the synthesis of one Cool-chic decoder on a range of rows at a time.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : SynthesisParameters
    """

    def __init__(self, header: CoolChicHeader, parameters: SynthesisParameters) -> None:
        steps = header.derived.steps

        def real(layer: Layer) -> FloatLayer:
            return dequantise(layer, steps.synthesis_weight, steps.synthesis_bias)

        stages = []
        for i, (layer, form) in enumerate(zip(parameters.trunk, header.syn_layer, strict=True)):
            residual = i if form.mode == "residual" else _NO_BUFFER
            stages.append(_Stage(*real(layer), i, residual, form.non_linearity == "relu"))
        if parameters.stabiliser is not None:
            stages.append(_Stage(*real(parameters.stabiliser), 0, len(stages), False))
        stages.append(_Stage(*real(parameters.output_transform), len(stages), _NO_BUFFER, False))
        self._stages = stages
        self.n_inputs = header.derived.synthesis_inputs
        self.reach = header.derived.reach
        self.n_outputs = stages[-1].bias.size
        # Rows that the output of each buffer must be ahead of the last stage.
        self._ahead = [0] * (len(stages) + 1)
        for i, stage in reversed(list(enumerate(stages))):
            needed = self._ahead[i + 1] + stage.reach
            self._ahead[stage.source] = max(self._ahead[stage.source], needed)
        # Taps in the order of summation: output, then row, column, input channel.
        self._weights = np.concatenate([s.weight.transpose(0, 2, 3, 1).ravel() for s in stages])
        self._biases = np.concatenate([s.bias for s in stages])
        self._margins = [0] * (len(stages) + 1)
        for stage in stages:
            self._margins[stage.source] = max(self._margins[stage.source], stage.reach)
        self._channels = [self.n_inputs, *(stage.bias.size for stage in stages)]
        self._table = self._stage_table()

    def _stage_table(self) -> I64:
        rows, weight_start, bias_start = [], 0, 0
        for i, stage in enumerate(self._stages):
            n_outputs, n_inputs, k_size, _ = stage.weight.shape
            rows.append(
                _StageRow(
                    stage.source,
                    stage.residual,
                    n_outputs,
                    n_inputs,
                    k_size,
                    stage.relu,
                    self._ahead[i + 1],
                    weight_start,
                    bias_start,
                )
            )
            weight_start += stage.weight.size
            bias_start += stage.bias.size
        return np.array(rows, np.int64)

    def band(self, height: int, width: int, first: int, n_rows: int) -> Band:
        """Prepare the computation of output rows first .. first + n_rows - 1."""
        last = min(height, first + n_rows + self.reach)
        input_first = max(0, first - self.reach)
        buffers, start = [], 0
        for i, (margin, n_channels) in enumerate(zip(self._margins, self._channels, strict=True)):
            rows, origin = 2 * margin + 1, 0
            if i == 0:
                rows, origin = last - input_first, input_first
            elif i == len(self._channels) - 1:
                rows, origin = n_rows, first
            buffers.append(_BufferRow(start, rows, width + 2 * margin, margin, origin))
            start += n_channels * rows * (width + 2 * margin)
        return Band(
            self,
            height,
            width,
            first,
            n_rows,
            np.array(buffers, np.int64),
            np.empty(start, np.float32),
        )

    def run(self, band: Band, pause: Callable[[], None] | None = None) -> None:
        """Compute a band whose input has been filled in.

        Parameters
        ----------
        band : Band
        pause : callable, optional
            Called now and then; an exception it raises ends the work.
        """
        pad_input(band.memory, self._table, band.buffers, band.width)
        ahead = self._ahead[1]  # that of the first stage
        begin, end = max(0, band.first - ahead) - ahead, band.first + band.n_rows
        sources = np.empty(max(stage.weight[0].size for stage in self._stages), np.int64)
        n_steps = max(1, _MACS_PER_CALL // (self._weights.size * band.width))
        for step in range(begin, end, n_steps):
            if pause is not None:
                pause()
            run_stages(
                band.memory,
                self._table,
                band.buffers,
                self._weights,
                self._biases,
                band.height,
                band.width,
                band.first,
                band.n_rows,
                step,
                min(step + n_steps, end),
                sources,
            )


@dataclass(frozen=True)
class Band:
    """Memory for one range of rows."""

    synthesiser: Synthesiser
    height: int
    width: int
    first: int
    n_rows: int
    buffers: I64
    memory: F32

    def _view(self, index: int, n_channels: int) -> F32:
        buffer = _BufferRow(*self.buffers[index].tolist())
        size = n_channels * buffer.n_rows * buffer.stride
        rows = self.memory[buffer.start : buffer.start + size]
        return rows.reshape(n_channels, buffer.n_rows, buffer.stride)

    @property
    def input_first(self) -> int:
        """First row of :attr:`input`."""
        return int(self.buffers[0, 4])

    @property
    def margin(self) -> int:
        """Columns on each side of :attr:`input` that are filled in by the synthesis."""
        return int(self.buffers[0, 3])

    @property
    def input(self) -> F32:
        """float32[S, rows, margin + width + margin], to be filled in."""
        return self._view(0, self.synthesiser.n_inputs)

    @property
    def output(self) -> F32:
        """float32[O, n_rows, width], the result."""
        return self._view(len(self.buffers) - 1, self.synthesiser.n_outputs)


def synthesise(header: CoolChicHeader, parameters: SynthesisParameters, dense: F32) -> F32:
    """Run the synthesis.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : SynthesisParameters
    dense : float32[S, h, w]
        Dense latents, and common randomness where the header asks for it.

    Returns
    -------
    float32[O, h, w]

    Raises
    ------
    UsageError
        The number of channels does not fit the header.
    """
    synthesiser = Synthesiser(header, parameters)
    n_channels, height, width = dense.shape
    if n_channels != synthesiser.n_inputs:
        raise UsageError(
            "the channels do not fit the header", "dense", None, n_channels, synthesiser.n_inputs
        )
    band = synthesiser.band(height, width, 0, height)
    band.input[:, :, band.margin : band.margin + width] = dense
    synthesiser.run(band)
    return band.output


@kernel()
def _pad_row(memory: F32, row: int, margin: int, width: int) -> None:
    """Repeat the first and last sample of the row that starts at ``row`` into its margins."""
    for x in range(margin):
        memory[row - margin + x] = memory[row]
        memory[row + width + x] = memory[row + width - 1]


@kernel(inline=True)
def _find_row(buffers: I64, index: int, channel: int, y: int) -> int:
    """Start of picture row y of a channel in a buffer."""
    n_rows = buffers[index, 1]
    row = channel * n_rows + (y - buffers[index, 4]) % n_rows
    return int(buffers[index, 0] + row * buffers[index, 2] + buffers[index, 3])


@kernel()
def _add_taps(memory: F32, target: int, width: int, sources: I64, weights: F32, start: int) -> None:
    """Add the taps of one output channel to a row, in order, four per pass."""
    n_taps = sources.size
    n_fours = n_taps - n_taps % 4
    # Slices, because an index that might be negative keeps a loop from being vectorised.
    y = memory[target : target + width]
    for t in range(0, n_fours, 4):
        x0 = memory[sources[t] : sources[t] + width]
        x1 = memory[sources[t + 1] : sources[t + 1] + width]
        x2 = memory[sources[t + 2] : sources[t + 2] + width]
        x3 = memory[sources[t + 3] : sources[t + 3] + width]
        w = start + t
        w0, w1, w2, w3 = weights[w], weights[w + 1], weights[w + 2], weights[w + 3]
        for i in range(width):
            y[i] = (((y[i] + w0 * x0[i]) + w1 * x1[i]) + w2 * x2[i]) + w3 * x3[i]
    for t in range(n_fours, n_taps):
        x0 = memory[sources[t] : sources[t] + width]
        w0 = weights[start + t]
        for i in range(width):
            y[i] += w0 * x0[i]


@kernel(entry=True)
def pad_input(memory: F32_1D, stages: I64_2D, buffers: I64_2D, width: int) -> None:
    """Fill in the margins of buffer 0; arguments as for :func:`run_stages`."""
    for row in range(stages[0, 3] * buffers[0, 1]):
        target = buffers[0, 0] + row * buffers[0, 2] + buffers[0, 3]
        _pad_row(memory, target, buffers[0, 3], width)


@kernel(entry=True)
def run_stages(
    memory: F32_1D,
    stages: I64_2D,
    buffers: I64_2D,
    weights: F32_1D,
    biases: F32_1D,
    height: int,
    width: int,
    first: int,
    n_rows: int,
    begin: int,
    end: int,
    sources: I64_1D,
) -> None:
    """Do a part of the steps that give rows first .. first + n_rows - 1 of the last stage.

    At step j every stage computes the row j + (rows it must be ahead of the last stage), if that is
    one of its rows. Steps begin where the first stage has its first row and end at first + n_rows.

    Parameters
    ----------
    memory : float32[]
        All buffers; buffer 0 is filled, the others are as the steps before ``begin`` left them.
    stages : int64[n, 9]
        Rows as :class:`_StageRow`.
    buffers : int64[n + 1, 5]
        Rows as :class:`_BufferRow`.
    weights, biases : float32[]
        Weights and biases of all stages.
    height, width, first, n_rows : int
        Size of the picture, rows to compute.
    begin, end : int
        Steps to do.
    sources : int64[]
        Scratch, one for every tap of an output channel.
    """
    n_stages = stages.shape[0]
    for j in range(begin, end):
        for s in range(n_stages):
            source, residual = stages[s, 0], stages[s, 1]
            n_outputs, n_inputs, reach = stages[s, 2], stages[s, 3], stages[s, 4] // 2
            ahead = stages[s, 6]
            y = j + ahead
            if y < max(0, first - ahead) or y >= min(height, first + n_rows + ahead):
                continue
            n_taps = 0
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    for i in range(n_inputs):
                        clipped = min(max(y + dy, 0), height - 1)
                        sources[n_taps] = _find_row(buffers, source, i, clipped) + dx
                        n_taps += 1
            for o in range(n_outputs):
                target = _find_row(buffers, s + 1, o, y)
                memory[target : target + width] = biases[stages[s, 8] + o]
                w = stages[s, 7] + o * n_taps
                _add_taps(memory, target, width, sources[:n_taps], weights, w)
                y_row = memory[target : target + width]
                if residual >= 0:
                    other = _find_row(buffers, residual, o, y)
                    skipped = memory[other : other + width]
                    for x in range(width):
                        y_row[x] += skipped[x]
                if stages[s, 5]:
                    for x in range(width):
                        y_row[x] = np.float32(0.0) if y_row[x] < 0.0 else y_row[x]
                _pad_row(memory, target, buffers[s + 1, 3], width)
