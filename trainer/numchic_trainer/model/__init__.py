# SPDX-License-Identifier: BSD-3-Clause
"""The model of one picture: latents and networks in torch (training, sections 2 and 3)."""
