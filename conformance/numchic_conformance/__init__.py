# SPDX-License-Identifier: BSD-3-Clause
"""Conformance vectors, suites and their runner. Not written yet."""
