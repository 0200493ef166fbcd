# SPDX-License-Identifier: BSD-3-Clause
"""Stochastic layer of the top-down pass of a ladder VAE (ladder-stochastic, sections 1 to 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from numchic_trainer.ladder.gaussian import Gaussian, LogVar, Mean, NaiveLogVar


class KLMetrics(TypedDict):
    """Information in a latent, in nats (section 7); all None where there is nothing to compare.

    ``kl_elementwise`` has shape (B, c_vars, [Z], Y, X); ``kl_samplewise`` and
    ``kl_samplewise_restricted`` (B,); ``kl_channelwise`` (B, c_vars); ``kl_spatial``
    (B, [Z], Y, X).
    """

    kl_elementwise: Tensor | None
    kl_samplewise: Tensor | None
    kl_samplewise_restricted: Tensor | None
    kl_channelwise: Tensor | None
    kl_spatial: Tensor | None


class StochasticData(KLMetrics):
    """Second value of :meth:`NormalStochasticBlock.forward` (section 9).

    ``z`` is the latent, shape (B, c_vars, [Z], Y, X); ``p_params`` and ``q_params`` are pairs of a
    mean and a log-variance object, after cropping and copying; ``logprob_q`` is ln q(z), shape
    (B,); ``qvar_max`` the largest log-variance of q, a scalar, not detached, and 0 without q.
    Without q ``q_params`` and ``logprob_q`` are None.
    """

    z: Tensor
    p_params: tuple[Mean, LogVar]
    q_params: tuple[Mean, LogVar] | None
    logprob_q: Tensor | None
    qvar_max: Tensor


class NormalStochasticBlock(nn.Module):
    """Turn a feature map into a prior p, another one into a posterior q, and draw a latent.

    Tensors have shape (B, C, Y, X) in two dimensions and (B, C, Z, Y, X) in three.

    Parameters
    ----------
    c_in : int
        Channels of the feature maps.
    c_vars : int
        Channels of the latent.
    c_out : int
        Channels of the first output of :meth:`forward`.
    conv_dims : {2, 3}
        Number of spatial axes.
    kernel : int
        Size of all convolutions, odd.
    transform_p_params : bool
        Whether the prior goes through a convolution; otherwise ``p_params`` are mean and raw
        log-variance, 2 * c_vars channels.
    vanilla_latent_hw : int, (int, int) or None
        Size of the central window (Y, X) for ``kl_samplewise_restricted``; None for no window.
    use_naive_exponential : bool
        Take the variance to be exp(r) instead of the stable map of section 3.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> block = NormalStochasticBlock(c_in=8, c_vars=2, c_out=4)
    >>> out, data = block(torch.zeros(3, 8, 16, 24), torch.zeros(3, 8, 16, 24))
    >>> out.shape, data["z"].shape, data["kl_samplewise"].shape
    (torch.Size([3, 4, 16, 24]), torch.Size([3, 2, 16, 24]), torch.Size([3]))
    """

    def __init__(
        self,
        c_in: int,
        c_vars: int,
        c_out: int,
        conv_dims: int = 2,
        kernel: int = 3,
        transform_p_params: bool = True,
        vanilla_latent_hw: int | Sequence[int] | None = None,
        use_naive_exponential: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("c_in", c_in), ("c_vars", c_vars), ("c_out", c_out)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if conv_dims not in {2, 3}:
            raise ValueError(f"conv_dims must be 2 or 3, not {conv_dims}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, not {kernel}")
        self.c_in, self.c_vars, self.c_out = c_in, c_vars, c_out
        self.conv_dims = conv_dims
        self.transform_p_params = transform_p_params
        self.vanilla_latent_hw = vanilla_latent_hw
        self.use_naive_exponential = use_naive_exponential
        self._window = _window(vanilla_latent_hw)
        conv = nn.Conv2d if conv_dims == 2 else nn.Conv3d
        if transform_p_params:
            self.conv_in_p = conv(c_in, 2 * c_vars, kernel, padding=kernel // 2)
        self.conv_in_q = conv(c_in, 2 * c_vars, kernel, padding=kernel // 2)
        self.conv_out = conv(c_vars, c_out, kernel, padding=kernel // 2)

    def forward(
        self,
        p_params: Tensor,
        q_params: Tensor | None = None,
        forced_latent: Tensor | None = None,
        force_constant_output: bool = False,
        analytical_kl: bool = False,
        mode_pred: bool = False,
        use_uncond_mode: bool = False,
        var_clip_max: float | None = None,
    ) -> tuple[Tensor, StochasticData]:
        """Draw a latent and send it through the output convolution (section 9).

        Parameters
        ----------
        p_params : Tensor, shape (B or 1, c_in, [Z], Y, X)
            What the layer above gives; 2 * c_vars channels if not transformed.
        q_params : Tensor, shape (B, c_in, [Z], Y, X), optional
            What the picture says as well. If its spatial size is smaller, p is cropped around its
            centre. Odd sizes are made even: see :meth:`process_q_params`.
        forced_latent : Tensor, optional
            Latent to be used instead of a sample.
        force_constant_output : bool
            Copy the first sample, latent and parameters, over the batch.
        analytical_kl : bool
            Compute the KL divergence in closed form, not from the one sample.
        mode_pred : bool
            Prediction: no KL divergence, and p is not cropped.
        use_uncond_mode : bool
            In prediction: the mean of p, whatever q is.
        var_clip_max : float, optional
            Largest raw log-variance of p and q.

        Returns
        -------
        out : Tensor, shape (B, c_out, [Z], Y, X)
        data : StochasticData

        Raises
        ------
        ValueError
            Sizes do not go together, or parameters are NaN.
        """
        if mode_pred and use_uncond_mode:
            q_params = None
        self._check(p_params, q_params)
        p = self.process_p_params(p_params, var_clip_max)
        q = None if q_params is None else self.process_q_params(q_params, var_clip_max)
        if q is not None and not mode_pred:
            size = q.mean.get().shape[-2:]
            if p.mean.get().shape[-2:] != size:
                p = p.map(lambda x: _centre_crop(x, size))
        source = p if q is None else q
        z = self.get_z(source.distribution, forced_latent, mode_pred, use_uncond_mode)
        if force_constant_output:
            n = len(z)
            z = _copy_first(z, n)
            p = p.map(lambda x: _copy_first(x, n))
            q = None if q is None else q.map(lambda x: _copy_first(x, n))
        kl = _NO_METRICS
        if q is not None:
            kl = self.compute_kl_metrics(
                p.distribution, p[:2], q.distribution, q[:2], mode_pred, analytical_kl, z
            )
        data: StochasticData = {
            "z": z,
            "p_params": p[:2],
            "q_params": None if q is None else q[:2],
            "logprob_q": None if q is None else _sum_samples(_log_prob(q.distribution, z)),
            "qvar_max": z.new_zeros(()) if q is None else q.logvar.get().max(),
            **kl,
        }
        return self.conv_out(z), data

    def get_z(
        self,
        sampling_distrib: Normal,
        forced_latent: Tensor | None,
        mode_pred: bool,
        use_uncond_mode: bool,
    ) -> Tensor:
        """Choose the latent: the forced one, the mean, or a sample (section 6).

        Parameters
        ----------
        sampling_distrib : Normal
        forced_latent : Tensor, optional
            It has the shape of the distribution.
        mode_pred, use_uncond_mode : bool
            The mean is taken if both are true; otherwise one standard normal tensor is drawn from
            torch's global generator.

        Returns
        -------
        Tensor, shape (B, c_vars, [Z], Y, X)

        Raises
        ------
        ValueError
            The forced latent has another shape.
        """
        if forced_latent is not None:
            found, shape = tuple(forced_latent.shape), tuple(sampling_distrib.mean.shape)
            if found != shape:
                raise ValueError(f"forced_latent has shape {found}, the distribution {shape}")
            return forced_latent
        if mode_pred and use_uncond_mode:
            return sampling_distrib.mean
        return sampling_distrib.rsample()

    def sample_from_q(self, q_params: Tensor, var_clip_max: float | None = None) -> Tensor:
        """Draw a latent from the posterior (section 8).

        Parameters
        ----------
        q_params : Tensor, shape (B, c_in, [Z], Y, X)
        var_clip_max : float, optional

        Returns
        -------
        Tensor, shape (B, c_vars, [Z], Y, X)
            Y and X are made even as by :meth:`process_q_params`.
        """
        return self.process_q_params(q_params, var_clip_max)[2].rsample()

    def process_p_params(self, p_params: Tensor, var_clip_max: float | None = None) -> Gaussian:
        """Make the prior (section 4).

        Parameters
        ----------
        p_params : Tensor, shape (B, c_in, [Z], Y, X)
            2 * c_vars channels if not transformed.
        var_clip_max : float, optional
            Largest raw log-variance.

        Returns
        -------
        (mean, logvar, distribution)
            All three have the shape (B, c_vars, [Z], Y, X).

        Raises
        ------
        ValueError
            The number of channels or axes is wrong, or parameters are NaN.
        """
        self._check_shape("p_params", p_params, self._p_channels)
        return self._gaussian(
            self.conv_in_p(p_params) if self.transform_p_params else p_params, var_clip_max
        )

    def process_q_params(
        self, q_params: Tensor, var_clip_max: float | None = None, allow_oddsizes: bool = False
    ) -> Gaussian:
        """Make the posterior (section 5).

        Parameters
        ----------
        q_params : Tensor, shape (B, c_in, [Z], Y, X)
        var_clip_max : float, optional
            Largest raw log-variance.
        allow_oddsizes : bool
            Keep an odd X. Otherwise its last column is dropped, and with it the last row of an odd
            Y, unless there is only one. If X is even nothing is dropped.

        Returns
        -------
        (mean, logvar, distribution)
            All three have the shape (B, c_vars, [Z], Y, X).

        Raises
        ------
        ValueError
            The number of channels or axes is wrong, or parameters are NaN.
        """
        self._check_shape("q_params", q_params, self.c_in)
        both = self.conv_in_q(q_params)
        return self._gaussian(both if allow_oddsizes else _make_even(both), var_clip_max)

    def compute_kl_metrics(
        self,
        p: Normal,
        p_params: tuple[Mean, LogVar],  # noqa: ARG002 - part of the documented interface
        q: Normal,
        q_params: tuple[Mean, LogVar],  # noqa: ARG002
        mode_pred: bool,
        analytical_kl: bool,
        z: Tensor,
    ) -> KLMetrics:
        """Measure the information in a latent in nats (section 7).

        Parameters
        ----------
        p, q : Normal
            Prior and posterior, of shapes that can be broadcast.
        p_params, q_params : pair
            Not read: the distributions have all that is needed.
        mode_pred : bool
            Whether nothing is to be measured: then all entries are None.
        analytical_kl : bool
            Closed form, or else ln q(z) - ln p(z), which can be negative.
        z : Tensor, shape (B, c_vars, [Z], Y, X)

        Returns
        -------
        KLMetrics
        """
        if mode_pred:
            return _NO_METRICS.copy()
        if analytical_kl:
            kl = torch.distributions.kl_divergence(q, p)
        else:
            kl = _log_prob(q, z) - _log_prob(p, z)
        return {
            "kl_elementwise": kl,
            "kl_samplewise": _sum_samples(kl),
            "kl_samplewise_restricted": _sum_samples(self._restricted(kl)),
            "kl_channelwise": kl.flatten(2).sum(2),
            "kl_spatial": kl.sum(1),
        }

    @property
    def _p_channels(self) -> int:
        return self.c_in if self.transform_p_params else 2 * self.c_vars

    def _gaussian(self, both: Tensor, var_clip_max: float | None) -> Gaussian:
        """Split into mean and raw log-variance (section 2)."""
        mean, raw = both.chunk(2, dim=1)
        if var_clip_max is not None:
            raw = torch.clamp(raw, max=var_clip_max)
        kind = NaiveLogVar if self.use_naive_exponential else LogVar
        return Gaussian.of(Mean(mean), kind(raw))

    def _restricted(self, kl: Tensor) -> Tensor:
        """Crop to the central window; an odd border leaves one element more than the window."""
        if self._window is None:
            return kl
        for axis, size in zip((-2, -1), self._window, strict=True):
            n = kl.shape[axis]
            border = max(0, (n - size) // 2)
            kl = kl.narrow(axis, border, n - 2 * border)
        return kl

    def _check_shape(self, name: str, x: Tensor, channels: int) -> None:
        axes = "(B, C, Y, X)" if self.conv_dims == 2 else "(B, C, Z, Y, X)"
        if x.dim() != self.conv_dims + 2 or x.shape[1] != channels:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}; allowed: {axes} with {channels} channels"
            )

    def _check(self, p_params: Tensor, q_params: Tensor | None) -> None:
        """Raise now what would be noticed after a latent has been drawn."""
        self._check_shape("p_params", p_params, self._p_channels)
        if q_params is None:
            return
        self._check_shape("q_params", q_params, self.c_in)
        p, q = tuple(p_params.shape), tuple(q_params.shape)
        if p[0] not in {1, q[0]}:
            raise ValueError(f"batch of p_params is {p[0]}; allowed: 1 or that of q_params, {q[0]}")
        if p[2:-2] != q[2:-2]:
            raise ValueError(f"Z of p_params is {p[2]}, that of q_params {q[2]}")
        if any(a < b for a, b in zip(p[-2:], _even_size(q[-2:]), strict=True)):
            raise ValueError(f"p_params of size {p[-2:]} are smaller than q_params, {q[-2:]}")


_NO_METRICS: KLMetrics = {
    "kl_elementwise": None,
    "kl_samplewise": None,
    "kl_samplewise_restricted": None,
    "kl_channelwise": None,
    "kl_spatial": None,
}


def _window(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"vanilla_latent_hw must be at least 1, or a pair of such, not {size}")
    return pair[0], pair[1]


def _even_size(size: tuple[int, ...]) -> tuple[int, int]:
    """Size (Y, X) without the last column of an odd X and, only then, the last row of an odd Y."""
    height, width = size
    if width % 2 == 0:
        return height, width
    return max(height - height % 2, 1), max(width - 1, 1)


def _make_even(x: Tensor) -> Tensor:
    height, width = _even_size(tuple(x.shape[-2:]))
    return x[..., :height, :width]


def _centre_crop(x: Tensor, size: Sequence[int]) -> Tensor:
    for axis, n in zip((-2, -1), size, strict=True):
        x = x.narrow(axis, (x.shape[axis] - n) // 2, n)
    return x


def _copy_first(x: Tensor, n: int) -> Tensor:
    """Copy sample 0 to a batch of n; a batch of 1 stays one, as it is broadcast anyway."""
    return x[:1].repeat((n if len(x) > 1 else 1,) + (1,) * (x.dim() - 1))


def _log_prob(distribution: Normal, z: Tensor) -> Tensor:
    log_prob: Tensor = distribution.log_prob(z)  # type: ignore[no-untyped-call]
    return log_prob


def _sum_samples(x: Tensor) -> Tensor:
    """Sum over all axes but the batch, shape (B,)."""
    return x.flatten(1).sum(1)
