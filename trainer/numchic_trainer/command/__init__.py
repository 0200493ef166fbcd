# SPDX-License-Identifier: BSD-3-Clause
"""The commands ``numchic encode`` and ``numchic encode-batch``."""
