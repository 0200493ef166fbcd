# SPDX-License-Identifier: BSD-3-Clause
"""What a reader should know of how a study was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from numchic._version import __version__
from numchic_trainer.study.codec import Codec, Numchic
from numchic_trainer.study.config import StudyConfig
from numchic_trainer.study.images import ImageCodec, version_of


def facts_of(
    config: StudyConfig, codecs: Sequence[Codec], machines: Iterable[str]
) -> dict[str, str]:
    """What a reader should know of how it was measured."""
    common = config.unusual()
    # Iterations, which are among the others, take the place of an effort.
    effort = "" if "iterations" in common else f"; effort {', '.join(config.effort)}"
    facts = {
        "numchic": f"{__version__}: lambda {', '.join(map(str, config.lmbda))}; preset "
        f"{', '.join(config.preset)}{effort}"
        + "".join(f"; {name} {value}" for name, value in common.items()),
    }
    for codec in codecs:
        if isinstance(codec, ImageCodec):
            options = ", ".join(f"{k} {v}" for k, v in codec.options)
            version = version_of(codec.format)
            facts[codec.name] = f"{version}: {options}; qualities {', '.join(codec.settings)}"
        elif not isinstance(codec, Numchic):
            facts[codec.name] = codec.identity(", ".join(codec.settings))
    facts["measured on"] = "; ".join(machines)
    return facts
