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
from functools import partial
from typing import NamedTuple, Protocol

from numchic.picture import Picture
from numchic.schedule import Job, Meter, Progress, Schedule
from numchic_bitstream.structure import CodedFrame

References = Callable[[], Sequence[Picture]]
"""Gives the pictures that a frame is predicted from, and waits for them if need be."""


class DecodedFrame(NamedTuple):
    """A picture, and the CRC-32 of its latents where a trailer may tell it."""

    picture: Picture
    latents_crc: int = 0


class FrameDecoder(Protocol):
    """Decodes one frame of a parsed stream; see :class:`numchic.generation.Generation`."""

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
        See :func:`decoding_order`.
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
    order = decoding_order(places, wanted)
    if len(order) == 1:  # left to the threads of its own decoder
        yield order[0], decode_frame(order[0], tuple, threads=threads, progress=progress)
        return
    meter = Meter(progress, {"frames": len(order)})
    with Schedule(threads, meter) as schedule:
        loop = _Loop(places, wanted, decode_frame, meter, schedule)
        begun, ahead = 0, schedule.threads if schedule.threads > 1 else 0
        for display_index, due in zip(wanted, _due(places, wanted), strict=True):
            for place in order[begun : due + ahead]:
                loop.begin(place)
            begun = max(begun, due + ahead)
            yield order[due - 1], schedule.help(loop.use(display_index))


class _Loop:
    """State of one :func:`decode_video`."""

    def __init__(
        self,
        places: Sequence[CodedFrame],
        wanted: Sequence[int],
        decode_frame: FrameDecoder,
        meter: Meter,
        schedule: Schedule,
    ) -> None:
        self.places = places
        self.decode_frame = decode_frame
        self.meter = meter
        self.schedule = schedule
        # Frames begun, by display index, as long as somebody will ask for them.
        self.frames: dict[int, Job[DecodedFrame]] = {}
        self.uses = _count_uses(places, wanted)

    def use(self, display_index: int) -> Job[DecodedFrame]:
        """Frame for one of its uses; after the last one it is forgotten."""
        self.uses[display_index] -= 1
        if self.uses[display_index]:
            return self.frames[display_index]
        return self.frames.pop(display_index)

    def begin(self, place: int) -> None:
        """Add the job that decodes a frame."""
        frame = self.places[place]
        references = [self.use(i) for i in frame.references]
        work = partial(self._decode, place, references)
        self.frames[frame.display_index] = self.schedule.add(work)

    def _decode(self, place: int, references: Sequence[Job[DecodedFrame]]) -> DecodedFrame:
        def wait() -> list[Picture]:
            return [self.schedule.wait(job).picture for job in references]

        def pause(*_: object) -> None:
            self.schedule.pause()

        frame = self.decode_frame(place, wait, threads=1, progress=pause)
        self.meter.advance("frames", 1)
        return frame
