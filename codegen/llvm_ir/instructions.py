"""One row per op: the instruction it is, or the text that stands for its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import IntegerAttr, StringAttr, SymbolRefAttr
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.intrinsics import is_known
from stepwell.codegen.llvm_text import constant_text, is_float, quoted, type_suffix
from stepwell.dialects import llvm
from stepwell.errors import CompileError

if TYPE_CHECKING:
    from .function import FunctionWriter

Emit: TypeAlias = "Callable[[FunctionWriter, Operation], str | None]"


def _fast_math(op: Operation) -> str:
    flags = op.properties.get("fastmathFlags")
    if not isinstance(flags, xllvm.FastMathAttr) or not flags.data:
        return ""
    return "".join(f"{flag.value} " for flag in sorted(flags.data))


def _flags(op: Operation) -> str:
    """Words between mnemonic and type: nsw, nuw, exact, disjoint, fast-math."""
    if not op.properties:
        return ""
    text = _fast_math(op)
    overflow = op.properties.get("overflowFlags")
    if isinstance(overflow, IntegerAttr):
        overflow = xllvm.OverflowAttr.from_int(overflow.value.data)
    if isinstance(overflow, xllvm.OverflowAttr):
        text += "".join(f"{flag.value} " for flag in sorted(overflow.data))
    for name, word in (("isExact", "exact"), ("isDisjoint", "disjoint")):
        text += f"{word} " if name in op.properties else ""
    return text + ("nneg " if "nonNeg" in op.properties else "")


def _binary(mnemonic: str) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> str:
        a, b = op.operands
        type_ = w.type(a.type)
        head = f"{w.name(op.results[0])} = {mnemonic} {_flags(op)}"
        return f"{head}{type_} {w.name(a)}, {w.name(b)}"

    return emit


def _cast(mnemonic: str) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> str:
        result = op.results[0]
        head = f"{w.name(result)} = {mnemonic} {_flags(op)}"
        return f"{head}{w.typed(op.operands[0])} to {w.type(result.type)}"

    return emit


def _intrinsic(name: str) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> str:
        result = op.results[0]
        full = f"{name}.{type_suffix(result.type)}"
        return _call_of_intrinsic(w, full, op.operands, result, op)

    return emit


def _compare(mnemonic: str, words: Sequence[str]) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> str:
        a, b = op.operands
        predicate = cast(IntegerAttr, op.properties["predicate"]).value.data
        word = words[predicate].removeprefix("_")
        result = w.name(op.results[0])
        return f"{result} = {mnemonic} {word} {w.typed(a)}, {w.name(b)}"

    return emit


def _constant(w: FunctionWriter, op: Operation) -> None:
    result = op.results[0]
    w.names[result] = constant_text(result.type, op.properties["value"])


def _word(text: str) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> None:
        w.names[op.results[0]] = text

    return emit


def _zero(w: FunctionWriter, op: Operation) -> None:
    result = op.results[0]
    pointer = isinstance(result.type, xllvm.LLVMPointerType)
    w.names[result] = "null" if pointer else "zeroinitializer"


def _address_of(w: FunctionWriter, op: Operation) -> None:
    symbol = cast(SymbolRefAttr, op.properties["global_name"])
    w.names[op.results[0]] = f"@{symbol.root_reference.data}"


def _alignment(op: Operation) -> str:
    align = op.properties.get("alignment")
    return f", align {align.value.data}" if isinstance(align, IntegerAttr) else ""


_ORDERINGS = (
    "",
    "unordered",
    "monotonic",
    "",
    "acquire",
    "release",
    "acq_rel",
    "seq_cst",
)


def _ordering(op: Operation) -> str:
    order = op.properties.get("ordering")
    return _ORDERINGS[order.value.data] if isinstance(order, IntegerAttr) else ""


def _load(w: FunctionWriter, op: Operation) -> str:
    result, order = op.results[0], _ordering(op)
    atomic, order = ("atomic ", f" {order}") if order else ("", "")
    head = f"{w.name(result)} = load {atomic}{w.type(result.type)}, "
    return f"{head}{w.typed(op.operands[0])}{order}{_alignment(op)}"


def _store(w: FunctionWriter, op: Operation) -> str:
    value, pointer = op.operands
    order = _ordering(op)
    atomic, order = ("atomic ", f" {order}") if order else ("", "")
    head = f"store {atomic}{w.typed(value)}, {w.typed(pointer)}"
    return f"{head}{order}{_alignment(op)}"


def _atomic_rmw(w: FunctionWriter, op: Operation) -> str:
    pointer, value = op.operands
    kind, order = (
        cast(StringAttr, op.properties[name]).data for name in ("bin_op", "ordering")
    )
    head = f"{w.name(op.results[0])} = atomicrmw {kind} {w.typed(pointer)}, "
    return f"{head}{w.typed(value)} {order}"


def _alloca(w: FunctionWriter, op: Operation) -> str:
    size = op.operands[0]
    element = w.type(op.properties["elem_type"])
    head = f"{w.name(op.results[0])} = alloca {element}, {w.typed(size)}"
    return head + _alignment(op)


def _gep(w: FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.GEPOp)
    dynamic = iter(op.ssa_indices)
    indices = [
        w.typed(next(dynamic)) if index == xllvm.GEP_USE_SSA_VAL else f"i32 {index}"
        for index in op.rawConstantIndices.iter_values()
    ]
    inbounds = "inbounds " if op.inbounds is not None else ""
    head = f"{w.name(op.result)} = getelementptr {inbounds}{w.type(op.elem_type)}, "
    return head + ", ".join([w.typed(op.ptr), *indices])


def _positions(op: Operation) -> str:
    return "".join(
        f", {i}" for i in cast(xllvm.ExtractValueOp, op).position.iter_values()
    )


def _extract_value(w: FunctionWriter, op: Operation) -> str:
    head = f"{w.name(op.results[0])} = extractvalue {w.typed(op.operands[0])}"
    return head + _positions(op)


def _insert_value(w: FunctionWriter, op: Operation) -> str:
    container, value = op.operands
    head = f"{w.name(op.results[0])} = insertvalue "
    return f"{head}{w.typed(container)}, {w.typed(value)}{_positions(op)}"


def _extract_element(w: FunctionWriter, op: Operation) -> str:
    vector, index = op.operands
    return (
        f"{w.name(op.results[0])} = extractelement {w.typed(vector)}, {w.typed(index)}"
    )


def _insert_element(w: FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.InsertElementOp)
    head = f"{w.name(op.res)} = insertelement {w.typed(op.vector)}, "
    return f"{head}{w.typed(op.value)}, {w.typed(op.index)}"


def _shuffle(w: FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.ShuffleVectorOp)
    mask = list(op.mask.iter_values())
    body = "zeroinitializer"
    if any(mask):
        lanes = ("i32 poison" if i < 0 else f"i32 {i}" for i in mask)
        body = "<" + ", ".join(lanes) + ">"
    head = f"{w.name(op.res)} = shufflevector {w.typed(op.v1)}, {w.typed(op.v2)}, "
    return f"{head}<{len(mask)} x i32> {body}"


def _select(w: FunctionWriter, op: Operation) -> str:
    c, a, b = op.operands
    head = f"{w.name(op.results[0])} = select {_fast_math(op)}"
    return f"{head}{w.typed(c)}, {w.typed(a)}, {w.typed(b)}"


def _unary(mnemonic: str) -> Emit:
    def emit(w: FunctionWriter, op: Operation) -> str:
        head = f"{w.name(op.results[0])} = {mnemonic} {_fast_math(op)}"
        return head + w.typed(op.operands[0])

    return emit


def _call(w: FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.CallOp)
    result = w.type(op.returned.type) if op.returned is not None else "void"
    callee, args = op.callee, list(op.args)
    target = f"@{callee.string_value()}" if callee else w.name(args.pop(0))
    convention = op.CConv.convention.data
    convention = "" if convention == "ccc" else f"{op.CConv.cconv_name} "
    values = ", ".join(w.typed(a) for a in args)
    call = f"call {convention}{result} {target}({values})"
    return call if op.returned is None else f"{w.name(op.returned)} = {call}"


def _call_of_intrinsic(
    w: FunctionWriter,
    name: str,
    args: Sequence[SSAValue],
    result: SSAValue | None,
    op: Operation,
) -> str:
    """A call of an intrinsic, declared on the way."""
    if not is_known(name, w.module.intrinsics):
        raise CompileError(
            f"expected an intrinsic this target can select, got {name}",
            where=str(op.location),
            fix="add it to the table in codegen/intrinsics.py once it is proved "
            "to be selected by every CPU level",
        )
    output = w.type(result.type) if result is not None else "void"
    inputs = ", ".join([w.type(a.type) for a in args])
    w.module.declarations.setdefault(name, f"declare {output} @{name}({inputs})")
    values = ", ".join([w.typed(a) for a in args])
    flags = _fast_math(op) if result is not None and is_float(result.type) else ""
    call = f"call {flags}{output} @{name}({values})"
    return call if result is None else f"{w.name(result)} = {call}"


def _call_intrinsic(w: FunctionWriter, op: Operation) -> str:
    name = cast(StringAttr, op.properties["intrin"]).data
    return _call_of_intrinsic(
        w, name, op.operands, op.results[0] if op.results else None, op
    )


def _inline_asm(w: FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.InlineAsmOp)
    result = w.type(op.res.type) if op.res is not None else "void"
    effects = " sideeffect" if op.has_side_effects is not None else ""
    code = f"{quoted(op.asm_string.data)}, {quoted(op.constraints.data)}"
    values = ", ".join(w.typed(a) for a in op.operands_)
    convergent = " convergent" if "llvm.convergent" in op.attributes else ""
    call = f"call {result} asm{effects} {code}({values}){convergent}"
    return call if op.res is None else f"{w.name(op.res)} = {call}"


def _masked_store(w: FunctionWriter, op: Operation) -> str:
    value, pointer, mask = op.operands
    name = f"llvm.masked.store.{type_suffix(value.type)}.p0"
    return _call_of_intrinsic(w, name, [value, pointer, mask], None, op)


def _loop(w: FunctionWriter, op: Operation) -> str:
    unroll = op.attributes.get(llvm.UNROLL)
    return w.module.loop(unroll.value.data) if isinstance(unroll, IntegerAttr) else ""


def _br(w: FunctionWriter, op: Operation) -> str:
    return f"br {w.label(op.successors[0])}{_loop(w, op)}"


def _cond_br(w: FunctionWriter, op: Operation) -> str:
    then, other = op.successors
    return (
        f"br {w.typed(op.operands[0])}, {w.label(then)}, {w.label(other)}{_loop(w, op)}"
    )


def _return(w: FunctionWriter, op: Operation) -> str:
    return f"ret {w.typed(op.operands[0])}" if op.operands else "ret void"


_BINARY = [
    "add",
    "sub",
    "mul",
    "udiv",
    "sdiv",
    "urem",
    "srem",
    "and",
    "or",
    "xor",
    "shl",
    "lshr",
    "ashr",
    "fadd",
    "fsub",
    "fmul",
    "fdiv",
    "frem",
]
_CASTS = [
    "trunc",
    "zext",
    "sext",
    "ptrtoint",
    "inttoptr",
    "bitcast",
    "fpext",
    "fptrunc",
    "sitofp",
    "uitofp",
    "fptosi",
    "fptoui",
    "addrspacecast",
]
_INTRINSICS = [
    "fabs",
    "ceil",
    "floor",
    "sqrt",
    "fma",
    "maxnum",
    "minnum",
    "copysign",
    "exp",
    "exp2",
    "log",
    "log2",
    "sin",
    "cos",
    "pow",
]
_ICMP = [flag.value for flag in xllvm.ICmpPredicateFlag]
_FCMP = [flag.value for flag in xllvm.FCmpPredicateFlag]

_BY_NAME: dict[str, Emit] = {
    **{f"llvm.{m}": _binary(m) for m in _BINARY},
    **{f"llvm.{m}": _cast(m) for m in _CASTS},
    **{f"llvm.intr.{m}": _intrinsic(f"llvm.{m}") for m in _INTRINSICS},
    "llvm.fneg": _unary("fneg"),
    "llvm.freeze": _unary("freeze"),
    "llvm.icmp": _compare("icmp", _ICMP),
    "llvm.fcmp": _compare("fcmp", _FCMP),
    "llvm.mlir.constant": _constant,
    "llvm.mlir.zero": _zero,
    "llvm.mlir.undef": _word("undef"),
    "llvm.mlir.poison": _word("poison"),
    "llvm.mlir.addressof": _address_of,
    "llvm.load": _load,
    "llvm.store": _store,
    "llvm.alloca": _alloca,
    "llvm.atomicrmw": _atomic_rmw,
    "llvm.getelementptr": _gep,
    "llvm.extractvalue": _extract_value,
    "llvm.insertvalue": _insert_value,
    "llvm.extractelement": _extract_element,
    "llvm.insertelement": _insert_element,
    "llvm.shufflevector": _shuffle,
    "llvm.select": _select,
    "llvm.call": _call,
    "llvm.call_intrinsic": _call_intrinsic,
    "llvm.inline_asm": _inline_asm,
    "llvm.intr.masked.store": _masked_store,
    "llvm.br": _br,
    "llvm.cond_br": _cond_br,
    "llvm.return": _return,
    "llvm.unreachable": lambda w, op: "unreachable",
}
EMITTERS: dict[type[Operation], Emit] = {
    op: _BY_NAME[op.name] for op in llvm.LLVM.operations if op.name in _BY_NAME
}
