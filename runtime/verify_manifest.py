"""Checks that a decoded manifest is consistent, before anything is loaded by it.

After `verify_manifest` every number that the manifest uses as an index is in range,
every expression reads, every weight lies inside its blob, and every launch fits the
arguments of its kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stepwell.errors import EngineFileError, InputError

from .dtypes import dtype_of
from .expressions import parse, product
from .manifest import (
    Assert,
    Block,
    Copy,
    Expr,
    HostCall,
    If,
    Kernel,
    Launch,
    Loop,
    Manifest,
    ReadScalar,
    Segment,
    Step,
    TensorMap,
    Value,
)

PLACES = ("input", "weight", "slot", "output", "alias", "host")
PREDICATES = ("eq", "ne", "lt", "le", "gt", "ge", "divides")
WEIGHT_ALIGNMENT = 64
MAX_RANK = 64
# Of a block, by every compute capability so far (CUDA C++ programming guide, "Technical
# specifications per compute capability").
WARP, MAX_THREADS, MAX_SHARED, MAX_CLUSTER = 32, 1024, 227 << 10, 16


def verify_manifest(manifest: Manifest, weight_bytes: int) -> None:
    """Check `manifest` against itself and a weight blob of `weight_bytes` bytes.

    Raises:
        EngineFileError: something is out of range or does not fit.
    """
    _Verifier(manifest, weight_bytes).run()


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise EngineFileError(f"expected {expected} in the manifest, got {got}")


class _Verifier:
    def __init__(self, manifest: Manifest, weight_bytes: int) -> None:
        self.manifest = manifest
        self.weight_bytes = weight_bytes

    def run(self) -> None:
        m = self.manifest
        for name, known in m.symbols.items():
            wide = known.max is None or known.min <= known.max
            _require(known.min >= 0 and wide, f"a range of {name}", known)
            _require(known.divisor > 0, f"a positive divisor of {name}", known.divisor)
        for size in m.slots:
            parse(size)
        for index, value in enumerate(m.values):
            self.value(index, value)
        for name, tensors in (("input", m.inputs), ("output", m.outputs)):
            names = [tensor.name for tensor in tensors]
            _require(len(set(names)) == len(names), f"distinct {name} names", names)
            for index, tensor in enumerate(tensors):
                self.boundary(name, index, tensor.value)
        for kernel in m.kernels:
            for extent in kernel.grid:
                parse(extent)
            _require(kernel.views >= 0 <= kernel.integers, "argument counts", kernel)
            _require(bool(kernel.symbol), "a kernel symbol", repr(kernel.symbol))
            self.block_of_threads(kernel)
        _require(not m.kernels or m.code is not None, "code for the kernels", "none")
        threads = m.threads
        _require(threads is None or 0 < threads <= 4096, "1 to 4096 threads", threads)
        self.block(m.program)
        for value in m.program.yields:
            self.index("value", value, len(m.values))

    def block_of_threads(self, kernel: Kernel) -> None:
        """What a GPU needs to know of a kernel; a CPU needs none of it."""
        if self.manifest.target.kind == "cpu":
            plain = (kernel.threads, kernel.shared, kernel.cluster, kernel.maps)
            _require(plain == (0, 0, 1, ()), f"no block of {kernel.symbol}", plain)
            return
        whole = kernel.threads % WARP == 0 and 0 < kernel.threads <= MAX_THREADS
        _require(whole, f"1 to {MAX_THREADS // WARP} warps", kernel.threads)
        fits = 0 <= kernel.shared <= MAX_SHARED
        _require(fits, f"at most {MAX_SHARED} B of shared memory", kernel.shared)
        fits = 1 <= kernel.cluster <= MAX_CLUSTER
        _require(fits, f"clusters of 1 to {MAX_CLUSTER} blocks", kernel.cluster)
        views = [one.view for one in kernel.maps]
        _require(len(set(views)) == len(views), "one tensor map a view", views)
        for one in kernel.maps:
            self.tensor_map(one, kernel)

    def tensor_map(self, one: TensorMap, kernel: Kernel) -> None:
        self.index("view", one.view, kernel.views)
        dtype_of(one.element)
        rank = len(one.dims)
        _require(1 <= rank <= 5, "a tensor map of rank 1 to 5", rank)
        found = (len(one.strides), len(one.lower), len(one.steps) or rank)
        corners = rank - 2 if one.lower else 0
        _require(found == (rank - 1, corners, rank), "a whole tensor map", one)
        boxed = len(one.box) == (2 if one.lower else rank) and min(one.box) > 0
        _require(boxed and len(one.upper) == corners, "a box of the rank", one.box)
        _require(one.swizzle in (0, 32, 64, 128), "a swizzle", one.swizzle)
        self.expressions((*one.dims, *one.strides, *one.lower, *one.upper))

    def index(self, what: str, index: int, count: int) -> None:
        _require(0 <= index < count, f"a {what} below {count}", index)

    def boundary(self, place: str, index: int, value: int) -> None:
        """An input is a value in that input's place. An output is any value; one in an
        output's buffer may be several outputs, and that one among them."""
        self.index("value", value, len(self.manifest.values))
        found = self.manifest.values[value]
        if place == "input":
            _require(
                (found.place, found.index) == (place, index),
                f"input {index} at value {value}",
                f"{found.place} {found.index}",
            )
        elif found.place == "output":
            self.index("output", found.index, len(self.manifest.outputs))
            owner = self.manifest.outputs[found.index].value
            _require(owner == value, f"output {found.index} at value {value}", owner)

    def value(self, index: int, value: Value) -> None:
        m = self.manifest
        dtype_of(value.dtype)
        _require(len(value.dims) <= MAX_RANK, f"at most {MAX_RANK} dims", value.dims)
        dims = [parse(dim) for dim in value.dims]
        parse(value.offset)
        counts = {
            "input": len(m.inputs),
            "weight": len(m.weights),
            "slot": len(m.slots),
            "output": len(m.outputs),
            "alias": index,
            "host": 1,
        }
        _require(value.place in counts, f"a place of {', '.join(PLACES)}", value.place)
        self.index(value.place, value.index, counts[value.place])
        if value.dtype == "object":
            text = value.place in ("input", "output", "host")
            text = text or value.place == "weight"
            _require(text, "strings on the host", value.place)
        if value.place == "weight":
            _require(
                all(dim.is_constant for dim in dims), "static weight dims", value.dims
            )
            try:
                self.weight(value, product(dim({}) for dim in dims))
            except InputError as error:
                raise EngineFileError(error.summary) from None

    def weight(self, value: Value, elements: int) -> None:
        weight = self.manifest.weights[value.index]
        if weight.strings is not None or value.dtype == "object":
            count = -1 if weight.strings is None else len(weight.strings)
            _require(count == elements, f"{elements} strings", count)
            return
        expected = elements * dtype_of(value.dtype).itemsize
        _require(weight.nbytes == expected, f"{expected} B of weight", weight.nbytes)
        inside = 0 <= weight.offset <= self.weight_bytes - weight.nbytes
        _require(inside, f"a weight within {self.weight_bytes} B", weight.offset)
        aligned = weight.offset % WEIGHT_ALIGNMENT == 0
        _require(aligned, f"a weight aligned to {WEIGHT_ALIGNMENT} B", weight.offset)

    def block(self, block: Block) -> None:
        for step in block.steps:
            self.step(step)
            for value in values_of(step):
                self.index("value", value, len(self.manifest.values))
        for value in block.yields:
            self.index("value", value, len(self.manifest.values))

    def step(self, step: Step) -> None:
        match step:
            case Segment():
                for launch in step.launches:
                    self.launch(launch)
            case Assert():
                known = step.predicate in PREDICATES
                expected = f"a predicate of {', '.join(PREDICATES)}"
                _require(known, expected, step.predicate)
                self.expressions((step.lhs, step.rhs))
            case If():
                for block in (step.then_block, step.else_block):
                    self.block(block)
                    self.same_count("yielded values", block.yields, step.outputs)
            case Loop():
                self.block(step.body)
                self.same_count("arguments", step.arguments[1:], step.inits)
                self.same_count("yielded values", step.body.yields[1:], step.outputs)
                enough = len(step.arguments) >= 1 and len(step.body.yields) >= 1
                _require(enough, "a loop body with a condition", step.arguments)
                fits = len(step.outputs) >= len(step.inits)
                _require(fits, f"at least {len(step.inits)} results", step.outputs)
            case Copy():
                place = self.manifest.values
                self.index("value", step.target, len(place))
                kinds = ("slot", "output", "alias")
                found = place[step.target].place
                _require(found in kinds, "a copy into the arena or an output", found)
            case HostCall() | ReadScalar():
                pass

    def launch(self, launch: Launch) -> None:
        self.index("kernel", launch.kernel, len(self.manifest.kernels))
        kernel = self.manifest.kernels[launch.kernel]
        found = (len(launch.views), len(launch.integers))
        expected = (kernel.views, kernel.integers)
        _require(found == expected, f"{expected} arguments of {kernel.symbol}", found)
        named = len(kernel.symbols) == kernel.integers
        _require(named, f"{kernel.integers} symbols of {kernel.symbol}", kernel.symbols)
        self.expressions((*launch.integers, launch.flops, launch.nbytes))

    def expressions(self, texts: Sequence[Expr]) -> None:
        for text in texts:
            parse(text)

    def same_count(self, what: str, left: Sequence[int], right: Sequence[int]) -> None:
        _require(len(left) == len(right), f"{len(right)} {what}", len(left))


def values_of(step: Step) -> Iterator[int]:
    """The numbers of the values that a step itself names, not those of its blocks."""
    match step:
        case Segment():
            for launch in step.launches:
                yield from launch.views
        case HostCall():
            yield from (*step.inputs, *step.outputs)
        case ReadScalar():
            yield step.value
        case Copy():
            yield from (step.source, step.target)
        case If():
            yield from (step.condition, *step.outputs)
        case Loop():
            yield from (*step.arguments, *step.inits, *step.outputs)
            yield from (v for v in (step.trips, step.condition) if v is not None)
        case Assert():
            pass
