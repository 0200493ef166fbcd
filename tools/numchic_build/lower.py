# SPDX-License-Identifier: BSD-3-Clause
"""Kernels -> one LLVM module that knows nothing of a processor and is not optimised.

Numba compiles every signature that an entry kernel declares. Around each is put a function that
takes its arguments from an array of 8-byte slots, see ``numchic_bitstream.kernels.native``. All
else becomes internal to the module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Numba reads them when it is imported.
os.environ.update(
    NUMCHIC_KERNELS="jit",
    NUMCHIC_CACHE_DIR=os.devnull,
    NUMBA_OPT="0",
    NUMBA_LOOP_VECTORIZE="0",
    NUMBA_SLP_VECTORIZE="0",
    NUMBA_CPU_NAME="generic",
    NUMBA_CPU_FEATURES="",
)

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils as typed_cgutils
from numba.core.registry import cpu_target
from numba.np.numpy_support import from_dtype

from numchic_build.declared import import_entries

# Numba does not say their types.
types: Any = numba.types
cgutils: Any = typed_cgutils

_I64 = ir.IntType(64)
_SCALARS = {
    "int64": types.int64,
    "float64": types.float64,
    "float32": types.float32,
    "bool": types.boolean,
}


class Kernels(NamedTuple):
    """The module as text, the names of its entries, and what the library says of itself."""

    module: str
    names: list[str]
    identity: str


def lower(packages: Path) -> Kernels:
    """Compile the kernels of the packages in a folder.

    Parameters
    ----------
    packages : Path
        With ``numchic_bitstream`` and ``numchic`` as they are installed.
    """
    entries = import_entries(packages)
    from numchic_bitstream.kernels import native

    wrappers = ir.Module("numchic")
    parts = [_add_wrapper(wrappers, *entry) for kernel in entries for entry in _compile(kernel)]
    names = [function.name for function in wrappers.functions if function.blocks]
    module = llvm.parse_assembly(str(wrappers))
    for part in parts:
        module.link_in(llvm.parse_assembly(part))
    _hide_all_but(module, set(names))
    return Kernels(str(module), names, native.identity())


def _compile(kernel: Any) -> Iterator[tuple[str, Any]]:
    """Compile every signature of a kernel; give its name and what Numba has made of it."""
    from numchic_bitstream.kernels.signature import signatures, symbol

    for i, signature in enumerate(signatures(kernel.py_func)):
        arguments = tuple(map(_numba_type, signature.arguments))
        kernel.compile(arguments)
        result = kernel.overloads[arguments]
        declared = tuple(_SCALARS[kind] for (kind,) in signature.results)
        if _scalars(result.fndesc.restype) != declared:
            raise TypeError(f"{kernel.py_func.__name__} returns {result.fndesc.restype}")
        yield symbol(kernel.py_func, i), result


def _numba_type(kind: Any) -> Any:
    from numchic_bitstream.kernels.signature import Array, Fields

    if isinstance(kind, Array):
        return types.Array(from_dtype(np.dtype(kind.dtype)), kind.ndim, "C")
    if isinstance(kind, Fields):
        return types.BaseTuple.from_types(tuple(map(_numba_type, kind.items)), kind.cls)
    return _SCALARS[kind.kind]


def _scalars(kind: Any) -> tuple[Any, ...]:
    """Types of results that are stored one after the other."""
    if isinstance(kind, types.BaseTuple):
        return tuple(kind)
    return () if kind == types.none else (kind,)


def _add_wrapper(module: ir.Module, name: str, compiled: Any) -> str:
    """Add a function that calls a kernel with arguments from slots; give the kernel's module."""
    context, described = cpu_target.target_context, compiled.fndesc
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64.as_pointer()]), name)
    builder = ir.IRBuilder(function.append_basic_block())
    slots = _slots(builder, function.args[0])
    arguments = [_load(context, builder, kind, slots) for kind in described.argtypes]
    callee = context.declare_function(module, described)
    # Kernels raise nothing: there is no status to look at.
    _, result = context.call_conv.call_function(
        builder, callee, described.restype, described.argtypes, arguments
    )
    if isinstance(described.restype, types.BaseTuple):
        for i in range(len(described.restype)):
            builder.store(builder.extract_value(result, i), next(slots))
    elif described.restype == types.float64:
        builder.store(builder.bitcast(result, _I64), next(slots))
    elif described.restype != types.none:
        builder.store(result, next(slots))
    builder.ret_void()
    text: str = compiled.library.get_llvm_str()
    return text


def _slots(builder: ir.IRBuilder, first: ir.Value) -> Iterator[ir.Value]:
    """Give the address of one slot after the other."""
    i = 0
    while True:
        yield builder.gep(first, [ir.Constant(_I64, i)])
        i += 1


def _load(context: Any, builder: ir.IRBuilder, kind: Any, slots: Iterator[ir.Value]) -> Any:
    """Build an argument from the next slots."""
    if isinstance(kind, types.BaseTuple):
        items = [_load(context, builder, item, slots) for item in kind]
        return context.make_tuple(builder, kind, items)
    if isinstance(kind, types.Array):
        return _load_array(context, builder, kind, slots)
    number = builder.load(next(slots))
    if kind == types.boolean:
        return builder.icmp_unsigned("!=", number, ir.Constant(_I64, 0))
    if kind == types.float64:
        return builder.bitcast(number, ir.DoubleType())
    if kind == types.float32:
        return builder.bitcast(builder.trunc(number, ir.IntType(32)), ir.FloatType())
    return number


def _load_array(context: Any, builder: ir.IRBuilder, kind: Any, slots: Iterator[ir.Value]) -> Any:
    """Build a contiguous array that nobody owns from its address and dimensions."""
    array = context.make_array(kind)(context, builder)
    address = builder.load(next(slots))
    shape = [builder.load(next(slots)) for _ in range(kind.ndim)]
    item_size = ir.Constant(_I64, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[ir.Value] = []
    size = item_size
    for n in reversed(shape):
        strides.insert(0, size)
        size = builder.mul(size, n)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    array.data = builder.inttoptr(address, array.data.type)
    array.nitems = builder.sdiv(size, item_size)
    array.itemsize = item_size
    array.shape = cgutils.pack_array(builder, shape, ty=_I64)
    array.strides = cgutils.pack_array(builder, strides, ty=_I64)
    return array._getvalue()


def _hide_all_but(module: llvm.ModuleRef, names: set[str]) -> None:
    """Make everything else internal, and drop what is not used: Numba's wrappers for Python."""
    for value in [*module.functions, *module.global_variables]:
        if not value.is_declaration:
            value.linkage = "external" if value.name in names else "internal"
    machine = llvm.Target.from_default_triple().create_target_machine(opt=0)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(0))
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    module.verify()
