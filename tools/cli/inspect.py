"""`stepwell inspect`: what an engine is: kernels, memory plan, host calls, work."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from stepwell.errors import OptionError
from stepwell.runtime import engine_file
from stepwell.runtime.engine_file import EngineFile
from stepwell.runtime.manifest import Expr, Manifest
from stepwell.runtime.records import encode
from stepwell.runtime.summary import LaunchInfo, Summary, summarise

from .console import accuracy_facts, print_facts, print_table, with_unit


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
        return 0
    if options.json:
        print(json.dumps(encode(contents.manifest), indent=1))
        return 0
    summary = summarise(contents.manifest)
    print_overview(contents, summary)
    print_signature(contents.manifest)
    columns = ["kernel", "ops", "grid", "FLOP>", "bytes>", "nodes"]
    print_table("kernels", columns, map(launch_row, summary.launches))
    print_memory(contents.manifest, summary)
    if contents.manifest.accuracy is not None:
        print_facts(accuracy_facts(contents.manifest.accuracy))
    if contents.manifest.kept_in_f32:
        rows = [(k.node, k.op, k.reason) for k in contents.manifest.kept_in_f32]
        title = f"left in f32 by {contents.manifest.precision}: {len(rows)} ops"
        print_table(title, ["node", "op", "reason"], rows)
    if summary.host_calls:
        calls = summary.host_calls.items()
        print_table("host calls", ["function", "calls>"], calls)
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


def print_overview(contents: EngineFile, summary: Summary) -> None:
    """Target, sizes, amounts of work and memory."""
    m = contents.manifest
    facts = [
        ("model", m.name),
        ("built by", m.producer),
        ("target", m.target.name + (f" ({m.target.cpu})" if m.target.cpu else "")),
        ("precision", m.precision),
        (
            "kernels",
            f"{len(summary.launches)} launches of {summary.functions} functions",
        ),
        ("host calls", sum(summary.host_calls.values())),
        ("work", amount(summary.flops, "FLOP")),
        ("traffic", amount(summary.nbytes, "B")),
        ("weights", with_unit(contents.weights.nbytes, "B")),
        ("code", with_unit(sum(map(len, contents.code.values())), "B")),
    ]
    if summary.sizes:
        at = ", ".join(f"{name}={n}" for name, n in sorted(summary.sizes.items()))
        facts.append(("at", at))
    print_facts(facts)


def print_signature(manifest: Manifest) -> None:
    """Inputs, outputs, and the ranges of their symbols."""
    groups = (("input", manifest.inputs), ("output", manifest.outputs))
    rows = [
        (kind, tensor.name, value.dtype, dims_text(value.dims))
        for kind, tensors in groups
        for tensor in tensors
        for value in [manifest.values[tensor.value]]
    ]
    print_table("signature", ["", "name", "dtype", "shape"], rows)
    if manifest.symbols:
        ranges = [
            (name, known.min, "" if known.max is None else known.max, known.divisor)
            for name, known in sorted(manifest.symbols.items())
        ]
        print_table("symbols", ["symbol", "min>", "max>", "multiple of>"], ranges)


def launch_row(launch: LaunchInfo) -> tuple[str, ...]:
    """Name, fused ops, grid, work, traffic and source nodes of a launch."""
    counts = Counter(launch.ops)
    ops = ", ".join(op if n == 1 else f"{op} x{n}" for op, n in counts.items())
    nodes = ", ".join(launch.nodes[:3]) + (" ..." if len(launch.nodes) > 3 else "")
    return (
        launch.name,
        ops,
        grid_text(launch),
        amount(launch.flops, ""),
        amount(launch.nbytes, ""),
        nodes,
    )


def grid_text(launch: LaunchInfo) -> str:
    """The extents of the grid; on a GPU, threads and shared memory of a block too."""
    text = dims_text(launch.grid)
    if launch.threads:
        text += f" of {launch.threads}"
    if launch.shared:
        text += f", {with_unit(launch.shared, 'B')}"
    return text


def print_memory(manifest: Manifest, summary: Summary) -> None:
    """One row for each slot of the arena, and how many tensors share it."""
    sharing = Counter(v.index for v in manifest.values if v.place == "slot")
    rows = [
        (index, size, amount(found, "B"), sharing[index])
        for index, (size, found) in enumerate(
            zip(manifest.slots, summary.slots, strict=True)
        )
    ]
    title = f"arena: {amount(summary.arena_bytes, 'B')} in {len(rows)} slots"
    print_table(title, ["slot>", "bytes", "typical>", "tensors>"], rows)


def amount(value: int | None, unit: str) -> str:
    """A number with its unit, or `?`."""
    return "?" if value is None else with_unit(value, unit)


def dims_text(dims: tuple[Expr, ...]) -> str:
    """`1 x 3 x batch`; rich would read brackets as markup."""
    return " x ".join(map(str, dims)) or "scalar"
