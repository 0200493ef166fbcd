# SPDX-License-Identifier: BSD-3-Clause
"""Opt-in plugin for Pillow; imports Pillow only when it is registered."""

from __future__ import annotations

from numchic_bitstream.limits import Limits


def register_pillow(*, limits: Limits | None = None) -> None:
    """Make ``PIL.Image.open`` read Cool-chic pictures and videos with 8-bit RGB samples.

    Opening reads size and mode from the headers; a frame is decoded when its pixels are first
    needed. Videos have ``n_frames``, ``seek`` and ``tell``. ``Image.save("picture.cool")`` encodes,
    if the trainer is installed; ``effort="fast"``, ``lmbda=1e-3`` and all other options are
    settings of :class:`numchic_trainer.TrainConfig`.

    Errors are those that users of Pillow expect. If the headers of a stream cannot be read, or a
    payload is cut off, a ``PIL.UnidentifiedImageError`` says what is wrong; other damage is an
    ``OSError`` on loading. What exceeds ``limits`` is a :class:`LimitError` that is also a
    ``PIL.Image.DecompressionBombError``; Pillow's own limit on the number of pixels applies as
    well. What Pillow has no mode for (YUV, whose conversion the stream does not define, and more
    than 8 bits) is an :class:`UnsupportedError` that is also a ``PIL.UnidentifiedImageError``; use
    :func:`numchic.decode` for it.

    Parameters
    ----------
    limits : Limits, optional
        Limits for all pictures opened this way.

    Examples
    --------
    >>> numchic.register_pillow()                       # doctest: +SKIP
    >>> Image.open("picture.cool").resize((64, 64))     # doctest: +SKIP
    >>> image.save("picture.cool", effort="fast")       # doctest: +SKIP
    """
    from numchic.files.pillow_image import register

    register(limits or Limits())
