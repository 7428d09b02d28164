"""compute-sanitizer over every kernel family: memcheck, racecheck, synccheck.

Usage: python test/gpu/sanitize.py [--only NAME] [--tool memcheck] [--jobs 3] [--write]

Each family is a small model, built for this GPU and run under each tool; its output is
compared with the CPU engine's too. racecheck sees shared memory
alone, and no tool sees the proxies of TMA and wgmma: the emulator's checker must. Where
compute-sanitizer is not installed the script says so and returns 2. `--write` keeps
docs/benchmarks/gpu-sanitizer.md, and needs torch.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu-sanitizer.md"
TOOLS = ("memcheck", "racecheck", "synccheck")
TOOLKIT = "/usr/local/cuda/bin/compute-sanitizer"
HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
SUMMARY = re.compile(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): ((\d+) .*)")
LOOKUP = re.compile(r"Program hit \w+ .* on CUDA API call to cuGetProcAddress")
"""cuda-bindings asks the driver for all functions that it knows; memcheck reports those
that the driver lacks as errors."""
EXPLAINED = """
A family is a small model; its output is compared with the CPU engine's, too. Errors "of
`cuGetProcAddress`" are functions that cuda-bindings looks up and the driver lacks, no
faults of kernels. No tool sees the proxies of TMA and `wgmma`: the emulator's checker
does.
"""
FINDING = re.compile(r"========= (?!COMPUTE-SANITIZER|[A-Z]+ SUMMARY)(\w.*)")


@dataclass(frozen=True)
class Family:
    """A kind of kernel: a graph in ONNX's text form, and the shapes of its inputs.

    Integer inputs are drawn below `limit`.
    """

    name: str
    graph: str
    shapes: Mapping[str, Sequence[int]]
    precisions: tuple[str, ...] = ("fp32",)
    limits: Mapping[str, int] = field(default_factory=dict[str, int])

    def inputs(self) -> dict[str, Any]:
        """Random arrays of the graph's own types."""
        rng = np.random.default_rng(0)
        return {
            name: rng.integers(0, self.limits[name], shape)
            if name in self.limits
            else rng.standard_normal(shape).astype(np.float32)
            for name, shape in self.shapes.items()
        }


ALL = ("fp32", "tf32", "fp16", "bf16")
HALF = ("fp16", "bf16")

FAMILIES = (
    Family(
        "map",
        "g (float[n, 67] x, float[67] b) => (float[n, 67] y) "
        "{ a = Add(x, b)\n c = Tanh(a)\n y = Mul(c, x) }",
        {"x": (33, 67), "b": (67,)},
    ),
    Family(
        "transpose",
        "g (float[n, 3, 45] x) => (float[45, n, 3] y) "
        "{ y = Transpose <perm = [2, 0, 1]> (x) }",
        {"x": (50, 3, 45)},
    ),
    Family(
        "reduction in a warp",
        "g (float[n, 40] x) => (float[n, 40] y) { y = Softmax <axis = -1> (x) }",
        {"x": (37, 40)},
    ),
    Family(
        "reduction in a block",
        "g (float[n, 5000] x, float[5000] s, float[5000] b) => (float[n, 5000] y) "
        "{ y = LayerNormalization <axis = -1> (x, s, b) }",
        {"x": (3, 5000), "s": (5000,), "b": (5000,)},
    ),
    Family(
        "reduction of columns",
        "g (float[n, 70] x) => (float[70] y) "
        "{ a = Constant <value_ints = [0]> ()\n"
        " y = ReduceMean <keepdims = 0> (x, a) }",
        {"x": (501, 70)},
    ),
    Family(
        "arg max",
        "g (float[n, 300] x) => (int64[n] y) "
        "{ y = ArgMax <axis = 1, keepdims = 0> (x) }",
        {"x": (20, 300)},
    ),
    Family(
        "product",
        "g (float[n, 72] x, float[72, 50] w, float[50] b) => (float[n, 50] y) "
        "{ a = MatMul(x, w)\n c = Add(a, b)\n y = Relu(c) }",
        {"x": (100, 72), "w": (72, 50), "b": (50,)},
        ALL,
    ),
    Family(
        "product, aligned and large",
        "g (float[n, 512] x, float[512, 512] w) => (float[n, 512] y) "
        "{ y = MatMul(x, w) }",
        {"x": (512, 512), "w": (512, 512)},
        ALL,
    ),
    Family(
        "two products, aligned",
        "g (float[500, 256] x, float[256, 384] w, float[384] b, float[384, 128] v) "
        "=> (float[500, 128] y) "
        "{ h = MatMul(x, w)\n a = Add(h, b)\n r = Relu(a)\n y = MatMul(r, v) }",
        {"x": (500, 256), "w": (256, 384), "b": (384,), "v": (384, 128)},
        HALF,
    ),
    Family(
        "product with many tiles",
        "g (float[4096, 1024] x, float[1024, 3072] w, float[3072] b) "
        "=> (float[4096, 3072] y) { h = MatMul(x, w)\n a = Add(h, b)\n y = Relu(a) }",
        {"x": (4096, 1024), "w": (1024, 3072), "b": (3072,)},
        HALF,
    ),
    Family(
        "product of a transposed factor, aligned",
        "g (float[300, 256] x, float[192, 256] w) => (float[300, 192] y) "
        "{ y = Gemm <transB = 1> (x, w) }",
        {"x": (300, 256), "w": (192, 256)},
        HALF,
    ),
    Family(
        "pointwise convolutions, aligned",
        "g (float[n, 128, 27, 27] x, float[64, 128, 1, 1] w, float[64] b, "
        "float[256, 64, 1, 1] v, float[256] c) => (float[n, 256, 27, 27] y) "
        "{ h = Conv(x, w, b)\n r = Relu(h)\n y = Conv(r, v, c) }",
        {
            "x": (2, 128, 27, 27),
            "w": (64, 128, 1, 1),
            "b": (64,),
            "v": (256, 64, 1, 1),
            "c": (256,),
        },
        HALF,
    ),
    Family(
        "pointwise convolution of fixed size, aligned",
        "g (float[1, 128, 55, 55] x, float[16, 128, 1, 1] w, float[16] b) "
        "=> (float[1, 16, 55, 55] y) { h = Conv(x, w, b)\n y = Relu(h) }",
        {"x": (1, 128, 55, 55), "w": (16, 128, 1, 1), "b": (16,)},
        HALF,
    ),
    Family(
        "batched product",
        "g (float[4, n, 40] x, float[4, 40, 24] w) => (float[4, n, 24] y) "
        "{ y = MatMul(x, w) }",
        {"x": (4, 30, 40), "w": (4, 40, 24)},
        ("fp32", "fp16"),
    ),
    Family(
        "convolution",
        "g (float[n, 16, 19, 19] x, float[40, 16, 3, 3] w, float[40] b) "
        "=> (float[n, 40, 10, 10] y) "
        "{ a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b)\n y = Relu(a) }",
        {"x": (2, 16, 19, 19), "w": (40, 16, 3, 3), "b": (40,)},
        ALL,
    ),
    Family(
        "depthwise convolution",
        "g (float[n, 24, 15, 15] x, float[24, 1, 3, 3] w) => (float[n, 24, 15, 15] y) "
        "{ y = Conv <pads = [1, 1, 1, 1], group = 24> (x, w) }",
        {"x": (2, 24, 15, 15), "w": (24, 1, 3, 3)},
        ("fp32", "fp16"),
    ),
    Family(
        "pooling",
        "g (float[n, 10, 17, 17] x) => (float[n, 10, 8, 8] y) "
        "{ y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x) }",
        {"x": (2, 10, 17, 17)},
    ),
    Family(
        "attention",
        "g (float[2, 3, 70, 32] q, float[2, 3, 32, 90] k, float[2, 3, 90, 32] v) "
        "=> (float[2, 3, 70, 32] y) "
        "{ s = MatMul(q, k)\n p = Softmax <axis = -1> (s)\n y = MatMul(p, v) }",
        {"q": (2, 3, 70, 32), "k": (2, 3, 32, 90), "v": (2, 3, 90, 32)},
        ("fp32", "fp16", "bf16"),
    ),
    Family(
        "scan",
        "g (float[n, 200] x) => (float[n, 200] y) "
        "{ a = Constant <value_int = 1> ()\n y = CumSum(x, a) }",
        {"x": (9, 200)},
    ),
    Family(
        "top k",
        "g (float[n, 100] x) => (float[n, 5] v, int64[n, 5] i) "
        "{ k = Constant <value_ints = [5]> ()\n v, i = TopK(x, k) }",
        {"x": (9, 100)},
    ),
    Family(
        "gather",
        "g (float[100, 48] x, int64[n] i) => (float[n, 48] y) "
        "{ y = Gather <axis = 0> (x, i) }",
        {"x": (100, 48), "i": (33,)},
        limits={"i": 100},
    ),
    Family(
        "scatter",
        "g (float[50, 8] x, int64[n, 8] i, float[n, 8] u) => (float[50, 8] y) "
        '{ y = ScatterElements <axis = 0, reduction = "add"> (x, i, u) }',
        {"x": (50, 8), "i": (30, 8), "u": (30, 8)},
        limits={"i": 50},
    ),
    Family(
        "recurrent",
        "g (float[n, 2, 24] x, float[1, 64, 24] w, float[1, 64, 16] r) "
        "=> (float[n, 1, 2, 16] y) { y = LSTM <hidden_size = 16> (x, w, r) }",
        {"x": (7, 2, 24), "w": (1, 64, 24), "r": (1, 64, 16)},
    ),
)


def check(family: Family, precision: str) -> float:
    """The relative error of the GPU's outputs against the CPU's."""
    from onnx import parser

    import stepwell

    model = parser.parse_model(HEAD + family.graph)
    feeds = family.inputs()
    ours = stepwell.build(model, target="cuda", precision=precision).run(feeds)
    worst = 0.0
    for name, wanted in stepwell.build(model).run(feeds).items():
        a, b = ours[name].astype(np.float64), wanted.astype(np.float64)
        error = float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst


def sanitizer() -> str | None:
    """The path of compute-sanitizer."""
    return shutil.which("compute-sanitizer") or shutil.which(TOOLKIT)


Item = tuple[Family, str]
"""A family and a precision."""


@dataclass(frozen=True)
class Verdict:
    """What a tool said of one item."""

    item: Item
    tool: str
    passed: bool
    said: str

    def __str__(self) -> str:
        family, precision = self.item
        verdict = "pass" if self.passed else "FAIL"
        return (
            f"| {family.name} | {precision} | {self.tool} | {verdict} | {self.said} |"
        )


def judge(tool: str, items: Sequence[Item], timeout: float) -> list[Verdict]:
    """The verdicts on some items. They share a process, which costs less; if it is not
    clean, each gets one of its own."""
    names = [f"{family.name}/{precision}" for family, precision in items]
    command = [sys.executable, __file__, "--child", *names]
    if tool != "none":
        command = [str(sanitizer()), "--tool", tool, *command]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        text, code = found.stdout + found.stderr, found.returncode
    except subprocess.TimeoutExpired:
        text, code = f"Error: not done in {timeout:.0f} s", -1
    errors = dict(re.findall(r"CHILD (.*) (\S+)", text))
    summary = SUMMARY.search(text)
    lookups = len(LOOKUP.findall(text))
    clean = code == 0 and (tool == "none" or is_clean(summary, lookups))
    if not clean and len(items) > 1:
        return [one for item in items for one in judge(tool, [item], timeout)]
    said = summary[1] if summary else f"exit {code}"
    if lookups:
        said += f", {lookups} of them of `cuGetProcAddress`"
    if not clean:
        said += f": {first_finding(text)}"
    return [
        Verdict(
            item,
            tool,
            clean and is_near(item, errors.get(name)),
            f"{said}, error {errors.get(name)}",
        )
        for item, name in zip(items, names, strict=True)
    ]


def is_clean(summary: re.Match[str] | None, lookups: int) -> bool:
    """Whether a tool found nothing but functions that the driver lacks."""
    return summary is not None and int(summary[2]) == lookups


def first_finding(text: str) -> str:
    """The first line of a tool's report, or the last of what the process said."""
    findings = [one for one in FINDING.findall(text) if not LOOKUP.search(one)]
    return (findings or text.splitlines()[-1:] or [""])[0][:200]


def is_near(item: Item, error: str | None) -> bool:
    """Whether the outputs were right, too."""
    return error is not None and float(error) <= (1e-4 if item[1] == "fp32" else 2e-2)


def child(names: Sequence[str]) -> int:
    """Run some items in this process, and print their errors."""
    known = {family.name: family for family in FAMILIES}
    for name in names:
        family, _, precision = name.rpartition("/")
        print(f"CHILD {name} {check(known[family], precision):.1e}", flush=True)
    return 0


def main(arguments: list[str]) -> int:
    """Returns 1 if a family is not clean, 2 if there is no compute-sanitizer."""
    if arguments[:1] == ["--child"]:
        return child(arguments[1:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a family's name")
    parser.add_argument("--tool", help="one of them; none: run without")
    parser.add_argument("--jobs", type=int, default=6, help="processes at once")
    parser.add_argument("--timeout", type=float, default=180, help="of a process, in s")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    tools = (options.tool,) if options.tool else TOOLS
    if tools != ("none",) and sanitizer() is None:
        print("compute-sanitizer is not installed: nothing was checked")
        return 2
    chosen = [family for family in FAMILIES if options.only in family.name]
    items = [(family, p) for family in chosen for p in family.precisions]
    shares = max(1, options.jobs // len(tools))
    jobs = [(tool, items[n::shares]) for tool in tools for n in range(shares)]
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda job: judge(*job, options.timeout), jobs):
            verdicts += found
            print(*found, sep="\n", flush=True)
    if options.write:
        order = {id(family): number for number, family in enumerate(FAMILIES)}
        verdicts.sort(key=lambda one: (order[id(one.item[0])], one.item[1]))
        head = "| family | precision | tool | result | it said |\n|---|---|---|---|---|"
        rows = "\n".join(map(str, verdicts))
        import torch

        where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        PAGE.write_text(
            "# compute-sanitizer over the kernel families\n\nCommand: "
            f"`python test/gpu/sanitize.py --write`, {date.today()}, {where}.\n"
            f"{EXPLAINED}\n{head}\n{rows}\n"
        )
    return int(not all(one.passed for one in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
