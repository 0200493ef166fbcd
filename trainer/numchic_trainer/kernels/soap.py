# SPDX-License-Identifier: BSD-3-Clause
"""SOAP for all networks in one kernel: Adam in eigenbases of the gradients (training, section 5).

The networks are small, so that calls from Python would cost more than the arithmetic. The state is
float64: squares of any float32 gradient, and squares of these, are then normal numbers. Matrices
are taken row by row, inner loops run along rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from numchic_bitstream.arrays import F32, F64, I64
from numchic_bitstream.kernels import kernel

_NOTHING = 1e-280  # below this, a sum of squares has lost bits


class _Layout(NamedTuple):
    """Where T tensors have their numbers and their matrices.

    ``starts`` int64[T + 1]: first number of every tensor, and their end; ``n_sizes`` int64[T]:
    dimensions larger than 1 of a tensor that is rotated, 0 for plain Adam; ``sizes`` int64[T, D]:
    these dimensions; ``places`` int64[T, D]: first number of the matrix of a dimension, -1 if it is
    not rotated.
    """

    starts: I64
    n_sizes: I64
    sizes: I64
    places: I64


class _State(NamedTuple):
    """What is known of the gradients.

    ``first`` float64[N]: mean, in the basis of the parameters; ``second`` float64[N]: mean of
    squares in the eigenbases; ``outer`` and ``bases`` float64[M]: mean of g g^T along every rotated
    dimension, and approximate eigenvectors of it in columns.
    """

    first: F64
    second: F64
    outer: F64
    bases: F64


class _Scratch(NamedTuple):
    """Memory for one tensor.

    ``turned`` float64[2, largest tensor]; ``square`` float64[2, largest matrix]; ``rows``
    float64[2, largest dimension]; ``order`` int64[largest dimension].
    """

    turned: F64
    square: F64
    rows: F64
    order: I64


class SoapKernel:
    """Optimiser of tensors that are consecutive pieces of one vector.

    Does what :class:`numchic_trainer.training.soap.Soap` does, in the same order.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Shape of every tensor.
    betas : tuple of float
        Decay of the first and of the second moments, the second also that of the preconditioner.
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        Decoupled: after its update, a tensor is multiplied by 1 - learning rate * weight_decay.
    max_precondition_dim : int
        Larger dimensions are not rotated.
    precondition_frequency : int
        Steps from one refresh of the bases to the next.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        max_precondition_dim: int = 256,
        precondition_frequency: int = 10,
    ) -> None:
        self._betas, self._eps, self._weight_decay = betas, eps, weight_decay
        self._frequency = precondition_frequency
        self._layout, self._matrices = _arrange(shapes, max_precondition_dim)
        n = int(self._layout.starts[-1])
        m = sum(size * size for _, size in self._matrices)
        self._state = _State(np.zeros(n), np.zeros(n), np.zeros(m), np.zeros(m))
        self._steps = -1  # none, not even the first one, which only looks
        most = int(np.diff(self._layout.starts).max(initial=0))
        side = max((size for _, size in self._matrices), default=0)
        self._scratch = _Scratch(
            np.zeros((2, most)),
            np.zeros((2, side * side)),
            np.zeros((2, side)),
            np.zeros(side, np.int64),
        )

    def step(self, parameters: F32, gradients: F32, learning_rate: float) -> None:
        """Update all parameters in place; the first step moves nothing.

        Parameters
        ----------
        parameters, gradients : float32[N]
        learning_rate : float
        """
        self._steps += 1
        beta1, beta2 = self._betas
        wide = gradients.astype(np.float64)
        if self._steps == 0:
            _look(self._layout, wide, beta2, self._state, self._scratch)
            for place, size in self._matrices:
                part = slice(place, place + size * size)
                vectors = np.linalg.eigh(self._state.outer[part].reshape(size, size)).eigenvectors
                self._state.bases[part] = vectors[:, ::-1].ravel()
            return
        t = self._steps
        _step(
            self._layout,
            parameters,
            wide,
            beta1,
            beta2,
            self._eps,
            learning_rate * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t),
            1.0 - learning_rate * self._weight_decay,
            t % self._frequency == 0,
            self._state,
            self._scratch,
        )

    def state(self) -> dict[str, F64 | I64]:
        """Copy of all that the next steps depend on.

        Returns
        -------
        dict of arrays
            "first" and "second" float64[N], "outer" and "bases" float64[M], "steps" int64[1].
        """
        arrays: dict[str, F64 | I64] = {k: v.copy() for k, v in self._state._asdict().items()}
        return {**arrays, "steps": np.array([self._steps])}

    def restore(self, state: Mapping[str, F64 | I64]) -> None:
        """Go on from a state of an optimiser of the same tensors."""
        for name, array in self._state._asdict().items():
            array[:] = state[name]
        self._steps = int(state["steps"][0])


def _arrange(
    shapes: Sequence[tuple[int, ...]], largest: int
) -> tuple[_Layout, list[tuple[int, int]]]:
    """Return the layout of tensors, and first number and size of every matrix."""
    starts = np.cumsum([0] + [math.prod(shape) for shape in shapes])
    matrices: list[tuple[int, int]] = []
    end = 0
    n_dimensions = max((len(shape) for shape in shapes), default=0)
    sizes = np.zeros((len(shapes), n_dimensions), np.int64)
    places = np.full((len(shapes), n_dimensions), -1)
    n_sizes = np.zeros(len(shapes), np.int64)
    for i, shape in enumerate(shapes):
        wide = [n for n in shape if n > 1]
        if len(shape) < 2 or not math.prod(shape) or not any(n <= largest for n in wide):
            continue
        n_sizes[i] = len(wide)
        for j, n in enumerate(wide):
            sizes[i, j] = n
            if n <= largest:
                places[i, j] = end
                matrices.append((end, n))
                end += n * n
    return _Layout(starts, n_sizes, sizes, places), matrices


@kernel()
def _multiply(a: F64, b: F64, c: F64) -> None:
    """C = a @ b, square."""
    n = a.shape[0]
    for i in range(n):
        row = c[i]
        for j in range(n):
            row[j] = 0.0
        for k in range(0, n - 3, 4):
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            for j in range(n):
                row[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j])
        for k in range(n - n % 4, n):
            a0, b0 = a[i, k], b[k]
            for j in range(n):
                row[j] += a0 * b0[j]


@kernel()
def _reflect(vector: F64, tau: float, column: int, a: F64, row: F64) -> None:
    """Take (1 - tau v v^T) a in the columns from ``column``; ``vector`` has the end of v."""
    first = a.shape[0] - vector.size
    w = row[column : a.shape[0]]
    for j in range(w.size):
        w[j] = 0.0
    for i in range(vector.size):
        factor, line = vector[i], a[first + i, column:]
        for j in range(w.size):
            w[j] += factor * line[j]
    for i in range(vector.size):
        factor, line = tau * vector[i], a[first + i, column:]
        for j in range(w.size):
            line[j] -= factor * w[j]


@kernel()
def _orthonormalise(a: F64, vectors: F64, taus: F64, row: F64, q: F64) -> None:
    """Orthonormal factor q of the QR decomposition of a, by reflections, so of any rank.

    A column that is as good as zero below the diagonal is not reflected.

    Parameters
    ----------
    a, vectors : float64[n, n]
        The matrix, which is destroyed, and scratch.
    taus, row : float64[>= n]
        Scratch.
    q : float64[n, n]
        Output.
    """
    n = a.shape[0]
    for k in range(n):
        v, below = vectors[k, k:], 0.0
        for i in range(1, v.size):
            v[i] = a[k + i, k]
            below += v[i] * v[i]
        taus[k] = 0.0
        if below < _NOTHING:
            continue
        top = a[k, k]
        end = -math.copysign(math.sqrt(top * top + below), top)
        taus[k] = (end - top) / end
        v[0] = 1.0
        for i in range(1, v.size):
            v[i] /= top - end
        _reflect(v, taus[k], k + 1, a, row)
    for i in range(n):
        for j in range(n):
            q[i, j] = 0.0
        q[i, i] = 1.0
    for k in range(n - 1, -1, -1):
        if taus[k] != 0.0:
            _reflect(vectors[k, k:], taus[k], k, q, row)


@kernel()
def _sort(values: F64, order: I64) -> None:
    """Order of descending values; equal ones stay in their order."""
    for i in range(values.size):
        k = i
        while k > 0 and values[order[k - 1]] < values[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


@kernel()
def _permute(x: F64, order: I64, before: int, turned: F64) -> None:
    """Take index order[i] for i along the dimension that has ``before`` numbers in front of it."""
    n = order.size
    after = x.size // (before * n)
    for k in range(x.size):
        turned[k] = x[k]
    old, new = turned[: x.size].reshape(before, n, after), x.reshape(before, n, after)
    for i in range(before):
        for j in range(n):
            source, target = old[i, order[j]], new[i, j]
            for k in range(after):
                target[k] = source[k]


@kernel()
def _turn(x: F64, matrix: F64, y: F64) -> None:
    """Y = x^T @ matrix, for x of shape (n, rest)."""
    n, rest = x.shape
    for r in range(rest):
        row = y[r]
        for b in range(n):
            row[b] = 0.0
        for a in range(n):
            factor, line = x[a, r], matrix[a]
            for b in range(n):
                row[b] += factor * line[b]


@kernel()
def _transpose(x: F64, y: F64) -> None:
    """Y = x^T."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[j, i] = x[i, j]


@kernel()
def _rotate(
    x: F64, tensor: int, back: bool, layout: _Layout, bases: F64, scratch: _Scratch
) -> None:
    """Put x in the eigenbases of a tensor, or back in the plain one, to ``scratch.turned[0]``.

    Every dimension in turn comes first, is contracted with the rows of its matrix and goes last, so
    that in the end all are in order.
    """
    n_sizes = layout.n_sizes[tensor]
    here = n_sizes % 2  # so that the result is in part 0
    for k in range(x.size):
        scratch.turned[here, k] = x[k]
    for d in range(n_sizes):
        n, place = layout.sizes[tensor, d], layout.places[tensor, d]
        source = scratch.turned[here, : x.size].reshape(n, x.size // n)
        target = scratch.turned[1 - here, : x.size].reshape(x.size // n, n)
        if place < 0:
            _transpose(source, target)
        else:
            matrix = bases[place : place + n * n].reshape(n, n)
            if back:
                transposed = scratch.square[0, : n * n].reshape(n, n)
                _transpose(matrix, transposed)
                _turn(source, transposed, target)
            else:
                _turn(source, matrix, target)
        here = 1 - here


@kernel()
def _accumulate(
    gradient: F64, tensor: int, beta2: float, layout: _Layout, outer: F64, scratch: _Scratch
) -> None:
    """GG_j <- beta2 GG_j + (1 - beta2) (gradient unfolded along j) (same)^T."""
    here = 0
    for k in range(gradient.size):
        scratch.turned[here, k] = gradient[k]
    for d in range(layout.n_sizes[tensor]):
        n, place = layout.sizes[tensor, d], layout.places[tensor, d]
        rest = gradient.size // n
        source = scratch.turned[here, : gradient.size].reshape(n, rest)
        rows = scratch.turned[1 - here, : gradient.size].reshape(rest, n)
        _transpose(source, rows)
        if place >= 0:
            squares = outer[place : place + n * n].reshape(n, n)
            for a in range(n):
                line = squares[a]
                for b in range(n):
                    line[b] *= beta2
                for r in range(rest):
                    factor, row = (1.0 - beta2) * source[a, r], rows[r]
                    for b in range(n):
                        line[b] += factor * row[b]
        here = 1 - here


@kernel()
def _refresh(tensor: int, second: F64, layout: _Layout, state: _State, scratch: _Scratch) -> None:
    """Improve the bases by a step of the power method, and take the second moments along.

    Columns are put into descending order of the diagonal of Q^T GG Q first.
    """
    before = 1
    for d in range(layout.n_sizes[tensor]):
        n, place = layout.sizes[tensor, d], layout.places[tensor, d]
        if place >= 0:
            basis = state.bases[place : place + n * n].reshape(n, n)
            product = scratch.square[0, : n * n].reshape(n, n)
            ordered = scratch.square[1, : n * n].reshape(n, n)
            _multiply(state.outer[place : place + n * n].reshape(n, n), basis, product)
            estimate, order = scratch.rows[0, :n], scratch.order[:n]
            for j in range(n):
                estimate[j] = 0.0
            for i in range(n):
                for j in range(n):
                    estimate[j] += basis[i, j] * product[i, j]
            _sort(estimate, order)
            for i in range(n):
                for j in range(n):
                    ordered[i, j] = product[i, order[j]]
            _permute(second, order, before, scratch.turned[0])
            _orthonormalise(ordered, product, scratch.rows[0], scratch.rows[1], basis)
        before *= n


@kernel()
def _look(layout: _Layout, gradients: F64, beta2: float, state: _State, scratch: _Scratch) -> None:
    """Take the first gradients into the preconditioners."""
    for i in range(layout.n_sizes.size):
        part = gradients[layout.starts[i] : layout.starts[i + 1]]
        _accumulate(part, i, beta2, layout, state.outer, scratch)


@kernel()
def _step(
    layout: _Layout,
    parameters: F32,
    gradients: F64,
    beta1: float,
    beta2: float,
    eps: float,
    size: float,
    decay: float,
    refreshes: bool,
    state: _State,
    scratch: _Scratch,
) -> None:
    """Update all parameters, then the preconditioners and, if asked for, the bases.

    Parameters
    ----------
    size : float
        Learning rate, corrected for moments that began with zero.
    decay : float
        Factor of the parameters.
    """
    for i in range(layout.n_sizes.size):
        start, end = layout.starts[i], layout.starts[i + 1]
        x, g = parameters[start:end], gradients[start:end]
        first, second = state.first[start:end], state.second[start:end]
        turned = scratch.turned[0, : x.size]
        for k in range(x.size):
            first[k] = beta1 * first[k] + (1.0 - beta1) * g[k]
        _rotate(g, i, False, layout, state.bases, scratch)
        for k in range(x.size):
            second[k] = beta2 * second[k] + (1.0 - beta2) * turned[k] * turned[k]
        _rotate(first, i, False, layout, state.bases, scratch)
        for k in range(x.size):
            turned[k] /= math.sqrt(second[k]) + eps
        _rotate(turned, i, True, layout, state.bases, scratch)
        for k in range(x.size):
            x[k] = (x[k] - size * turned[k]) * decay
        _accumulate(g, i, beta2, layout, state.outer, scratch)
        if refreshes:
            _refresh(i, second, layout, state, scratch)
