# SPDX-License-Identifier: BSD-3-Clause
"""Pictures in files and in Pillow: everything that is not decoding."""
