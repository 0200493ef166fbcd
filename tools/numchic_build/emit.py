# SPDX-License-Identifier: BSD-3-Clause
"""LLVM module -> object files for a platform. Needs llvmlite only.

The order of LLVM's passes decides on the speed. Every kernel is optimised on its own first, kept
out of its callers, then all together; otherwise callees would be put into their callers before
their loops are vectorised. Nothing here lets floating-point arithmetic be reordered or fused.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from numchic_build.targets import Code, Target

# Loops that fill memory stay loops: a library without a C library has no quick memset.
llvm.set_option("numchic", "-disable-loop-idiom-all")
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()


def emit(module: str, names: list[str], target: Target) -> list[bytes]:
    """Compile a module for every kind of processor of a platform.

    Parameters
    ----------
    module : str
        Text from :func:`numchic_build.lower.lower`.
    names : list of str
        Names of its entries; the suffix of the kind of processor is added to them.
    target : Target

    Returns
    -------
    list of bytes
        One object file for each.

    Raises
    ------
    ValueError
        A kernel needs something that a library without a run time does not have.
    """
    return [_emit(module, names, target.triple, code) for code in target.codes]


def _emit(text: str, names: list[str], triple: str, code: Code) -> bytes:
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=code.cpu, features=code.features, opt=3, reloc="pic", codemodel="default"
    )
    module = _parse(text, triple, machine)
    for function in module.functions:
        if _is_kernel(function):
            function.add_function_attribute("noinline")
    _optimise(module, machine)
    module = _parse(_without_noinline(str(module)), triple, machine)
    _optimise(module, machine)
    for name in names:
        function = module.get_function(name)
        function.name = name + code.suffix
        if "windows" in triple:
            function.storage_class = "dllexport"
    _check(module)
    data: bytes = machine.emit_object(module)
    return data


def _check(module: llvm.ModuleRef) -> None:
    """Check that kernels call nothing and raise nothing."""
    functions = [f.name for f in module.functions if f.is_declaration and f.name[:5] != "llvm."]
    variables = [g.name for g in module.global_variables if g.is_declaration]
    if functions or variables:
        raise ValueError(f"kernels need {sorted(functions + variables)}")
    if any("pickle" in variable.name for variable in module.global_variables):
        raise ValueError("a kernel raises an exception, which the library cannot do")


def _parse(text: str, triple: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Read a module, for whichever platform it was written, as one for this platform."""
    lines = (line for line in text.splitlines() if not line.startswith("target "))
    layout = f'target datalayout = "{machine.target_data}"\ntarget triple = "{triple}"\n'
    module = llvm.parse_assembly(layout + "\n".join(lines))
    module.verify()
    return module


def _is_kernel(function: llvm.ValueRef) -> bool:
    inlined = b"alwaysinline" in b" ".join(function.attributes)
    return not function.is_declaration and "numchic" in function.name and not inlined


def _without_noinline(text: str) -> str:
    return re.sub(r"^(attributes #.*)\bnoinline\b", r"\1", text, flags=re.MULTILINE)


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.loop_unrolling = True
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
