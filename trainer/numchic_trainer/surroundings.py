# SPDX-License-Identifier: BSD-3-Clause
"""torch as an encode needs it, whatever the host process has set; afterwards it is as before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from numchic_bitstream import UsageError


@contextmanager
def surroundings(device: str) -> Iterator[None]:
    """Set threads, gradients, precision and the type of new tensors for a block.

    torch has one thread in it: on the CPU the kernels share the work among threads of their own,
    so that results do not depend on their number.

    Raises
    ------
    UsageError
        This machine has no such device.
    """
    kind = _kind_of(device)
    with ExitStack() as stack:
        stack.enter_context(_PROCESS.prepared())
        if torch.get_default_device().type != "cpu":  # even on the CPU it slows every call
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for name in filter(torch.amp.is_autocast_available, {"cpu", kind}):
            stack.enter_context(torch.autocast(name, enabled=False))
        yield


class _Process:
    """What all threads share: the first encode changes it, the last one restores it.

    The number of torch's threads is that of each thread; but a thread that is new to torch takes
    over what any other one has set last, even if that was an encode.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._dtype = torch.float32
        self._n_threads = 1
        self._here = threading.local()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self._lock:
            before = self._enter()
        inside, self._here.inside = getattr(self._here, "inside", False), True
        try:
            yield
        finally:
            self._here.inside = inside
            with self._lock:
                self._leave(before)

    def _enter(self) -> int:
        """Return the number of threads that is to be restored here."""
        found = torch.get_num_threads()
        torch.set_num_threads(1)
        self._n_inside += 1
        if self._n_inside == 1:
            self._n_threads, self._dtype = found, torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        taken_over = found == 1 and not getattr(self._here, "inside", False)
        return self._n_threads if taken_over else found

    def _leave(self, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self._n_inside -= 1
        if not self._n_inside:
            torch.set_default_dtype(self._dtype)


_PROCESS = _Process()


def _kind_of(device: str) -> str:
    try:
        one = torch.ones(1, device=device)
        one.item()  # which not every device that torch has a name for can give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError("no such device here", "device", None, device) from error
    return one.device.type
