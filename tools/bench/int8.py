"""INT8 models beside onnxruntime: op by op on taps, and by the answers of their tasks.

Usage: python tools/bench/int8.py [--target cpu] [--device DEVICE] [--write]

Rounding to eight bits turns a difference in the last bit of a float into a whole step,
so the outputs of two right implementations differ by some steps. Therefore each node is
compared alone, on the very inputs it has under onnxruntime (nodes of one signature are
compared once), and the whole models by what they are used for: the text that is read,
the direction of the sentence embeddings. What onnxruntime makes of inputs and weights
that differ in their last bits stands beside our error of the whole. With a target of
its own, such as `--target sm_90a`, on a GPU or `--device emulated`. `--write` keeps
docs/benchmarks/int8.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

import stepwell
from stepwell.runtime import Engine
from stepwell.tools.bench.cases import CASES, Case, tokens
from stepwell.tools.bench.cpu import relative_error

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "int8.md"
Feeds = dict[str, NDArray]
Build = Callable[..., Engine]
"""`stepwell.build` for some target and device."""
WORDS = ("7k3m", "stepwell", "a9c4e", "model", "3x5t", "engine", "pq82", "tile")


def unoptimised(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session that runs the graph node by node, as it is written."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def taps(model: onnx.ModelProto, feeds: Feeds) -> Feeds:
    """The value of every tensor of the graph under onnxruntime."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    values = unoptimised(tapped).run(names, feeds)
    known = {init.name: numpy_helper.to_array(init) for init in model.graph.initializer}
    return {**known, **feeds, **dict(zip(names, map(np.asarray, values), strict=True))}


def is_shape(value: NDArray) -> bool:
    """Whether a tensor may be a shape, axes or the like, whose values decide shapes."""
    return value.dtype == np.int64 and value.ndim <= 1 and value.size <= 8


def single_node_model(
    model: onnx.ModelProto, node: onnx.NodeProto, values: Feeds
) -> onnx.ModelProto:
    """A model of one node; what was constant there, or is a shape, is constant here."""
    constants = {init.name for init in model.graph.initializer}
    for other in model.graph.node:
        if other.op_type == "Constant":
            constants.update(other.output)
    constants |= {name for name in node.input if name and is_shape(values[name])}

    def info(name: str) -> onnx.ValueInfoProto:
        value = values[name]
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, kind, value.shape)

    names = dict.fromkeys(name for name in node.input if name)
    graph = helper.make_graph(
        [node],
        "node",
        [info(name) for name in names if name not in constants],
        [info(name) for name in node.output if name],
        [numpy_helper.from_array(values[n], n) for n in names if n in constants],
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def distinct_nodes(model: onnx.ModelProto, values: Feeds) -> Iterator[onnx.NodeProto]:
    """One node of each op, attributes, dtypes and shapes."""
    seen: set[tuple] = set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        signature = (
            node.op_type,
            b"".join(sorted(a.SerializeToString() for a in node.attribute)),
            tuple(
                (values[n].dtype, values[n].shape) if n else None for n in node.input
            ),
        )
        if signature not in seen:
            seen.add(signature)
            yield node


def errors_by_op(
    model: onnx.ModelProto, feeds: Feeds, build: Build
) -> dict[str, list[float]]:
    """Relative error of each distinct node on its own inputs, by op type."""
    values = taps(model, feeds)
    nodes = list(distinct_nodes(model, values))
    errors: dict[str, list[float]] = defaultdict(list)
    for node in track(nodes, description=f"{len(nodes)} nodes"):
        single = single_node_model(model, node, values)
        inputs = {info.name: values[info.name] for info in single.graph.input}
        ours = build(single, threads=1).run(inputs)
        names = [name for name in node.output if name]
        theirs = [values[name] for name in names]
        error = relative_error([ours[name] for name in names], theirs)
        errors[node.op_type].append(error)
    return errors


def picture_of(word: str) -> NDArray[np.float32]:
    """A word as ddddocr's input: one channel, height 64, in [-1, 1]."""
    font = ImageFont.load_default(40)
    width = int(font.getlength(word)) + 24
    picture = Image.new("L", (width, 64), 255)
    ImageDraw.Draw(picture).text((12, 8), word, 0, font)
    pixels = np.asarray(picture, np.float32) / 255
    return ((pixels - 0.5) / 0.5)[None, None].astype(np.float32)


def greedy(classes: NDArray) -> tuple[int, ...]:
    """CTC: repeats and blanks dropped; class 0 is blank."""
    best = classes.reshape(classes.shape[0], -1)
    best = best.argmax(axis=1) if best.shape[1] > 1 else best[:, 0]
    keep = np.append(True, best[1:] != best[:-1]) & (best != 0)
    return tuple(int(index) for index in best[keep])


@dataclass(frozen=True)
class Agreement:
    """What the two runtimes agree on: `good` of `total`, and in which measure."""

    measure: str
    good: float
    total: float


def ocr_agreement(path: Path, build: Build) -> Agreement:
    """Words that ddddocr reads alike."""
    engine = build(path)
    peer = onnxruntime.InferenceSession(str(path))
    good = 0
    for word in WORDS:
        feeds = {"input1": picture_of(word)}
        ours = next(iter(engine.run(feeds).values()))
        good += greedy(ours) == greedy(np.asarray(peer.run(None, feeds)[0]))
    return Agreement("words read alike", good, len(WORDS))


def embedding_agreement(path: Path, build: Build) -> Agreement:
    """The least cosine between mean embeddings of eight token sequences."""
    engine = build(path)
    peer = onnxruntime.InferenceSession(str(path))
    least = 1.0
    for length in (5, 9, 16, 24, 33, 47, 64, 100):
        names = ("input_ids", "attention_mask")
        feeds = {name: tokens(name, (1, length), 0) for name in names}
        ours = next(iter(engine.run(feeds).values())).mean(axis=1).ravel()
        theirs = np.asarray(peer.run(None, feeds)[0]).mean(axis=1).ravel()
        norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
        least = min(least, float(ours @ theirs / norms))
    return Agreement("least cosine of embeddings", least, 1)


def neighbour(array: NDArray, rng: np.random.Generator) -> NDArray:
    """Every float one step up or down; other types as they are."""
    if array.dtype != np.float32:
        return array
    ends = rng.choice(np.array([-np.inf, np.inf], np.float32), array.shape)
    return np.nextafter(array, ends)


def with_neighbours(model: onnx.ModelProto, rng: np.random.Generator) -> bytes:
    """The model with all float weights one step up or down, but for single scales."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for weight in changed.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.size > 1:
            new = numpy_helper.from_array(neighbour(array, rng), weight.name)
            weight.CopyFrom(new)
    return changed.SerializeToString()


def outputs(session: onnxruntime.InferenceSession, feeds: Feeds) -> list[NDArray]:
    """All outputs of onnxruntime, in order."""
    return [np.asarray(value) for value in session.run(None, feeds)]


def whole_errors(case: Case, build: Build) -> str:
    """A table: at each size our error, and onnxruntime's own when last bits change."""
    rng = np.random.default_rng(1)
    path, model = case.path(), onnx.load(case.path())
    engine, peer = build(path, shapes=case.shapes), onnxruntime.InferenceSession(path)
    others = [
        onnxruntime.InferenceSession(with_neighbours(model, rng)) for _ in range(4)
    ]
    rows = ["| size | stepwell | as written | inputs | weights |"]
    rows.append("|---|---|---|---|---|")
    for size in case.sizes:
        feeds = case.inputs(size)
        wanted = outputs(peer, feeds)
        near = ({n: neighbour(a, rng) for n, a in feeds.items()} for _ in range(8))
        errors = (
            [list(engine.run(feeds).values())],
            [outputs(unoptimised(model), feeds)],
            [outputs(peer, one) for one in near],
            [outputs(other, feeds) for other in others],
        )
        cells = (max(relative_error(got, wanted) for got in runs) for runs in errors)
        rows.append(f"| {size.label} | " + " | ".join(f"{e:.1e}" for e in cells) + " |")
    return "\n".join(rows)


def report(build: Build) -> tuple[str, float]:
    """The page's tables, and the largest error of any single node."""
    names = ("input_ids", "attention_mask")
    cases = {case.name: case for case in CASES}
    models = {
        "ddddocr (INT8)": ({"input1": picture_of("7k3m")}, ocr_agreement),
        "T5-small encoder (INT8)": (
            {n: tokens(n, (1, 24), 0) for n in names},
            embedding_agreement,
        ),
    }
    parts: list[str] = []
    worst = 0.0
    for name, (feeds, agreement) in models.items():
        path = cases[name].path()
        errors = errors_by_op(onnx.load(path), feeds, build)
        worst = max(worst, *(max(found) for found in errors.values()))
        outcome = agreement(path, build)
        parts += [
            f"## {name}",
            f"{outcome.measure}: {outcome.good:.6g} of {outcome.total:g}",
            whole_errors(cases[name], build),
            "| op | distinct nodes | largest relative error |\n|---|---|---|",
        ]
        parts[-1] += "".join(
            f"\n| {op} | {len(found)} | {max(found):.1e} |"
            for op, found in sorted(errors.items())
        )
    return "\n\n".join(parts), worst


def main(arguments: list[str]) -> int:
    """Returns 1 if a node alone differs by more than 1e-4."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--device", help="by default the target's own kind")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    device = options.device or ("cpu" if options.target.startswith("cpu") else "cuda")
    build = partial(stepwell.build, target=options.target, device=device)
    text, worst = report(build)
    print(text)
    if options.write:
        title = "# INT8 models, op by op and by their task"
        rest = "".join(f" {a}" for a in arguments if a != "--write")
        command = f"Command: `python tools/bench/int8.py{rest}`, {date.today()}."
        note = (
            "Each distinct node runs alone, on the inputs it has under onnxruntime; "
            "then the whole model by its task. The first table of a model is of whole "
            "outputs, as max|a-b| / max|b| from onnxruntime's: ours; and those of "
            "onnxruntime itself, of the graph as it is written, of 8 neighbours of the "
            "inputs and of 4 of the weights, all floats one step up or down. These "
            "models round to 8 bits as they run; what a last bit can move is no "
            "measure of an implementation."
        )
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text("\n\n".join([title, command, note, text]) + "\n")
    return int(not worst <= 1e-4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
