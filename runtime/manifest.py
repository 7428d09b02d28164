"""What `manifest.json` of an engine file says, as frozen records.

Dims, sizes, offsets and grid extents are dim expressions: integers, or strings such as
`"batch * seq floordiv 2"`. Values are numbered; a step of the program names them by
number. `SCHEMA` goes up with every change that an older runtime cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

FORMAT = "stepwell-engine"
SCHEMA = 1

Expr: TypeAlias = int | str


@dataclass(frozen=True)
class TargetInfo:
    """The device that the kernels were compiled for.

    `features` are LLVM's names of the CPU features that the objects need, `triple` is
    LLVM's name of the platform.
    """

    kind: str
    name: str
    triple: str = ""
    cpu: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class SymbolRange:
    """Values a symbol may take: `min <= value <= max`, a multiple of `divisor`."""

    min: int = 0
    max: int | None = None
    opt: int | None = None
    divisor: int = 1


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of the engine: its name and the value it is."""

    name: str
    value: int


@dataclass(frozen=True)
class Value:
    """One tensor of the program, and its place in memory.

    Places: "input" i, "weight" i, "slot" i (of the arena), "output" i (the buffer of
    output i), "alias" i (the memory of value i, which comes before it, from element
    `offset` on), and "host" (an array that the host program makes).
    """

    dtype: str
    dims: tuple[Expr, ...]
    place: str
    index: int = 0
    offset: Expr = 0


@dataclass(frozen=True)
class Weight:
    """A constant: `nbytes` bytes at `offset` of `weights.bin`, or a list of strings."""

    offset: int = 0
    nbytes: int = 0
    name: str = ""
    strings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TensorMap:
    """How a GPU kernel takes a view as a TMA descriptor instead of a pointer.

    The fields of `cuTensorMapEncodeTiled` and `...Im2col` (CUDA driver API), innermost
    dim first; sizes are over the kernel's symbols.

    Attributes:
        view: the view argument that it stands for.
        element: NumPy's name of the element type.
        strides: in bytes, of all dims but the innermost.
        box: what one copy moves; with corners, the channels and the pixels.
        swizzle: bytes that the swizzle spans: 0, 32, 64 or 128.
        lower, upper: corners of the bounding box of a window (im2col), else empty.
        steps: strides of elements along each dim; all 1 if empty.
    """

    view: int
    element: str
    dims: tuple[Expr, ...]
    strides: tuple[Expr, ...]
    box: tuple[int, ...]
    swizzle: int = 0
    lower: tuple[Expr, ...] = ()
    upper: tuple[Expr, ...] = ()
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """One compiled function.

    Attributes:
        symbol: its name in the object file.
        views: number of pointer arguments; `integers` follow them.
        grid: extents of its grid over `symbols`, which a launch binds.
        threads: of a block, on a GPU; 0 on a CPU.
        shared: bytes of dynamic shared memory of a block.
        cluster: blocks of a cluster.
        maps: the views that are handed over as tensor maps.
    """

    symbol: str
    views: int
    integers: int
    grid: tuple[Expr, ...]
    symbols: tuple[str, ...] = ()
    threads: int = 0
    shared: int = 0
    cluster: int = 1
    maps: tuple[TensorMap, ...] = ()


@dataclass(frozen=True)
class Launch:
    """Kernel `kernel` on the memory of these values; `integers` follow them.

    The rest is for `inspect` and `bench`.

    Attributes:
        name: the name of the fused kernel; launches of one function differ in it.
        nodes: names of the nodes of the user's model that it computes.
        ops: the ops fused into it.
        flops, nbytes: work and memory traffic, in the engine's symbols.
        schedule: how it is computed.
        reasons: why no more was fused.
    """

    kernel: int
    views: tuple[int, ...]
    integers: tuple[Expr, ...] = ()
    name: str = ""
    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    flops: Expr = 0
    nbytes: Expr = 0
    schedule: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """Launches in order, handed to the device in one piece."""

    TAG: ClassVar = "segment"
    launches: tuple[Launch, ...]


@dataclass(frozen=True)
class HostCall:
    """A function of `stepwell.runtime.host_ops`."""

    TAG: ClassVar = "host_call"
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class ReadScalar:
    """Binds symbols to the values of an integer tensor, in order."""

    TAG: ClassVar = "read_scalar"
    value: int
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Assert:
    """Fails with `message` unless the two dim expressions are as `predicate` says."""

    TAG: ClassVar = "assert"
    lhs: Expr
    predicate: str
    rhs: Expr
    message: str


@dataclass(frozen=True)
class Copy:
    """Copies the contents of one value into another."""

    TAG: ClassVar = "copy"
    source: int
    target: int


@dataclass(frozen=True)
class If:
    """One of two blocks; what it yields becomes `outputs`."""

    TAG: ClassVar = "if"
    condition: int
    then_block: Block
    else_block: Block
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Loop:
    """ONNX Loop. The body's arguments: the iteration, then the carried values.

    `outputs` are the last carried values, then the stacks of scanned values.
    """

    TAG: ClassVar = "loop"
    arguments: tuple[int, ...]
    inits: tuple[int, ...]
    body: Block
    outputs: tuple[int, ...]
    trips: int | None = None
    condition: int | None = None


Step: TypeAlias = Segment | HostCall | ReadScalar | Assert | Copy | If | Loop


@dataclass(frozen=True)
class Block:
    """Steps in order, and the values handed out at the end."""

    steps: tuple[Step, ...]
    yields: tuple[int, ...] = ()


@dataclass(frozen=True)
class FileInfo:
    """Size and checksum of an entry of the engine file."""

    nbytes: int
    sha256: str


@dataclass(frozen=True)
class CodeInfo:
    """The files of one device code: the object (of a CPU, or a cubin), and what can be
    compiled where the object does not run (LLVM IR, or PTX)."""

    object: str
    fallback: str = ""


@dataclass(frozen=True)
class KeptOp:
    """An op that a lower precision left in f32: its source node, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class Accuracy:
    """What a build with a bound found: the largest relative errors, beside FP32.

    Attributes:
        tolerance: the bound.
        samples: how many sets of inputs it was judged on.
        before: with no op raised to f32 for it, in a simulation on the CPU.
        after: of the engine, on `device`.
        raised: how many ops were raised.
    """

    tolerance: float
    samples: int
    before: float
    after: float
    device: str
    raised: int


@dataclass(frozen=True)
class Manifest:
    """Everything an engine is, but for the bytes of its weights and kernels."""

    target: TargetInfo
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    symbols: Mapping[str, SymbolRange]
    values: tuple[Value, ...]
    slots: tuple[Expr, ...]
    weights: tuple[Weight, ...]
    kernels: tuple[Kernel, ...]
    program: Block
    code: CodeInfo | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict[str, FileInfo])
    name: str = ""
    precision: str = "fp32"
    threads: int | None = None
    producer: str = ""
    kept_in_f32: tuple[KeptOp, ...] = ()
    accuracy: Accuracy | None = None
