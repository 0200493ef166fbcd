# SPDX-License-Identifier: BSD-3-Clause
"""Vectors made of random numbers: recipes as tables, and the streams and suites they give.

A recipe says how a stream is put together; :mod:`.drawing` draws the numbers it leaves open from
the recipe's id, so that the same recipe gives the same bytes everywhere. :mod:`.generate` writes
the streams and the suites.
"""
