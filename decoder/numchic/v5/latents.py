# SPDX-License-Identifier: BSD-3-Clause
"""Latent payload <-> integer grids (coolchic-5, sections 5 to 8). Exact.

Grids are coded from the coarsest to the finest. Every time step of a grid evaluates contexts, ARM
and symbols of its samples (see ``context``, ``arm``, ``numchic_bitstream.v5.rangecoder``). Decoder
and encoder differ only in where the symbols come from; what their kernels have in common is
repeated in both, because one more level of kernels would add a second to the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numchic.v5.arm import FixedArm, FloatArm, IntArm, evaluate_float, evaluate_int, fix_arm
from numchic.v5.context import (
    NEIGHBOURS,
    ROW_DELAY,
    max_batch,
    n_times,
    new_history,
    read_contexts,
    rows_of_time,
    write_samples,
)
from numchic.v5.ifce import FeatureMap, feature_map
from numchic_bitstream.arrays import (
    F32_3D,
    F64,
    F64_1D,
    F64_2D,
    F64_3D,
    I8,
    I8_1D,
    I8_2D,
    I16_1D,
    I64_1D,
    I64_2D,
    U32_1D,
    U64_1D,
)
from numchic_bitstream.errors import CorruptError, UsageError
from numchic_bitstream.kernels import kernel
from numchic_bitstream.v5.derived import Grid
from numchic_bitstream.v5.headers import CoolChicHeader
from numchic_bitstream.v5.laplace import MAX_SYMBOL, MIN_SYMBOL, decay_table, scale_table
from numchic_bitstream.v5.parameters import Parameters
from numchic_bitstream.v5.rangecoder import (
    check_end,
    decode_symbols,
    encode,
    start_decoder,
    words_from_bytes,
)
from numchic_bitstream.v5.stream import CoolChic

_LANES = 8  # batches are evaluated in multiples of this many samples
_MIN_FLOAT_BATCH = 6  # smaller batches are quicker in int64, sample by sample
_BATCH = 32768  # samples between two progress reports


class Model(NamedTuple):
    """What gives the probabilities of one grid, in the form the kernels take."""

    fast: FloatArm
    exact: IntArm
    use_float: bool
    offsets: I64_2D
    features: F32_3D
    feature_shift: int


class Workspace(NamedTuple):
    """Arrays that the kernels use for one grid; see :func:`_workspace`."""

    history: F64_2D
    inputs: F64_2D
    scratch: F64_3D
    sums: I64_2D
    mu_index: I64_1D
    scale_index: I64_1D
    symbols: I64_1D
    nearest: I64_1D
    lefts: I64_2D


class Coder(NamedTuple):
    """Range decoder and its tables."""

    words: U32_1D
    state: U64_1D
    scales: F64_1D
    decay: F64_2D


def _workspace(header: CoolChicHeader, grid: Grid) -> Workspace:
    lanes = -(-max_batch(grid.height, grid.width) // _LANES) * _LANES
    width = -(-header.derived.arm_width // 4) * 4
    indices = np.empty((4, lanes), np.int64)
    return Workspace(
        new_history(grid.height, lanes),
        np.zeros((width, lanes)),
        np.empty((2, width, lanes)),
        np.empty((2, width), np.int64),
        indices[0],
        indices[1],
        indices[2],
        indices[3],
        np.empty((4, lanes), np.int64),
    )


@kernel()
def _read_features(t: int, first: int, n: int, model: Model, inputs: F64) -> None:
    """Copy the IFCE features of the n samples of time t behind their spatial contexts."""
    n_spatial = model.offsets.shape[0]
    shift = model.feature_shift
    for i in range(n):
        y = first + i
        x = t - ROW_DELAY * y
        for f in range(model.features.shape[2]):
            inputs[n_spatial + f, i] = model.features[y >> shift, x >> shift, f]


@kernel(entry=True)
def decode_times(
    start: int, stop: int, model: Model, work: Workspace, coder: Coder, samples: I8_2D
) -> int:
    """Decode the samples of the times start .. stop - 1 of a grid.

    Parameters
    ----------
    start, stop : int
    model, work, coder : Model, Workspace, Coder
        The history and the state of the decoder are updated.
    samples : int8[h, w]
        Output.

    Returns
    -------
    int
        -1, or the row-major position of a sample whose quantile is invalid.
    """
    height, width = samples.shape
    inputs, mu_index, scale_index = work.inputs, work.mu_index, work.scale_index
    for t in range(start, stop):
        first, n = rows_of_time(t, height, width)
        done = n
        if n > 0:
            n_lanes = -(-n // _LANES) * _LANES
            read_contexts(work.history, t, first, model.offsets, n_lanes, inputs)
            _read_features(t, first, n, model, inputs)
            if model.use_float:
                evaluate_float(model.fast, inputs, n_lanes, work.scratch, mu_index, scale_index)
            else:
                evaluate_int(model.exact, inputs, n, work.sums, mu_index, scale_index)
            done = decode_symbols(
                coder.words,
                coder.state,
                mu_index,
                scale_index,
                coder.scales,
                coder.decay,
                n,
                work.nearest,
                work.lefts,
                work.symbols,
            )
        if done < n:
            y = first + done
            return int(y * width + t - ROW_DELAY * y)
        write_samples(work.history, t, first, n, work.symbols)
        for i in range(n):
            y = first + i
            samples[y, t - ROW_DELAY * y] = work.symbols[i]
    return -1


@kernel(entry=True)
def model_grid(
    stop: int,
    model: Model,
    work: Workspace,
    samples: I8_2D,
    symbols: I8_1D,
    mu_index: I16_1D,
    scale_index: I16_1D,
) -> None:
    """Evaluate the models of a known grid.

    Parameters
    ----------
    stop : int
        Number of time steps of the grid.
    model, work : Model, Workspace
    samples : int8[h, w]
    symbols : int8[h * w]
        Output: the samples in coding order.
    mu_index, scale_index : int16[h * w]
        Output: their models.
    """
    height, width = samples.shape
    position = 0
    inputs = work.inputs
    for t in range(stop):
        first, n = rows_of_time(t, height, width)
        if n > 0:
            n_lanes = -(-n // _LANES) * _LANES
            read_contexts(work.history, t, first, model.offsets, n_lanes, inputs)
            _read_features(t, first, n, model, inputs)
            if model.use_float:
                evaluate_float(
                    model.fast, inputs, n_lanes, work.scratch, work.mu_index, work.scale_index
                )
            else:
                evaluate_int(model.exact, inputs, n, work.sums, work.mu_index, work.scale_index)
        for i in range(n):
            y = first + i
            work.symbols[i] = samples[y, t - ROW_DELAY * y]
            symbols[position] = work.symbols[i]
            mu_index[position] = work.mu_index[i]
            scale_index[position] = work.scale_index[i]
            position += 1
        write_samples(work.history, t, first, n, work.symbols)


def _model(fixed: FixedArm, features: FeatureMap, grid: Grid, offset: int = 0) -> Model:
    fits = fixed.fits_float64(features.maximum, offset)
    return Model(
        fixed.fast,
        fixed.exact,
        fits and max_batch(grid.height, grid.width) >= _MIN_FLOAT_BATCH,
        np.array(NEIGHBOURS[: fixed.n_spatial], np.int64),
        features.values,
        features.shift,
    )


class LatentDecoder:
    """Decodes the grids of one Cool-chic decoder step by step.

    Parameters
    ----------
    coolchic : CoolChic
    parameters : Parameters
        Parameters of the same Cool-chic decoder.

    Attributes
    ----------
    grids : list of int8[h, w]
        One array per grid, finest first; filled by :meth:`decode_grid`.
    """

    def __init__(self, coolchic: CoolChic, parameters: Parameters) -> None:
        self.header = coolchic.header
        self.grid_list = self.header.derived.grids
        self.grids: list[I8] = [np.zeros(grid.shape, np.int8) for grid in self.grid_list]
        self._ifce = parameters.ifce.by_grid
        self._nn_offset = coolchic.nn_offset
        self._latent_offset = coolchic.latent_offset
        self._fixed = fix_arm(self.header, parameters.arm, coolchic.nn_offset)
        words = words_from_bytes(coolchic.latent_payload, coolchic.latent_offset)
        self._coder = Coder(
            words, start_decoder(words), scale_table().astype(np.float64), decay_table()
        )

    def decode_grid(self, k: int) -> Iterator[int]:
        """Decode grid k, the next coarser one having been decoded.

        Yields
        ------
        int
            Number of rows that are complete, in increasing order; the last one is the height.

        Raises
        ------
        CorruptError
            The range decoder meets an invalid state, or accumulators would overflow.
        TruncatedError
            The payload is too short.
        """
        grid, samples = self.grid_list[k], self.grids[k]
        decoded = list(zip(self.grid_list, self.grids, strict=True))[k + 1 :]
        features = feature_map(self.header, self._ifce.get(k), decoded, self._nn_offset)
        model = _model(self._fixed, features, grid, self._nn_offset)
        work = _workspace(self.header, grid)
        times = n_times(grid.height, grid.width)
        step = max(1, times * _BATCH // grid.n_samples)
        for start in range(0, times, step):
            stop = min(start + step, times)
            bad = decode_times(start, stop, model, work, self._coder, samples)
            if bad >= 0:
                raise CorruptError(
                    "invalid range coder state",
                    "latent_payload",
                    self._latent_offset,
                    f"grid {k}, row {bad // grid.width}, column {bad % grid.width}",
                )
            check_end(self._coder.state, self._coder.words, self._latent_offset)
            yield grid.height if stop == times else max(0, (stop - grid.width) // ROW_DELAY + 1)


def decode_latents(
    coolchic: CoolChic, parameters: Parameters, *, progress: Callable[[int], None] | None = None
) -> list[I8]:
    """Decode all grids.

    Parameters
    ----------
    coolchic : CoolChic
    parameters : Parameters
    progress : callable, optional
        Called with the number of samples decoded so far.

    Returns
    -------
    list of int8[h, w]
        Finest first, hyperlatents included; values in -64 .. 63.

    Raises
    ------
    CorruptError, TruncatedError
        See :meth:`LatentDecoder.decode_grid`.
    """
    decoder = LatentDecoder(coolchic, parameters)
    done = 0
    for k in reversed(range(len(decoder.grids))):
        for rows in decoder.decode_grid(k):
            if progress is not None:
                progress(done + rows * decoder.grid_list[k].width)
        done += decoder.grids[k].size
    return decoder.grids


def encode_latents(
    header: CoolChicHeader, parameters: Parameters, grids: Sequence[NDArray[np.integer]]
) -> bytes:
    """Encode all grids; the inverse of :func:`decode_latents`.

    Parameters
    ----------
    header : CoolChicHeader
    parameters : Parameters
    grids : sequence of integer[h, w]
        Finest first, hyperlatents included; values in -64 .. 63.

    Returns
    -------
    bytes
        The latent payload.

    Raises
    ------
    UsageError
        A grid has a wrong shape, a value out of range or a type that is not integer.
    CorruptError
        Accumulators would overflow.
    """
    expected = header.derived.grids
    shapes = [grid.shape for grid in expected]
    if [grid.shape for grid in grids] != shapes:
        found = [grid.shape for grid in grids]
        raise UsageError("the grids do not fit the header", "grids", None, found, shapes)
    if not all(np.issubdtype(grid.dtype, np.integer) for grid in grids):
        raise UsageError("the latents are not integers", "grids")
    if any(grid.min() < MIN_SYMBOL or grid.max() > MAX_SYMBOL for grid in grids):
        raise UsageError("a latent is out of range", "grids", None, None, "-64..63")
    samples = [np.ascontiguousarray(grid, np.int8) for grid in grids]
    fixed = fix_arm(header, parameters.arm)
    n_samples = sum(grid.size for grid in samples)
    symbols = np.empty(n_samples, np.int8)
    mu_index, scale_index = np.empty((2, n_samples), np.int16)
    position = 0
    for k in reversed(range(len(samples))):
        decoded = list(zip(expected, samples, strict=True))[k + 1 :]
        features = feature_map(header, parameters.ifce.by_grid.get(k), decoded)
        part = slice(position, position + samples[k].size)
        model_grid(
            n_times(*shapes[k]),
            _model(fixed, features, expected[k]),
            _workspace(header, expected[k]),
            samples[k],
            symbols[part],
            mu_index[part],
            scale_index[part],
        )
        position = part.stop
    return encode(symbols, mu_index.astype(np.int64), scale_index.astype(np.int64))
