# SPDX-License-Identifier: BSD-3-Clause
"""Encode a P or B frame (video-training, sections 4 to 14)."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from numchic.picture import Picture
from numchic.references import shifted_reference
from numchic_bitstream.arrays import F32
from numchic_trainer.kernels.workers import Workers
from numchic_trainer.model.inter import InterEncoder
from numchic_trainer.quantisation.estimate import network_bits
from numchic_trainer.quantisation.rdoq import optimise_integers
from numchic_trainer.quantisation.stepsearch import quantise_networks
from numchic_trainer.training.part import part_targets
from numchic_trainer.training.plan import Phase
from numchic_trainer.training.target import Evaluation, Target
from numchic_trainer.training.train import Param, Training
from numchic_trainer.training.vectors import VectorTarget
from numchic_trainer.video.flow import block_vectors, estimate_flow
from numchic_trainer.video.models import InterPreset, inter_architecture
from numchic_trainer.video.translation import global_translation
