"""The last step: a planned host program and its compiled code become an engine file.

Input invariant: `plan-memory` has run; the module holds `func.func @main` of `engine`
ops and `nn.constant`s, and a `tile.func` for every kernel that is launched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp as HostFunction
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue

from stepwell.dialects import engine
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.nn import ConstantOp
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import (
    Dim,
    DimsAttr,
    dims_of,
    element_of,
    product,
    ranges_of,
)
from stepwell.dialects.target import Target
from stepwell.dialects.tile import FuncOp as TileFunction
from stepwell.dialects.tile import TensorMapType, WindowAttr
from stepwell.dialects.weights import WeightStore, decode_array
from stepwell.errors import CompileError
from stepwell.runtime.engine_file import EngineFile, aligned
from stepwell.runtime.manifest import (
    Assert,
    CodeInfo,
    Copy,
    Expr,
    HostCall,
    If,
    KeptOp,
    Kernel,
    Launch,
    Loop,
    Manifest,
    ReadScalar,
    Segment,
    Step,
    SymbolRange,
    TargetInfo,
    TensorInfo,
    TensorMap,
    Value,
    Weight,
)
from stepwell.runtime.manifest import Block as Steps
from stepwell.runtime.verify_manifest import WEIGHT_ALIGNMENT, verify_manifest

NO_SWIZZLE = 16
"""The swizzle of a box that is copied as it is, in bytes."""


@dataclass(frozen=True)
class ThreadBlock:
    """How the blocks of a GPU kernel are launched.

    Attributes:
        symbol: its name in the code; equal kernels may share one.
        threads: of a block.
        shared: bytes of dynamic shared memory of a block.
        cluster: blocks of a cluster.
        blocks: how many there are.
    """

    symbol: str
    threads: int
    shared: int
    cluster: int
    blocks: Dim


@dataclass(frozen=True)
class DeviceCode:
    """What the code generator made.

    Attributes:
        object: an object file, or a cubin.
        fallback: what can be compiled where that does not run: LLVM IR, or PTX.
        triple: LLVM's name of the platform.
        blocks: of each kernel of a GPU, by the name of its `tile.func`.
    """

    object: bytes
    fallback: str
    triple: str
    blocks: Mapping[str, ThreadBlock] = field(default_factory=dict[str, ThreadBlock])


CompileKernels: TypeAlias = Callable[[ModuleOp], DeviceCode]


@dataclass(frozen=True)
class LaunchSummary:
    """What is known of a kernel above `tile`, kept for `inspect` and `bench`."""

    name: str
    ops: tuple[str, ...] = ()
    flops: Expr = 0
    nbytes: Expr = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineOptions:
    """What goes into the manifest beside the module.

    Attributes:
        summaries, schedules: of the kernels, by the names of their source nodes.
        snapshots: text of each level, by file name under `ir/`.
        kept_in_f32: what a lower precision left as it was.
    """

    name: str = ""
    precision: str = "fp32"
    kept_in_f32: tuple[KeptOp, ...] = ()
    threads: int | None = None
    producer: str = ""
    summaries: Mapping[tuple[str, ...], LaunchSummary] = field(
        default_factory=dict[tuple[str, ...], LaunchSummary]
    )
    schedules: Mapping[tuple[str, ...], str] = field(
        default_factory=dict[tuple[str, ...], str]
    )
    snapshots: Mapping[str, str] = field(default_factory=dict[str, str])


def write_engine(
    module: ModuleOp,
    weights: WeightStore,
    compile_kernels: CompileKernels,
    options: EngineOptions | None = None,
) -> EngineFile:
    """The engine of a planned module.

    Args:
        compile_kernels: called at the end, if there are kernels; it may lower the
            module's kernels in place.

    Raises:
        CompileError: an op that the runtime has no step for is left.
    """
    return _Writer(module, weights, options or EngineOptions()).write(compile_kernels)


class _Writer:
    def __init__(
        self, module: ModuleOp, weights: WeightStore, options: EngineOptions
    ) -> None:
        self.module, self.store, self.options = module, weights, options
        self.values: list[Value] = []
        self.numbers: dict[SSAValue, int] = {}
        self.blob = _WeightBlob()
        functions = [op for op in module.ops if isinstance(op, TileFunction)]
        self.kernels = [_kernel(function) for function in functions]
        self.kernel_numbers = {k.symbol: i for i, k in enumerate(self.kernels)}

    def write(self, compile_kernels: CompileKernels) -> EngineFile:
        main = _main(self.module)
        inputs = self.inputs(main)
        self.output_buffers(main)
        program = self.block(main.body.block)
        last = main.body.block.last_op
        assert isinstance(last, ReturnOp)
        names = _names(main, "res_attrs", "output", len(last.operands))
        outputs = [
            TensorInfo(name, self.number(value))
            for name, value in zip(names, last.operands, strict=True)
        ]
        options = self.options
        slots = _slots(main)
        code = compile_kernels(self.module) if self.kernels else None
        info = None if code is None else _code_info(Target.of(self.module))
        manifest = Manifest(
            target=self.target(code),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            symbols={
                name: SymbolRange(known.min, known.max, known.opt, known.divisor)
                for name, known in ranges_of(self.module).items()
            },
            values=tuple(self.values),
            slots=slots,
            weights=tuple(self.blob.table),
            kernels=tuple(_with_block(one, code) for one in self.kernels),
            program=program,
            code=info,
            name=options.name,
            precision=options.precision,
            kept_in_f32=options.kept_in_f32,
            threads=options.threads,
            producer=options.producer,
        )
        files: dict[str, bytes] = {}
        if code is not None and info is not None:
            files = {info.object: code.object, info.fallback: code.fallback.encode()}
        blob = self.blob.bytes()
        verify_manifest(manifest, blob.nbytes)
        return EngineFile(manifest, blob, files, options.snapshots)

    def target(self, code: DeviceCode | None) -> TargetInfo:
        target = Target.of(self.module)
        triple = "" if code is None else code.triple
        return TargetInfo(
            target.kind, target.name, triple, target.cpu, tuple(target.features)
        )

    def inputs(self, main: HostFunction) -> list[TensorInfo]:
        arguments = main.body.block.args
        names = _names(main, "arg_attrs", "input", len(arguments))
        return [
            TensorInfo(name, self.add(argument, "input", index))
            for index, (name, argument) in enumerate(zip(names, arguments, strict=True))
        ]

    def output_buffers(self, main: HostFunction) -> None:
        """Number what lies in output buffers: the returned value first, so that a view
        that is returned costs nothing."""
        last = main.body.block.last_op
        assert isinstance(last, ReturnOp)
        for index, value in enumerate(last.operands):
            root = _root(value)
            if _slot_of(root) != engine.OUTPUT_SLOT or root in self.numbers:
                continue
            number = self.add(value, "output", index)
            if root is not value:
                self.add(root, "alias", number)

    def add(self, value: SSAValue, place: str, index: int = 0, offset: Expr = 0) -> int:
        """Number a value."""
        self.numbers[value] = len(self.values)
        dtype = str(numpy_dtype(element_of(value)))
        self.values.append(Value(dtype, _exprs(dims_of(value)), place, index, offset))
        return self.numbers[value]

    def number(self, value: SSAValue) -> int:
        """The number of a value that an earlier op made."""
        return self.numbers[value]

    def all(self, values: Sequence[SSAValue]) -> tuple[int, ...]:
        return tuple(self.number(value) for value in values)

    def results(self, op: Operation) -> tuple[int, ...]:
        """Number the results of an op that makes arrays on the host."""
        return tuple(self.add(result, "host") for result in op.results)

    def block(self, block: Block) -> Steps:
        """The steps of a block; runs of launches become segments."""
        steps: list[Step] = []
        launches: list[Launch] = []
        yields: tuple[int, ...] = ()
        for op in block.ops:
            if isinstance(op, engine.LaunchOp):
                launches.append(self.launch(op))
                continue
            if isinstance(op, engine.YieldOp):
                yields = self.all(op.values)
                continue
            step = self.step(op)
            if step is not None:
                steps += [Segment(tuple(launches))] if launches else []
                steps.append(step)
                launches = []
        steps += [Segment(tuple(launches))] if launches else []
        return Steps(tuple(steps), yields)

    def launch(self, op: engine.LaunchOp) -> Launch:
        tied = op.tied_operands
        for index, result in enumerate(op.outputs):
            if index in tied:
                source = self.number(op.inputs[tied[index]])
                if result not in self.numbers:
                    self.add(result, "alias", source)
            else:
                self.slotted(result)
        names = location_names(op)
        name = op.kernel.root_reference.data
        summary = self.options.summaries.get(names, LaunchSummary(name))
        symbols = () if op.symbols is None else tuple(s.data for s in op.symbols)
        return Launch(
            self.kernel_numbers[name],
            self.all((*op.inputs, *op.outputs)),
            symbols,
            summary.name,
            names,
            summary.ops,
            summary.flops,
            summary.nbytes,
            self.options.schedules.get(names, ""),
            summary.reasons,
        )

    def slotted(self, result: SSAValue) -> None:
        """Number a result with memory of its own."""
        if result in self.numbers:
            return
        slot = _slot_of(result)
        if slot is None or slot == engine.OUTPUT_SLOT:
            raise CompileError(
                "expected a slot for every result; run plan-memory first",
                where=str(result.owner),
            )
        self.add(result, "slot", slot)

    def step(self, op: Operation) -> Step | None:
        """The step of an op; None if it is none at run time."""
        match op:
            case ConstantOp():
                self.constant(op)
            case engine.AliasOp():
                if op.output not in self.numbers:
                    offset = 0 if op.offset is None else _expr(op.offset.data)
                    self.add(op.output, "alias", self.number(op.source), offset)
            case engine.EmptyOp():
                self.slotted(op.output)
            case ReturnOp():
                pass
            case engine.CopyOp():
                self.slotted(op.output)
                return Copy(self.number(op.source), self.number(op.output))
            case engine.HostCallOp():
                config = {} if op.config is None else _plain(op.config)
                inputs = self.all(op.inputs)
                return HostCall(op.callee.data, inputs, self.results(op), config)
            case engine.ReadScalarOp():
                symbols = tuple(symbol.data for symbol in op.symbols)
                return ReadScalar(self.number(op.source), symbols)
            case engine.AssertOp():
                lhs, rhs = _expr(op.lhs.data), _expr(op.rhs.data)
                return Assert(lhs, op.predicate.data, rhs, op.message.data)
            case engine.IfOp():
                condition = self.number(op.condition)
                then_block = self.block(op.then_region.block)
                else_block = self.block(op.else_region.block)
                return If(condition, then_block, else_block, self.results(op))
            case engine.LoopOp():
                return self.loop(op)
            case _:
                raise CompileError(
                    f"expected engine ops in the host program, got {op.name}",
                    where=", ".join(location_names(op)) or None,
                )
        return None

    def loop(self, op: engine.LoopOp) -> Loop:
        trips = None if op.trips is None else self.number(op.trips)
        condition = None if op.condition is None else self.number(op.condition)
        inits = self.all(op.inits)
        block = op.body.block
        arguments = tuple(self.add(argument, "host") for argument in block.args)
        body = self.block(block)
        return Loop(arguments, inits, body, self.results(op), trips, condition)

    def constant(self, op: ConstantOp) -> None:
        kind = op.result.type
        assert isinstance(kind, TensorType)
        array = decode_array(op.value_attr, kind, self.store)
        name = ", ".join(location_names(op)) or (op.result.name_hint or "")
        self.add(op.result, "weight", self.blob.add(array, name))


class _WeightBlob:
    """`weights.bin` in the making: equal bytes are kept once."""

    def __init__(self) -> None:
        self.table: list[Weight] = []
        self._parts: list[tuple[int, np.ndarray[Any, Any]]] = []
        self._offsets: dict[bytes, int] = {}
        self._end = 0

    def add(self, array: np.ndarray[Any, Any], name: str) -> int:
        """The number of the weight that holds `array`."""
        if array.dtype == np.object_:
            strings = tuple(str(text) for text in array.reshape(-1))
            self.table.append(Weight(name=name, strings=strings))
            return len(self.table) - 1
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = hashlib.sha256(data.data).digest()
        if key not in self._offsets:
            self._offsets[key] = self._end
            self._parts.append((self._end, data))
            self._end += -(-data.nbytes // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
        self.table.append(Weight(self._offsets[key], data.nbytes, name))
        return len(self.table) - 1

    def bytes(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The blob, in aligned memory."""
        blob = np.zeros(self._end, np.uint8)
        for offset, data in self._parts:
            blob[offset : offset + data.nbytes] = data
        return aligned(blob)


def _main(module: ModuleOp) -> HostFunction:
    for op in module.ops:
        if isinstance(op, HostFunction) and op.sym_name.data == "main":
            return op
    raise CompileError("expected a function @main in the module")


def _code_info(target: Target) -> CodeInfo:
    """Where the code lies in the engine file."""
    if target.is_cpu:
        return CodeInfo("kernels/cpu.o", "kernels/cpu.ll")
    return CodeInfo(f"kernels/{target.name}.cubin", f"kernels/{target.name}.ptx")


def _kernel(function: TileFunction) -> Kernel:
    maps = [
        _tensor_map(index, argument.type)
        for index, argument in enumerate(function.args)
        if isinstance(argument.type, TensorMapType)
    ]
    return Kernel(
        function.sym_name.data,
        len(function.args),
        len(function.symbol_names),
        _exprs(function.grid.data),
        function.symbol_names,
        maps=tuple(maps),
    )


def _with_block(kernel: Kernel, code: DeviceCode | None) -> Kernel:
    """The kernel with what the code generator has found out."""
    block = None if code is None else code.blocks.get(kernel.symbol)
    if block is None:
        return kernel
    return replace(
        kernel,
        symbol=block.symbol,
        grid=_exprs([block.blocks]),
        threads=block.threads,
        shared=block.shared,
        cluster=block.cluster,
    )


def _tensor_map(index: int, kind: TensorMapType) -> TensorMap:
    """How the host encodes argument `index`: box, swizzle and strides by its type."""
    boxes, dims = kind.boxes(kind.tile), kind.dims
    rows, columns = boxes.extents
    element = numpy_dtype(kind.element_type)
    strides = [product(dims[i:]) * element.itemsize for i in range(1, len(dims))]
    swizzle = 0 if boxes.swizzle == NO_SWIZZLE else boxes.swizzle
    common = (index, str(element), _exprs(dims[::-1]), _exprs(strides[::-1]))
    window = kind.window
    if not isinstance(window, WindowAttr):
        box = [1] * len(dims)
        box[kind.over[0]], box[-1] = rows, columns
        return TensorMap(*common, tuple(box[::-1]), swizzle)
    sizes = cast(Sequence[int], dims[1:-1])  # its arithmetic does for symbols too
    lower, upper = window.lower_corner(), window.upper_corner(sizes)
    steps = (1, *reversed(window.strides.get_values()), 1)
    return TensorMap(
        *common,
        (columns, rows),
        swizzle,
        _exprs(lower[::-1]),
        _exprs(upper[::-1]),
        tuple(int(step) for step in steps),
    )


def _names(main: HostFunction, group: str, what: str, count: int) -> list[str]:
    """The `nn.name`s of the arguments or results of a function."""
    attributes = main.properties.get(group)
    names: list[str] = []
    for index in range(count):
        entry = attributes.data[index] if isinstance(attributes, ArrayAttr) else None
        name = entry.data.get("nn.name") if isinstance(entry, DictionaryAttr) else None
        named = isinstance(name, StringAttr)
        names.append(name.data if named else f"{what}_{index}")
    return names


def _slots(main: HostFunction) -> tuple[Expr, ...]:
    sizes = main.attributes.get(engine.SLOTS_ATTRIBUTE)
    if not isinstance(sizes, DimsAttr):
        raise CompileError(
            "expected a memory plan of @main", fix="run plan-memory first"
        )
    return _exprs(sizes.data)


def _root(value: SSAValue) -> SSAValue:
    """The value whose memory `value` lies in."""
    while isinstance(value, OpResult):
        op = value.op
        if isinstance(op, engine.AliasOp):
            value = op.source
        elif isinstance(op, engine.LaunchOp) and value.index in op.tied_operands:
            value = op.inputs[op.tied_operands[value.index]]
        else:
            break
    return value


def _slot_of(value: SSAValue) -> int | None:
    op = value.owner
    if not isinstance(op, engine.LaunchOp | engine.EmptyOp | engine.CopyOp):
        return None
    if op.slots is None or not isinstance(value, OpResult):
        return None
    return int(op.slots.get_values()[value.index])


def _exprs(dims: Sequence[Any]) -> tuple[Expr, ...]:
    return tuple(dim if isinstance(dim, int) else str(dim) for dim in dims)


def _expr(text: str) -> Expr:
    return int(text) if text.lstrip("-").isdigit() else text


def _plain(attribute: Attribute) -> Any:
    """An attribute as JSON."""
    match attribute:
        case DictionaryAttr():
            return {name: _plain(item) for name, item in attribute.data.items()}
        case ArrayAttr():
            return [_plain(item) for item in attribute]
        case DenseArrayBase():
            return list(cast(Any, attribute).get_values())
        case DimsAttr():
            return {"dims": list(_exprs(attribute.data))}
        case IntegerAttr():
            value = attribute.value.data
            return bool(value) if str(attribute.type) == "i1" else value
        case FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case _:
            return str(attribute)
