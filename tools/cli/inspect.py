"""`stepwell inspect`: what an engine is: kernels, memory plan, host calls, work."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping

from stepwell.errors import OptionError
from stepwell.runtime import engine_file
from stepwell.runtime.engine_file import EngineFile
from stepwell.runtime.expressions import parse
from stepwell.runtime.manifest import Expr, HostCall, Launch, Manifest, SymbolRange
from stepwell.runtime.records import encode
from stepwell.runtime.walk import launches_of, steps_of

from .console import print_facts, print_table, with_unit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell inspect`."""
    parser.add_argument("engine", help="an engine file")
    parser.add_argument("--json", action="store_true", help="print the manifest")
    parser.add_argument(
        "--ir", metavar="LEVEL", help="print the IR of a level (built with --keep-ir)"
    )


def execute(options: argparse.Namespace) -> int:
    """Print the tables, the manifest, or the IR. The engine need not run here."""
    contents = engine_file.read(options.engine)
    if options.ir is not None:
        print(snapshot(contents, options.ir), end="")
    elif options.json:
        print(json.dumps(encode(contents.manifest), indent=1))
    else:
        print_overview(contents)
        print_kernels(contents.manifest)
        print_memory(contents.manifest)
        print_host_calls(contents.manifest)
    return 0


def snapshot(contents: EngineFile, level: str) -> str:
    """The IR of a level by its name. Raises `OptionError` if there is none."""
    known = [name[3:].removesuffix(".mlir") for name in contents.snapshots]
    names = [
        name
        for name, short in zip(contents.snapshots, known, strict=True)
        if level in (short, short.partition("-")[2])
    ]
    if len(names) != 1:
        raise OptionError(
            f"expected one level of IR, got {level!r}",
            notes=[f"this engine has: {', '.join(known) or 'none'}"],
            fix="build it with --keep-ir" if not known else None,
        )
    return contents.snapshots[names[0]]


def print_overview(contents: EngineFile) -> None:
    """Target, signature, symbols, sizes."""
    m = contents.manifest
    launches = launches_of(m.program)
    sizes = typical(m.symbols)
    facts = [
        ("model", m.name),
        ("built by", m.producer),
        ("target", f"{m.target.name} ({m.target.cpu})"),
        ("precision", m.precision),
        ("kernels", f"{len(launches)} launches of {len(m.kernels)} functions"),
        ("work", amount(sum_of([one.flops for one in launches], sizes), "FLOP")),
        ("traffic", amount(sum_of([one.nbytes for one in launches], sizes), "B")),
        ("weights", with_unit(contents.weights.nbytes, "B")),
        ("code", with_unit(sum(map(len, contents.code.values())), "B")),
    ]
    if m.symbols:
        facts.append(("at", ", ".join(f"{n}={v}" for n, v in sorted(sizes.items()))))
    print_facts(facts)
    rows = [
        (kind, tensor.name, value.dtype, dims_text(value.dims))
        for kind, tensors in (("input", m.inputs), ("output", m.outputs))
        for tensor in tensors
        for value in [m.values[tensor.value]]
    ]
    print_table("signature", ["", "name", "dtype", "shape"], rows)
    if m.symbols:
        rows = [
            (name, known.min, "" if known.max is None else known.max, known.divisor)
            for name, known in sorted(m.symbols.items())
        ]
        print_table("symbols", ["symbol", "min>", "max>", "multiple of>"], rows)


def print_kernels(manifest: Manifest) -> None:
    """One row for each launch."""
    sizes = typical(manifest.symbols)
    rows = [launch_row(manifest, one, sizes) for one in launches_of(manifest.program)]
    columns = ["kernel", "ops", "grid", "FLOP>", "bytes>", "nodes"]
    print_table("kernels", columns, rows)


def launch_row(
    manifest: Manifest, launch: Launch, sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Name, fused ops, grid, work, traffic and source nodes of a launch."""
    kernel = manifest.kernels[launch.kernel]
    counts = Counter(launch.ops)
    ops = ", ".join(op if n == 1 else f"{op} x{n}" for op, n in counts.items())
    nodes = ", ".join(launch.nodes[:3]) + (" ..." if len(launch.nodes) > 3 else "")
    return (
        launch.name or kernel.symbol,
        ops,
        dims_text(kernel.grid),
        amount(sum_of([launch.flops], sizes), ""),
        amount(sum_of([launch.nbytes], sizes), ""),
        nodes,
    )


def print_memory(manifest: Manifest) -> None:
    """One row for each slot of the arena, and how many tensors share it."""
    sizes = typical(manifest.symbols)
    sharing = Counter(v.index for v in manifest.values if v.place == "slot")
    rows = [
        (index, size, amount(sum_of([size], sizes), "B"), sharing[index])
        for index, size in enumerate(manifest.slots)
    ]
    total = amount(sum_of(list(manifest.slots), sizes), "B")
    columns = ["slot>", "bytes", "typical>", "tensors>"]
    print_table(f"arena: {total} in {len(rows)} slots", columns, rows)


def print_host_calls(manifest: Manifest) -> None:
    """What runs outside kernels; nothing if all of it is kernels."""
    calls = Counter(
        step.name for step in steps_of(manifest.program) if isinstance(step, HostCall)
    )
    if calls:
        print_table("host calls", ["function", "calls>"], sorted(calls.items()))


def typical(symbols: Mapping[str, SymbolRange]) -> dict[str, int]:
    """Each symbol at the size the engine is tuned for, or else a likely one."""
    return {
        name: known.opt if known.opt is not None else max(known.min, 1)
        for name, known in symbols.items()
    }


def sum_of(texts: list[Expr], sizes: Mapping[str, int]) -> int | None:
    """The sum of some amounts; None if one of them is known at run time only."""
    expressions = [parse(text) for text in texts]
    if any(not one.symbols <= sizes.keys() for one in expressions):
        return None
    return sum(one(sizes) for one in expressions)


def amount(value: int | None, unit: str) -> str:
    """A number with its unit, or `?`."""
    return "?" if value is None else with_unit(value, unit)


def dims_text(dims: tuple[Expr, ...]) -> str:
    """`[1, 3, batch]`; rich would read plain brackets as markup."""
    return " x ".join(map(str, dims)) or "scalar"
