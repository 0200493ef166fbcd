# SPDX-License-Identifier: BSD-3-Clause
"""Frames over time, for all generations: which to decode, when, and how long to keep them.

Every frame can be decoded once its references are there. So frames are not decoded in the order in
which the stream has them, which would keep all intra and P frames of a video in memory from the
start, but as the display needs them. Several threads decode a frame each; a frame waits for its
references only when its latents and signals are ready. Pictures that nobody needs are forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

from numchic.picture import Picture
from numchic.progress import Progress
from numchic_bitstream.structure import CodedFrame

_PATIENCE = 0.1  # seconds between two reports while other threads work


References = Callable[[], Sequence[Picture]]
"""Gives the pictures that a frame is predicted from, and waits for them if need be."""


class DecodedFrame(NamedTuple):
    """A picture, and the CRC-32 of its latents where a trailer may tell it."""

    picture: Picture
    latents_crc: int = 0


class FrameDecoder(Protocol):
    """Decodes one frame of a parsed stream; see :func:`numchic.generation5.decode_frame`."""

    def __call__(
        self,
        index: int,
        references: References,
        *,
        threads: int,
        progress: Progress | None,
    ) -> DecodedFrame:
        """Decode the frame at a place in coding order."""


def decoding_order(places: Sequence[CodedFrame], wanted: Sequence[int]) -> list[int]:
    """Order in which to decode some frames and what they depend on.

    Parameters
    ----------
    places : sequence of CodedFrame
        In coding order.
    wanted : sequence of int
        Display indices, in the order in which they will be shown.

    Returns
    -------
    list of int
        Places in coding order. Every frame follows its references, and comes as late as its first
        use allows.

    Examples
    --------
    >>> structure = {0: (), 4: (0,), 8: (4,), 2: (0, 4), 1: (0, 2), 3: (2, 4)}
    >>> places = [CodedFrame(i, "IPB"[len(r)], r) for i, r in structure.items()]
    >>> [places[i].display_index for i in decoding_order(places, [0, 1, 2, 3, 4])]
    [0, 4, 2, 1, 3]
    """
    place_of = {frame.display_index: i for i, frame in enumerate(places)}
    order: dict[int, None] = {}  # display indices; a dict for its order
    for display_index in wanted:
        pending = [display_index]
        while pending:
            references = places[place_of[pending[-1]]].references
            missing = [i for i in reversed(references) if i not in order]
            pending += missing
            if not missing:
                order[pending.pop()] = None
    return [place_of[i] for i in order]


def max_pictures(places: Sequence[CodedFrame], wanted: Sequence[int], ahead: int = 0) -> int:
    """Upper bound of the number of pictures that are in memory at the same time.

    Parameters
    ----------
    places, wanted
        As for :func:`decoding_order`.
    ahead : int
        How many frames are begun before their time. They and their references are held as well.
    """
    uses = _count_uses(places, wanted)

    def release(indices: Sequence[int]) -> int:
        """Count a use of some frames, and those that nobody needs any more."""
        uses.subtract(indices)
        return sum(uses[i] == 0 for i in indices)

    order = decoding_order(places, wanted)
    held = most = begun = 0
    for display_index, due in zip(wanted, _due(places, wanted), strict=True):
        for place in order[begun:due]:
            held += 1
            most = max(most, held)
            held -= release(places[place].references)
        held -= release([display_index])
        begun = max(begun, due)
    return most + 1 + 3 * ahead  # whoever looks at one while the next is decoded keeps it


def _count_uses(places: Sequence[CodedFrame], wanted: Sequence[int]) -> Counter[int]:
    """How often each frame is shown or referred to."""
    uses = Counter(wanted)
    for place in decoding_order(places, wanted):
        uses.update(places[place].references)
    return uses


def _due(places: Sequence[CodedFrame], wanted: Sequence[int]) -> list[int]:
    """How many frames of the decoding order each wanted frame needs to be begun."""
    order = decoding_order(places, wanted)
    position = {places[place].display_index: i for i, place in enumerate(order)}
    return [position[i] + 1 for i in wanted]


def decode_video(
    places: Sequence[CodedFrame],
    wanted: Sequence[int],
    decode_frame: FrameDecoder,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> Iterator[tuple[int, DecodedFrame]]:
    """Decode frames and what they depend on.

    Parameters
    ----------
    places : sequence of CodedFrame
        In coding order.
    wanted : sequence of int
        Display indices in increasing order, without repetition.
    decode_frame : FrameDecoder
    threads : int
        Number of threads that compute at the same time.
    progress : callable, optional
        Called from the calling thread; an exception it raises stops the decoding. For a single
        frame with the stages of that frame, otherwise with "frames".

    Yields
    ------
    (int, DecodedFrame)
        Place in coding order and frame, in display order. Frames that are only references are not
        yielded.
    """
    loop = _Loop(places, wanted, decode_frame, threads, progress)
    try:
        yield from loop.run()
    finally:
        loop.close()


class _Loop:
    """State of one :func:`decode_video`."""

    def __init__(
        self,
        places: Sequence[CodedFrame],
        wanted: Sequence[int],
        decode_frame: FrameDecoder,
        threads: int,
        progress: Progress | None,
    ) -> None:
        self.places = places
        self.wanted = wanted
        self.decode_frame = decode_frame
        self.order = decoding_order(places, wanted)
        # A single frame is left to the threads of its own decoder.
        single = len(self.order) == 1
        self.threads_per_frame = threads if single else 1
        self.pool = None if single or threads == 1 else ThreadPoolExecutor(threads, "numchic")
        self.ahead = 0 if self.pool is None else threads
        self.progress = progress
        # Frames begun, by display index, as long as somebody will ask for them.
        self.frames: dict[int, Future[DecodedFrame]] = {}
        self.uses = _count_uses(places, wanted)
        self.finished: list[int] = []  # places
        self.over = False

    def close(self) -> None:
        self.over = True
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(self) -> Iterator[tuple[int, DecodedFrame]]:
        begun = 0
        for display_index, due in zip(self.wanted, _due(self.places, self.wanted), strict=True):
            for place in self.order[begun : due + self.ahead]:
                self._begin(place)
            begun = max(begun, due + self.ahead)
            place = self.order[due - 1]
            yield place, self._wait(self._use(display_index))

    def _use(self, display_index: int) -> Future[DecodedFrame]:
        """Frame for one of its uses; after the last one it is forgotten."""
        self.uses[display_index] -= 1
        if self.uses[display_index]:
            return self.frames[display_index]
        return self.frames.pop(display_index)

    def _begin(self, place: int) -> None:
        frame = self.places[place]
        waiting = [self._use(i) for i in frame.references]
        if self.pool is not None:
            future = self.pool.submit(self._decode, place, waiting)
        else:
            future = Future()
            future.set_result(self._decode(place, waiting))
        self.frames[frame.display_index] = future

    def _decode(self, place: int, waiting: Sequence[Future[DecodedFrame]]) -> DecodedFrame:
        def references() -> list[Picture]:
            return [future.result().picture for future in waiting]

        frame = self.decode_frame(
            place, references, threads=self.threads_per_frame, progress=self._report
        )
        self.finished.append(place)
        return frame

    def _report(self, *stage: Any) -> None:
        """Called by the decoder of a frame, in whatever thread that works."""
        if self.over:
            raise CancelledError
        if self.pool is not None or self.progress is None:
            return
        if len(self.order) == 1:
            self.progress(*stage)
        else:
            self._report_frames()

    def _report_frames(self) -> None:
        if self.progress is not None and len(self.order) > 1:
            self.progress("frames", len(self.finished), len(self.order))

    def _wait(self, future: Future[DecodedFrame]) -> DecodedFrame:
        while not wait([future], _PATIENCE).done:
            self._report_frames()
        self._report_frames()
        return future.result()
