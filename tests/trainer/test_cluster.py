# SPDX-License-Identifier: BSD-3-Clause
"""Tasks on a cluster."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from numchic_bitstream import NumchicError, UsageError
from numchic_trainer.command.cluster import run_on_cluster


@pytest.mark.parametrize("address", ["nonsense", "", "tcp://:x"])
def test_addresses_that_are_none(address: str) -> None:
    pytest.importorskip("distributed")
    level = logging.getLogger("distributed").level
    with pytest.raises(UsageError, match="scheduler"):
        list(run_on_cluster(str, [1], address, None))
    assert logging.getLogger("distributed").level == level


def started(name: str, *arguments: str) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    scheduler = started("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    try:
        while not (file.exists() and file.read_text().endswith("}")):
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        threading.Timer(1.0, scheduler.kill).start()  # no worker ever comes
        with pytest.raises(NumchicError, match="scheduler was lost"):
            list(run_on_cluster(str, [1], address, None))
    finally:
        scheduler.kill()
        scheduler.wait()
