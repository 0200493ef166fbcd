# SPDX-License-Identifier: BSD-3-Clause
"""Rate-distortion studies: many pictures, settings and codecs, measured and drawn."""
