"""PTX that LLVM has no intrinsic for: `wgmma`, predicated arrivals, waiting loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import StringAttr, UnitAttr, i32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.dialects import nvvm
from stepwell.errors import CompileError

from .aggregates import field, struct

Rule = Callable[[Builder, Operation], SSAValue | None]

CONVERGENT = "llvm.convergent"
"""On an inline block: it must not be moved into or out of divergent control flow."""


def ptx(
    b: Builder,
    text: str,
    constraints: str,
    operands: Sequence[SSAValue],
    result: Attribute | None = None,
) -> Operation:
    """Append a block of inline PTX with effects."""
    properties: dict[str, Attribute] = {
        "asm_string": StringAttr(text),
        "constraints": StringAttr(constraints),
        "has_side_effects": UnitAttr(),
        "tail_call_kind": xllvm.TailCallKindAttr(xllvm.TailCallKind.NONE),
    }
    return b.insert(
        xllvm.InlineAsmOp,
        operands,
        result,
        properties,
        attributes={CONVERGENT: UnitAttr()},
    )


def _try_wait(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.MBarrierTryWaitParityOp)
    text = (
        "{ .reg .pred P1; LAB_WAIT: "
        "mbarrier.try_wait.parity.shared::cta.b64 P1, [$0], $1, $2; "
        "@P1 bra LAB_DONE; bra LAB_WAIT; LAB_DONE: }"
    )
    ptx(b, text, "l,r,r,~{memory}", (op.addr, op.phase, op.ticks))


def _arrive(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.MBarrierArriveOp)
    space = "cluster" if str(op.addr.type) == "!llvm.ptr<7>" else "cta"
    arrive = f"mbarrier.arrive.shared::{space}.b64 _, [$0];"
    if op.predicate is None:
        ptx(b, arrive, "l,~{memory}", (op.addr,))
    else:
        ptx(b, f"@$1 {arrive}", "l,b,~{memory}", (op.addr, op.predicate))


def _prefetch(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.PrefetchTensorMapOp)
    ptx(b, "prefetch.tensormap [$0];", "l,~{memory}", (op.tmaDescriptor,))


inline_ptx: dict[type[Operation], Rule] = {
    nvvm.MBarrierTryWaitParityOp: _try_wait,
    nvvm.MBarrierArriveOp: _arrive,
    nvvm.PrefetchTensorMapOp: _prefetch,
}
"""The rules of this file."""

_WGMMA = (
    nvvm.WgmmaFenceAlignedOp,
    nvvm.WgmmaMmaAsyncOp,
    nvvm.WgmmaGroupSyncAlignedOp,
    nvvm.WgmmaWaitGroupSyncOp,
)


def is_wgmma(op: Operation) -> bool:
    """Whether an op may stand in a block of wgmma."""
    return isinstance(op, _WGMMA)


class _Block:
    """Collects the text and the operands of one block.

    Accumulators are outputs tied to their first values; all other operands follow.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.chains: list[list[SSAValue]] = []
        self.others: list[SSAValue] = []
        self.predicates = 0

    def chain_of(self, value: SSAValue) -> int:
        """The accumulator that `value` is a version of."""
        for number, versions in enumerate(self.chains):
            if value is versions[-1]:
                return number
        self.chains.append([value])
        return len(self.chains) - 1

    def other(self, value: SSAValue) -> int:
        """The position of an operand among the untied ones."""
        if value not in self.others:
            self.others.append(value)
        return self.others.index(value)


def wgmma_block(b: Builder, ops: Sequence[Operation]) -> None:
    """A run of wgmma ops as one block of PTX; the ops are erased.

    Raises:
        CompileError: an accumulator's older version is used again.
    """
    block = _Block()
    for op in ops:
        if isinstance(op, nvvm.WgmmaWaitGroupSyncOp):
            for value, done in zip(op.accumulators, op.done, strict=True):
                block.chains[block.chain_of(value)].append(done)
        if isinstance(op, nvvm.WgmmaMmaAsyncOp):
            number = block.chain_of(op.operandD)
            block.chains[number].append(op.res)
            block.other(op.descriptorB)
            for value in (*op.operandA, *([op.scaleD] if op.scaleD else [])):
                block.other(value)
    kinds = [nvvm.registers(versions[0].type) for versions in block.chains]
    starts = [sum(map(len, kinds[:n])) for n in range(len(kinds))]
    total = sum(map(len, kinds))
    for op in ops:
        block.lines += _lines(op, block, starts, kinds, total)
    results = _call(b, block, kinds, total)
    for versions, result in zip(block.chains, results, strict=True):
        for version in versions[1:-1]:
            if any(use.operation not in ops for use in version.uses):
                raise CompileError("an accumulator is read while it is in flight")
        versions[-1].replace_all_uses_with(result)
    for op in reversed(ops):
        op.erase()


def _lines(
    op: Operation,
    block: _Block,
    starts: Sequence[int],
    kinds: Sequence[Sequence[Attribute]],
    total: int,
) -> list[str]:
    if isinstance(op, nvvm.WgmmaFenceAlignedOp):
        return ["wgmma.fence.sync.aligned;"]
    if isinstance(op, nvvm.WgmmaGroupSyncAlignedOp):
        return ["wgmma.commit_group.sync.aligned;"]
    if isinstance(op, nvvm.WgmmaWaitGroupSyncOp):
        return [f"wgmma.wait_group.sync.aligned {op.group.value.data};"]
    assert isinstance(op, nvvm.WgmmaMmaAsyncOp)
    number = next(n for n, versions in enumerate(block.chains) if op.res in versions)
    first = starts[number]
    out = ", ".join(f"${first + i}" for i in range(len(kinds[number])))

    def name(value: SSAValue) -> str:
        return f"${2 * total + block.other(value)}"

    a = [name(value) for value in op.operandA]
    left = a[0] if len(a) == 1 else "{" + ", ".join(a) + "}"
    lines: list[str] = []
    scale = "0" if op.zero is not None else "1"
    if op.scaleD is not None:
        scale = f"p{block.predicates}"
        block.predicates += 1
        lines.append(f"setp.ne.b32 {scale}, {name(op.scaleD)}, 0;")
    m, n, k = op.shape.extents
    types = ".".join(t.data.value for t in (op.typeD, op.typeA, op.typeB))
    text = f"wgmma.mma_async.sync.aligned.m{m}n{n}k{k}.{types}"
    tail = _immediates(op, from_registers=len(a) > 1)
    lines.append(f"{text} {{{out}}}, {left}, {name(op.descriptorB)}, {scale}{tail};")
    return lines


def _immediates(op: nvvm.WgmmaMmaAsyncOp, *, from_registers: bool) -> str:
    """Scales of the inputs and, for 16-bit ones, the transpose bits."""
    if op.typeD.data is nvvm.MMAType.S32:
        return ""
    text = ", 1, 1"
    if op.typeA.data in (nvvm.MMAType.F16, nvvm.MMAType.BF16):
        if not from_registers:
            text += ", 1" if op.layoutA.data is nvvm.MMALayout.COL else ", 0"
        text += ", 1" if op.layoutB.data is nvvm.MMALayout.ROW else ", 0"
    return text


def _call(
    b: Builder,
    block: _Block,
    kinds: Sequence[Sequence[Attribute]],
    total: int,
) -> list[SSAValue]:
    letters = ["f" if str(kind) == "f32" else "r" for group in kinds for kind in group]
    tied = [str(i) for i in range(total)]
    others = [_letter(value.type) for value in block.others]
    constraints = ",".join([*(f"={x}" for x in letters), *tied, *others, "~{memory}"])
    operands = [
        field(b, versions[0], i, kind)
        for versions, group in zip(block.chains, kinds, strict=True)
        for i, kind in enumerate(group)
    ]
    predicates = [f".reg .pred p{i};" for i in range(block.predicates)]
    text = " ".join(["{", *predicates, *block.lines, "}"])
    flat = xllvm.LLVMStructType.from_type_list([k for group in kinds for k in group])
    others_wide = [_widen(b, value) for value in block.others]
    op = ptx(b, text, constraints, [*operands, *others_wide], flat)
    return _split(b, op.results[0], kinds)


def _letter(kind: Attribute) -> str:
    return "l" if str(kind) == "i64" else "r"


def _widen(b: Builder, value: SSAValue) -> SSAValue:
    return b.cast("zext", value, i32) if str(value.type) == "i1" else value


def _split(
    b: Builder, flat: SSAValue, kinds: Sequence[Sequence[Attribute]]
) -> list[SSAValue]:
    """One struct for each accumulator, out of the block's one result."""
    if len(kinds) == 1:
        return [flat]
    results: list[SSAValue] = []
    position = 0
    for group in kinds:
        values = [field(b, flat, position + i, kind) for i, kind in enumerate(group)]
        results.append(struct(b, values))
        position += len(group)
    return results
