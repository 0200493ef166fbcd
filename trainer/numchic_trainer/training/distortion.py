# SPDX-License-Identifier: BSD-3-Clause
"""How far a decoded picture is from its original: what a loss puts beside the price of bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from numchic_bitstream import UsageError
from numchic_trainer.settings import shown

Planes = tuple[Tensor, Tensor, Tensor]
"""Planes of a picture, each (H, W) in [0, 1]; chroma of 4:2:0 is (H // 2, W // 2)."""

Value = TypeVar("Value")


class Distortion(Protocol):
    """Any function of two pictures that torch can differentiate."""

    def __call__(self, decoded: Planes, original: Planes, /) -> Tensor:
        """Distortion of a decoded picture: a scalar that is smaller the better it is."""
        ...


class Measure(Distortion, Protocol):
    """A distortion as training uses it.

    Attributes
    ----------
    name : str
        What logs call it.
    precision : torch.dtype
        A stream is judged with planes of this type.
    """

    @property
    def name(self) -> str:
        """What logs call it."""
        ...

    @property
    def precision(self) -> torch.dtype:
        """Type of the planes with which a stream is judged."""
        ...

    def window(self, rows: slice, columns: slice) -> Measure:
        """Return the same measure for a window of the picture; bounds are even in 4:2:0."""
        ...


class SquaredError:
    """Mean squared error over all samples of all planes.

    Parameters
    ----------
    weights : Tensor, shape (H, W), optional
        Weight of every luma sample's squared error, with a mean of 1 over the whole picture, so
        that the windows of a picture have the picture's distortion on average. Chroma of 4:2:0
        has the means of 2 x 2 weights.
    """

    precision = torch.float64

    def __init__(self, weights: Tensor | None = None) -> None:
        self.weights = weights

    @property
    def name(self) -> str:
        """What logs call it."""
        return "mse" if self.weights is None else "weighted mse"

    def __call__(self, decoded: Planes, original: Planes) -> Tensor:
        """Distortion of a decoded picture, a scalar."""
        total = decoded[0].new_zeros(())
        for ours, theirs in zip(decoded, original, strict=True):
            error = (ours - theirs) ** 2
            if self.weights is not None and error.numel():
                whole = error.shape == self.weights.shape
                error = error * (self.weights if whole else self._halved)
            total = total + error.sum()
        return total / sum(plane.numel() for plane in original)

    @cached_property
    def _halved(self) -> Tensor:
        assert self.weights is not None
        return F.avg_pool2d(self.weights[None], 2)[0]

    def window(self, rows: slice, columns: slice) -> SquaredError:
        """Return the same measure for a window of the picture."""
        return SquaredError(None if self.weights is None else self.weights[rows, columns])


class UserFunction:
    """A distortion that the user has written.

    Parameters
    ----------
    function : Distortion
        It is given planes of float32, since it may hold a network.
    """

    name = "user function"
    precision = torch.float32

    def __init__(self, function: Distortion) -> None:
        self.function = function

    def __call__(self, decoded: Planes, original: Planes) -> Tensor:
        """Distortion of a decoded picture, a scalar."""
        return self.function(decoded, original)

    def window(self, rows: slice, columns: slice) -> UserFunction:  # noqa: ARG002
        """Return the same function, which takes pictures of any size."""
        return self

    def check(self, original: Planes) -> None:
        """Try the function on the original and on a picture that is slightly different.

        Raises
        ------
        UsageError
            The result is no finite scalar, or cannot be differentiated by the decoded picture.
        """
        self._value(original, original)
        decoded = tuple(_slightly_different(plane).requires_grad_() for plane in original)
        value = self._value(decoded, original)  # type: ignore[arg-type]
        if not value.requires_grad:
            raise _complaint("it has no gradient", "no gradient", "a function of what is decoded")
        gradients = torch.autograd.grad(value, decoded, allow_unused=True, materialize_grads=True)
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            raise _complaint("its gradient is not finite", "NaN or infinity", "finite numbers")
        if not any(gradient.any() for gradient in gradients):
            raise _complaint("its gradient is zero", "zeros", "a function of what is decoded")

    def _value(self, decoded: Planes, original: Planes) -> Tensor:
        value: object = self.function(decoded, original)
        if not isinstance(value, Tensor):
            raise _complaint("it gives no tensor", shown(value), "a scalar tensor")
        if value.shape or not value.is_floating_point():
            found = f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
            raise _complaint("it gives no scalar", found, "a scalar tensor of floats")
        if not torch.isfinite(value):
            raise _complaint("it gives no number", value.item(), "a finite number")
        return value


def _slightly_different(plane: Tensor) -> Tensor:
    """Change every other sample by 1/32.

    The others stay equal, as many of a good encode are: there roots have no finite gradient.
    """
    changed = plane.clone().flatten()
    changed[::2] += torch.where(changed[::2] < 0.5, 1 / 32, -1 / 32)
    return changed.view(plane.shape)


def _complaint(reason: str, found: object, allowed: str) -> UsageError:
    return UsageError(f"not a distortion: {reason}", "distortion", None, found, allowed)


class Kept(Generic[Value]):
    """What was computed of an original; only another one makes it be computed again.

    Parameters
    ----------
    compute : callable
    """

    def __init__(self, compute: Callable[[Planes], Value]) -> None:
        self._compute = compute
        self._latest: tuple[Planes, Value] | None = None

    def __call__(self, original: Planes) -> Value:
        """Return it for an original."""
        if self._latest is None or self._latest[0] is not original:
            with torch.no_grad():
                self._latest = original, self._compute(original)
        return self._latest[1]
