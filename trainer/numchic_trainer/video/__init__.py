# SPDX-License-Identifier: BSD-3-Clause
"""Videos: what their frames are, and how they move (video training, sections 2, 3, 7 and 9)."""
