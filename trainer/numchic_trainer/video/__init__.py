# SPDX-License-Identifier: BSD-3-Clause
"""Videos: what is encoded, in which structure, and how it moves (video training)."""
