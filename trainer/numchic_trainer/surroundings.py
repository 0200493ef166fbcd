# SPDX-License-Identifier: BSD-3-Clause
"""torch as an encode needs it, whatever the host process has set; afterwards it is as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from numchic_bitstream import UsageError


@contextmanager
def surroundings(device: str, threads: int) -> Iterator[None]:
    """Set threads, gradients, precision and the type of new tensors for a block.

    Raises
    ------
    UsageError
        This machine has no such device.
    """
    kind = _kind_of(device)
    n_threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, n_threads)
        torch.set_num_threads(threads)
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":  # even on the CPU it slows every call
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for name in filter(torch.amp.is_autocast_available, {"cpu", kind}):
            stack.enter_context(torch.autocast(name, enabled=False))
        yield


def _kind_of(device: str) -> str:
    try:
        one = torch.ones(1, device=device)
        one.item()  # which not every device that torch has a name for can give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError("no such device here", "device", None, device) from error
    return one.device.type
