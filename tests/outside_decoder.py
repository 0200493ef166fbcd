# SPDX-License-Identifier: BSD-3-Clause
"""A decoder as others would plug theirs in: ``outside_decoder.py PACKAGES INPUT OUTPUT STAGES``.

PACKAGES is the folder with the packages to use. Exit status: 0 good, 1 refused, 3 not supported.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(packages: str, source: str, output: str, stages: str) -> int:
    """Decode one stream and write what was computed on the way."""
    sys.path.insert(0, packages)
    import numchic
    from numchic.files.images import encode_image, write_file
    from numchic_conformance.stages import decode_stages, write_stages

    assert Path(numchic.__file__).is_relative_to(packages)
    data = Path(source).read_bytes()
    try:
        write_stages(decode_stages(data), Path(stages))
        pictures = list(numchic.decode_frames(data, threads=1))
    except numchic.UnsupportedError:
        return 3
    except numchic.NumchicError as error:
        print(error)
        return 1
    # What must be refused has a name for RGB, whatever it holds.
    kind = "ppm" if pictures[0].data_type == "rgb" else "yuv"
    write_file(Path(output), b"".join(encode_image(picture, kind) for picture in pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
