# SPDX-License-Identifier: BSD-3-Clause
"""A ladder VAE whose latents are those of the decoder: where encoding can start."""
