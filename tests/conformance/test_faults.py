# SPDX-License-Identifier: BSD-3-Clause
"""The runner finds planted faults at their stage; all of them, with few vectors each."""

from __future__ import annotations

import pytest

from faults import FAULTS, STAGES, Fault, is_located, run_fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(fault: Fault) -> None:
    findings, _, _ = run_fault(fault, all_vectors=False)
    assert is_located(fault, findings), findings


def test_every_stage_has_faults() -> None:
    assert {fault.stage for fault in FAULTS} == {*STAGES, "accepted", "refused"}
    assert len(FAULTS) >= 70
