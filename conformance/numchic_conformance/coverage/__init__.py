# SPDX-License-Identifier: BSD-3-Clause
"""Which vector exercises which part of the format.

:mod:`.facts` computes from the bytes of a stream what it exercises, as a set of keys;
:mod:`.items` lists all keys there should be, with the section of the specification; :mod:`.table`
puts them together.
"""
