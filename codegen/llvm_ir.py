"""The `llvm` dialect as LLVM IR text.

One row of `_EMITTERS` per op, text straight from the ops (no llvmlite objects), because
a build emits tens of thousands of instructions. Constants, `zero`, `poison` and
`addressof` are written where they are used. The module serves every back end: what
differs is the data layout, the triple and the table of intrinsics.

Loops: an `llvm.br` or `llvm.cond_br` that closes a loop may carry the attribute
`llvm.unroll = n : i64`, which becomes `!llvm.loop.unroll.count` (`disable` for 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import llvm
from stepwell.errors import CompileError

from .intrinsics import CPU_INTRINSICS, is_known
from .llvm_text import constant_text, is_float, quoted, type_suffix, type_text

UNROLL = "llvm.unroll"


def emit_llvm_ir(
    module: ModuleOp,
    *,
    triple: str = "",
    data_layout: str = "",
    intrinsics: Mapping[str, str] = CPU_INTRINSICS,
) -> str:
    """The module's text.

    Args:
        module: `llvm.func` and `llvm.mlir.global` ops only.
        triple: LLVM's target triple, left out when empty.
        data_layout: LLVM's data layout string, left out when empty.
        intrinsics: what `llvm.call_intrinsic` may call (see `intrinsics.py`).

    Raises:
        CompileError: an op, type or intrinsic that has no translation.
    """
    return _ModuleWriter(intrinsics).write(module, triple, data_layout)


class _ModuleWriter:
    """Collects what functions share: declarations, metadata, type names."""

    def __init__(self, intrinsics: Mapping[str, str]) -> None:
        self.intrinsics = intrinsics
        self.declarations: dict[str, str] = {}
        self.defined: set[str] = set()
        self.metadata: list[str] = []
        self._types: dict[int, tuple[Attribute, str]] = {}

    def write(self, module: ModuleOp, triple: str, data_layout: str) -> str:
        parts = [f'target triple = "{triple}"'] if triple else []
        parts += [f'target datalayout = "{data_layout}"'] if data_layout else []
        for op in module.ops:
            if isinstance(op, xllvm.FuncOp):
                parts.append(_FunctionWriter(self, op).write())
            elif isinstance(op, xllvm.GlobalOp):
                parts.append(self._global(op))
            else:
                raise _no_translation(op)
        parts += [t for n, t in self.declarations.items() if n not in self.defined]
        return "\n".join(parts + self.metadata) + "\n"

    def type(self, type_: Attribute) -> str:
        """LLVM's spelling of a type; the memory of it spares hashing attributes."""
        known = self._types.get(id(type_))
        if known is None:
            known = self._types[id(type_)] = (type_, type_text(type_))
        return known[1]

    def loop(self, unroll: int) -> str:
        """The metadata of one loop, as a suffix of the branch that closes it."""
        n = len(self.metadata)
        hint = (
            '!"llvm.loop.unroll.disable"'
            if unroll <= 1
            else f'!"llvm.loop.unroll.count", i32 {unroll}'
        )
        self.metadata.append(f"!{n} = distinct !{{!{n}, !{n + 1}}}")
        self.metadata.append(f"!{n + 1} = !{{{hint}}}")
        return f", !llvm.loop !{n}"

    def _global(self, op: xllvm.GlobalOp) -> str:
        kind = "constant" if op.constant is not None else "global"
        type_ = self.type(op.global_type)
        space = int(op.addr_space.value.data)
        where = f"addrspace({space}) " if space else ""
        if isinstance(op.value, StringAttr):
            value = " c" + quoted(op.value.data)
        elif op.value is not None:
            value = " " + constant_text(op.global_type, op.value)
        else:
            value = "" if op.linkage.linkage.data == "external" else " undef"
        align = f", align {op.alignment.value.data}" if op.alignment else ""
        linkage = op.linkage.linkage.data
        return f"@{op.sym_name.data} = {linkage} {where}{kind} {type_}{value}{align}"


class _FunctionWriter:
    """Writes one function; values are named `v<n>`, blocks `b<n>`."""

    def __init__(self, module: _ModuleWriter, func: xllvm.FuncOp) -> None:
        self.module = module
        self.func = func
        self.names: dict[SSAValue, str] = {}
        self.blocks: dict[Block, str] = {}
        self.incoming: dict[Block, list[tuple[str, Sequence[SSAValue]]]] = {}
        self.type = module.type

    def write(self) -> str:
        func, name = self.func, self.func.sym_name.data
        result = self.type(func.function_type.output)
        types = [self.type(t) for t in func.function_type.inputs.data]
        attrs = _parameter_attributes(self.func, self.type)
        if not func.body.blocks:
            params = ", ".join(f"{t}{a}" for t, a in zip(types, attrs, strict=True))
            self.module.declarations[name] = f"declare {result} @{name}({params})"
            return ""
        self.module.defined.add(name)
        entry = func.body.blocks[0]
        params = ", ".join(
            f"{t}{a} {self.name(v)}"
            for t, a, v in zip(types, attrs, entry.args, strict=True)
        )
        linkage = func.linkage.linkage.data
        linkage = "" if linkage == "external" else linkage + " "
        head = f"define {linkage}{_cconv(func)}{result} @{name}({params})"
        head += f"{_function_attributes(func)} {{"
        return "\n".join([head, *self._body(), "}"])

    def _body(self) -> list[str]:
        blocks = self.func.body.blocks
        for n, block in enumerate(blocks):
            self.blocks[block] = f"b{n}"
        for block in blocks:
            self._note_successors(block)
        chunks: list[tuple[Block, list[str]]] = []
        for block in blocks:
            lines: list[str] = []
            for op in block.ops:
                emit = _EMITTERS.get(type(op))
                if emit is None:
                    raise _no_translation(op)
                text = emit(self, op)
                if text is not None:
                    lines.append("  " + text)
            chunks.append((block, lines))
        # Phis come last: the operands of back edges have their text only now.
        out: list[str] = []
        for n, (block, lines) in enumerate(chunks):
            out.append(f"{self.blocks[block]}:")
            if n:
                out += self._phis(block)
            out += lines
        return out

    def _note_successors(self, block: Block) -> None:
        last = block.last_op
        if isinstance(last, xllvm.BrOp):
            self._note(last.successor, block, tuple(last.operands))
        elif isinstance(last, xllvm.CondBrOp):
            self._note(last.then_block, block, tuple(last.then_arguments))
            if last.else_block is not last.then_block:
                self._note(last.else_block, block, tuple(last.else_arguments))
            elif tuple(last.then_arguments) != tuple(last.else_arguments):
                raise CompileError(
                    "llvm.cond_br to one block with two lists of arguments",
                    fix="branch through a block of its own on one side",
                )

    def _note(self, to: Block, block: Block, values: Sequence[SSAValue]) -> None:
        self.incoming.setdefault(to, []).append((self.blocks[block], values))

    def _phis(self, block: Block) -> list[str]:
        lines: list[str] = []
        sources = self.incoming.get(block, [])
        for index, arg in enumerate(block.args):
            pairs = ", ".join(
                f"[ {self.name(values[index])}, %{source} ]"
                for source, values in sources
            )
            lines.append(f"  {self.name(arg)} = phi {self.type(arg.type)} {pairs}")
        return lines

    def name(self, value: SSAValue) -> str:
        """The operand text of a value, made on first sight."""
        known = self.names.get(value)
        if known is None:
            known = self.names[value] = f"%v{len(self.names)}"
        return known

    def typed(self, value: SSAValue) -> str:
        """Type and operand text of a value."""
        return f"{self.type(value.type)} {self.name(value)}"

    def label(self, block: Block) -> str:
        """`label %b3`."""
        return f"label %{self.blocks[block]}"

    def call_intrinsic(
        self,
        name: str,
        args: Sequence[SSAValue],
        result: SSAValue | None,
        op: Operation,
    ) -> str:
        """A call of an intrinsic, declared on the way."""
        if not is_known(name, self.module.intrinsics):
            raise CompileError(
                f"expected an intrinsic this target can select, got {name}",
                where=str(op.location),
                fix="add it to the table in codegen/intrinsics.py once it is proved "
                "to be selected by every CPU level",
            )
        output = self.type(result.type) if result is not None else "void"
        inputs = ", ".join([self._intrinsic_type(a) for a in args])
        self.module.declarations.setdefault(name, f"declare {output} @{name}({inputs})")
        values = ", ".join([self.typed(a) for a in args])
        flags = _fast_math(op) if result is not None and is_float(result.type) else ""
        call = f"call {flags}{output} @{name}({values})"
        return call if result is None else f"{self.name(result)} = {call}"

    def _intrinsic_type(self, value: SSAValue) -> str:
        return self.type(value.type)


# ---- functions ----------------------------------------------------------------------

_FLAGS = {
    "llvm.noalias": "noalias",
    "llvm.nocapture": "captures(none)",
    "llvm.nonnull": "nonnull",
    "llvm.noundef": "noundef",
    "llvm.readonly": "readonly",
    "llvm.writeonly": "writeonly",
    "llvm.signext": "signext",
    "llvm.zeroext": "zeroext",
    "nvvm.grid_constant": '"nvvm.grid_constant"',
}
_INTS = {"llvm.align": "align {}", "llvm.dereferenceable": "dereferenceable({})"}
_TYPES = {"llvm.byval": "byval({})", "llvm.sret": "sret({})"}


def _parameter_attributes(
    func: xllvm.FuncOp, spell: Callable[[Attribute], str]
) -> list[str]:
    count = len(func.function_type.inputs.data)
    if func.arg_attrs is None:
        return [""] * count
    return [_parameter(attrs, spell) for attrs in func.arg_attrs.data]


def _parameter(attrs: DictionaryAttr, spell: Callable[[Attribute], str]) -> str:
    words: list[str] = []
    for name, value in attrs.data.items():
        if name in _FLAGS:
            words.append(_FLAGS[name])
        elif name in _INTS and isinstance(value, IntegerAttr):
            words.append(_INTS[name].format(value.value.data))
        elif name in _TYPES:
            words.append(_TYPES[name].format(spell(value)))
    return "".join(f" {word}" for word in words)


def _function_attributes(func: xllvm.FuncOp) -> str:
    words = ["nounwind"]
    if func.no_inline is not None:
        words.append("noinline")
    if func.passthrough is not None:
        for item in func.passthrough.data:
            if isinstance(item, StringAttr):
                words.append(item.data)
            elif isinstance(item, ArrayAttr):
                key, value = (cast(StringAttr, part).data for part in item.data)
                words.append(f'"{key}"="{value}"')
    return "".join(f" {word}" for word in words)


def _cconv(func: xllvm.FuncOp) -> str:
    if "nvvm.kernel" in func.attributes:
        return "ptx_kernel "
    name = func.CConv.cconv_name
    return "" if name == "ccc" else f"{name} "


# ---- one row per op -----------------------------------------------------------------

_Emit = Callable[[_FunctionWriter, "Operation"], "str | None"]


def _no_translation(op: Operation) -> CompileError:
    return CompileError(
        f"expected an op of the llvm dialect with a translation to LLVM IR, "
        f"got {op.name}",
        where=str(op.location),
    )


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


def _binary(mnemonic: str) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> str:
        a, b = op.operands
        type_ = w.type(a.type)
        head = f"{w.name(op.results[0])} = {mnemonic} {_flags(op)}"
        return f"{head}{type_} {w.name(a)}, {w.name(b)}"

    return emit


def _cast(mnemonic: str) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> str:
        result = op.results[0]
        head = f"{w.name(result)} = {mnemonic} {_flags(op)}"
        return f"{head}{w.typed(op.operands[0])} to {w.type(result.type)}"

    return emit


def _intrinsic(name: str) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> str:
        result = op.results[0]
        full = f"{name}.{type_suffix(result.type)}"
        return w.call_intrinsic(full, op.operands, result, op)

    return emit


def _compare(mnemonic: str, words: Sequence[str]) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> str:
        a, b = op.operands
        predicate = cast(IntegerAttr, op.properties["predicate"]).value.data
        word = words[predicate].removeprefix("_")
        result = w.name(op.results[0])
        return f"{result} = {mnemonic} {word} {w.typed(a)}, {w.name(b)}"

    return emit


def _constant(w: _FunctionWriter, op: Operation) -> None:
    result = op.results[0]
    w.names[result] = constant_text(result.type, op.properties["value"])


def _word(text: str) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> None:
        w.names[op.results[0]] = text

    return emit


def _zero(w: _FunctionWriter, op: Operation) -> None:
    result = op.results[0]
    pointer = isinstance(result.type, xllvm.LLVMPointerType)
    w.names[result] = "null" if pointer else "zeroinitializer"


def _address_of(w: _FunctionWriter, op: Operation) -> None:
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


def _load(w: _FunctionWriter, op: Operation) -> str:
    result, order = op.results[0], _ordering(op)
    atomic, order = ("atomic ", f" {order}") if order else ("", "")
    head = f"{w.name(result)} = load {atomic}{w.type(result.type)}, "
    return f"{head}{w.typed(op.operands[0])}{order}{_alignment(op)}"


def _store(w: _FunctionWriter, op: Operation) -> str:
    value, pointer = op.operands
    order = _ordering(op)
    atomic, order = ("atomic ", f" {order}") if order else ("", "")
    head = f"store {atomic}{w.typed(value)}, {w.typed(pointer)}"
    return f"{head}{order}{_alignment(op)}"


def _atomic_rmw(w: _FunctionWriter, op: Operation) -> str:
    pointer, value = op.operands
    kind, order = (
        cast(StringAttr, op.properties[name]).data for name in ("bin_op", "ordering")
    )
    head = f"{w.name(op.results[0])} = atomicrmw {kind} {w.typed(pointer)}, "
    return f"{head}{w.typed(value)} {order}"


def _alloca(w: _FunctionWriter, op: Operation) -> str:
    size = op.operands[0]
    element = w.type(op.properties["elem_type"])
    head = f"{w.name(op.results[0])} = alloca {element}, {w.typed(size)}"
    return head + _alignment(op)


def _gep(w: _FunctionWriter, op: Operation) -> str:
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


def _extract_value(w: _FunctionWriter, op: Operation) -> str:
    head = f"{w.name(op.results[0])} = extractvalue {w.typed(op.operands[0])}"
    return head + _positions(op)


def _insert_value(w: _FunctionWriter, op: Operation) -> str:
    container, value = op.operands
    head = f"{w.name(op.results[0])} = insertvalue "
    return f"{head}{w.typed(container)}, {w.typed(value)}{_positions(op)}"


def _extract_element(w: _FunctionWriter, op: Operation) -> str:
    vector, index = op.operands
    return (
        f"{w.name(op.results[0])} = extractelement {w.typed(vector)}, {w.typed(index)}"
    )


def _insert_element(w: _FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.InsertElementOp)
    head = f"{w.name(op.res)} = insertelement {w.typed(op.vector)}, "
    return f"{head}{w.typed(op.value)}, {w.typed(op.index)}"


def _shuffle(w: _FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.ShuffleVectorOp)
    mask = list(op.mask.iter_values())
    body = "zeroinitializer"
    if any(mask):
        lanes = ("i32 poison" if i < 0 else f"i32 {i}" for i in mask)
        body = "<" + ", ".join(lanes) + ">"
    head = f"{w.name(op.res)} = shufflevector {w.typed(op.v1)}, {w.typed(op.v2)}, "
    return f"{head}<{len(mask)} x i32> {body}"


def _select(w: _FunctionWriter, op: Operation) -> str:
    c, a, b = op.operands
    head = f"{w.name(op.results[0])} = select {_fast_math(op)}"
    return f"{head}{w.typed(c)}, {w.typed(a)}, {w.typed(b)}"


def _unary(mnemonic: str) -> _Emit:
    def emit(w: _FunctionWriter, op: Operation) -> str:
        head = f"{w.name(op.results[0])} = {mnemonic} {_fast_math(op)}"
        return head + w.typed(op.operands[0])

    return emit


def _call(w: _FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.CallOp)
    result = w.type(op.returned.type) if op.returned is not None else "void"
    callee, args = op.callee, list(op.args)
    target = f"@{callee.string_value()}" if callee else w.name(args.pop(0))
    convention = op.CConv.convention.data
    convention = "" if convention == "ccc" else f"{op.CConv.cconv_name} "
    values = ", ".join(w.typed(a) for a in args)
    call = f"call {convention}{result} {target}({values})"
    return call if op.returned is None else f"{w.name(op.returned)} = {call}"


def _call_intrinsic(w: _FunctionWriter, op: Operation) -> str:
    name = cast(StringAttr, op.properties["intrin"]).data
    return w.call_intrinsic(
        name, op.operands, op.results[0] if op.results else None, op
    )


def _inline_asm(w: _FunctionWriter, op: Operation) -> str:
    assert isinstance(op, xllvm.InlineAsmOp)
    result = w.type(op.res.type) if op.res is not None else "void"
    effects = " sideeffect" if op.has_side_effects is not None else ""
    code = f"{quoted(op.asm_string.data)}, {quoted(op.constraints.data)}"
    values = ", ".join(w.typed(a) for a in op.operands_)
    convergent = " convergent" if "llvm.convergent" in op.attributes else ""
    call = f"call {result} asm{effects} {code}({values}){convergent}"
    return call if op.res is None else f"{w.name(op.res)} = {call}"


def _masked_store(w: _FunctionWriter, op: Operation) -> str:
    value, pointer, mask = op.operands
    name = f"llvm.masked.store.{type_suffix(value.type)}.p0"
    return w.call_intrinsic(name, [value, pointer, mask], None, op)


def _loop(w: _FunctionWriter, op: Operation) -> str:
    unroll = op.attributes.get(UNROLL)
    return w.module.loop(unroll.value.data) if isinstance(unroll, IntegerAttr) else ""


def _br(w: _FunctionWriter, op: Operation) -> str:
    return f"br {w.label(op.successors[0])}{_loop(w, op)}"


def _cond_br(w: _FunctionWriter, op: Operation) -> str:
    then, other = op.successors
    return (
        f"br {w.typed(op.operands[0])}, {w.label(then)}, {w.label(other)}{_loop(w, op)}"
    )


def _return(w: _FunctionWriter, op: Operation) -> str:
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

_BY_NAME: dict[str, _Emit] = {
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
_EMITTERS: dict[type[Operation], _Emit] = {
    op: _BY_NAME[op.name] for op in llvm.LLVM.operations if op.name in _BY_NAME
}
