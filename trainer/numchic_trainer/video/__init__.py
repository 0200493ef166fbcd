# SPDX-License-Identifier: BSD-3-Clause
"""Encoding of videos (video-training): its way is that of :mod:`.encoding`."""
