"""A function: its head, its blocks and the names of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.errors import CompileError

from .instructions import EMITTERS

if TYPE_CHECKING:
    from .module import ModuleWriter

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


class FunctionWriter:
    """Writes one function; values are named `v<n>`, blocks `b<n>`."""

    def __init__(self, module: ModuleWriter, func: xllvm.FuncOp) -> None:
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
                emit = EMITTERS.get(type(op))
                if emit is None:
                    raise no_translation(op)
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


def no_translation(op: Operation) -> CompileError:
    """What to raise for an op that has no row."""
    return CompileError(
        f"expected an op of the llvm dialect with a translation to LLVM IR, "
        f"got {op.name}",
        where=str(op.location),
    )
