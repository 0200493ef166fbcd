# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from builders import header
from numchic_bitstream import SynthesisLayer, count_macs


def test_worked_counts() -> None:
    """Section 16, of the header of section 2.5."""
    macs = count_macs(
        header(
            ups_k_size=8,
            ups_preconcat_k_size=7,
            output_feature_ifce=6,
            spatial_context_arm=14,
            n_hidden_layers_arm=2,
            img_size=(512, 768),
            latent_resolution=(0, 6),
            ifce_resolution=(0, 2),
            hyperlatent_resolution=(4, 6),
            syn_layer=(
                SynthesisLayer(48, 1, "linear", "relu"),
                SynthesisLayer(3, 1, "linear", "none"),
                SynthesisLayer(3, 3, "residual", "relu"),
                SynthesisLayer(3, 3, "residual", "none"),
            ),
        )
    )
    per_pixel = [count / (512 * 768) for count in macs]
    assert per_pixel[0] == pytest.approx(1177.8, abs=0.05)
    assert per_pixel[1] == 54 / 4 + 48 / 16 + 42 / 64
    assert per_pixel[2] == pytest.approx(64.0, abs=0.05)
    assert per_pixel[3] == 672
    assert macs.total == sum(macs)


def test_nothing_but_one_sample() -> None:
    macs = count_macs(
        header(
            img_size=(1, 1),
            latent_resolution=(0, 0),
            hyperlatent_resolution=None,
            output_feature_ifce=0,
            n_hidden_layers_arm=0,
            linear_stabiliser_arm=0,
            linear_stabiliser_synth=0,
            syn_layer=(SynthesisLayer(3, 1, "linear", "none"),),
        )
    )
    assert macs == (2 * 3, 0, 0, 3 + 9)
