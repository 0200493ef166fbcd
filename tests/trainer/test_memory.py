# SPDX-License-Identifier: BSD-3-Clause
"""What an encode takes per pixel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from children import compiled_only, linux_only

# Prints the largest memory of a small encode, and of it and a large one.
ENCODE = """
import re, sys
from pathlib import Path
import numpy as np
from numchic_trainer import TrainConfig, encode
from numchic_trainer.report import write_report
from numchic_trainer.source import to_picture

folder = Path(sys.argv[1])
config = TrainConfig(preset="lop", init="ladder", iterations=2, threads=1, rdoq=False)
for height, width in ((128, 128), (896, 1280)):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    planes = [(100 + 70 * np.sin((a * y + x) / 50) + noise).astype(np.uint8) for a in (0, 1, 3)]
    picture = to_picture(np.stack(planes, -1))
    path = folder / f"{height}.training"
    result = encode(picture, config, checkpoint=path, checkpoint_seconds=0.0)
    write_report(folder / str(height), picture, result.stream, result.log)
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@linux_only
@compiled_only
def test_memory_per_pixel(tmp_path: Path) -> None:
    """With a start from the ladder, a checkpoint and a report."""
    command = [sys.executable, "-c", ENCODE, str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    small, large = (1024 * int(line) for line in output.split())
    assert large - small < 300 * 896 * 1280
