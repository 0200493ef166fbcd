# SPDX-License-Identifier: BSD-3-Clause
"""What makes training fast on a CPU: kernels, each with a twin in plain torch, and threads."""
