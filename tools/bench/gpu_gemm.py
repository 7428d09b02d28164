"""GEMM from hand-written lower-half `tile`, on a Hopper GPU, beside cuBLAS.

Usage: python tools/bench/gpu_gemm.py [--write]    (needs CUDA torch and cuda-bindings)

`y = relu(x w^T + bias)` in f16. Each configuration is compiled from `tile` to PTX,
checked against float32 on fresh random data into an output poisoned with NaN, launched
again and again for bitwise equal results, then timed as a CUDA graph, alternating with
cuBLAS (through torch: the plain product, and product + bias + ReLU). `--write` keeps
docs/benchmarks/gpu-gemm.md.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from cuda.bindings import driver

from stepwell.tools.bench.gemm_program import GemmConfig, gemm_ptx

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu-gemm.md"
ROUNDS = 9

CONFIGS = (
    GemmConfig(4096, 4096, 4096),
    GemmConfig(4096, 4096, 4096, band=16),
    GemmConfig(8192, 8192, 8192, band=16),
    GemmConfig(2048, 2048, 2048, columns=128, stages=6),
    GemmConfig(1024, 1024, 1024, groups=1, columns=128, stages=8),
    GemmConfig(4096, 768, 3072),
    GemmConfig(4096, 768, 3072, groups=3, columns=128),
    GemmConfig(128, 768, 768, groups=1, columns=16, wide=3),
    GemmConfig(128, 768, 768, groups=1, columns=16, wide=2, stages=6),
    GemmConfig(128, 768, 768, groups=1, columns=16, wide=1, stages=12),
    GemmConfig(128, 3072, 768, groups=1, columns=64, wide=2, stages=5),
    GemmConfig(1000, 640, 200, columns=128),
)


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a driver call; raises RuntimeError on any status but success."""
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver says {status}")
    return values[0] if values else None


def tensor_map(tensor: torch.Tensor, rows: int, columns: int) -> Any:
    """A map of a row-major f16 matrix in boxes, swizzled over the whole box's rows."""
    height, width = tensor.shape
    swizzles = {
        128: driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
        64: driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_64B,
        32: driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_32B,
    }
    return checked(
        driver.cuTensorMapEncodeTiled(
            driver.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            2,
            tensor.data_ptr(),
            [driver.cuuint64_t(width), driver.cuuint64_t(height)],
            [driver.cuuint64_t(2 * width)],
            [driver.cuuint32_t(columns), driver.cuuint32_t(rows)],
            [driver.cuuint32_t(1), driver.cuuint32_t(1)],
            driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzles[2 * columns],
            driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    )


class Gemm:
    """A compiled configuration with its operands, ready to launch."""

    def __init__(self, config: GemmConfig) -> None:
        c = config
        self.config = config
        half = {"device": "cuda", "dtype": torch.float16}
        self.x = torch.randn(c.m, c.k, **half)
        self.w = torch.randn(c.n, c.k, **half) / c.k**0.5
        self.bias = torch.randn(c.n, **half)
        self.y = torch.full((c.m, c.n), float("nan"), **half)
        ptx = gemm_ptx(config).encode() + b"\0"
        self.module = checked(driver.cuModuleLoadData(ptx))
        self.function = checked(driver.cuModuleGetFunction(self.module, b"gemm"))
        limit = driver.CUfunction_attribute
        self.shared = c.shared_bytes + 1024
        checked(
            driver.cuFuncSetAttribute(
                self.function,
                limit.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                self.shared,
            )
        )
        self.maps = [
            tensor_map(self.x, c.rows, 64),
            tensor_map(self.w, c.columns, 64),
            tensor_map(self.y, 64, c.chunk),
        ]
        self.pointer = ctypes.c_void_p(self.bias.data_ptr())
        addresses = [int(one.getPtr()) for one in self.maps]
        addresses.insert(2, ctypes.addressof(self.pointer))
        self.arguments = (ctypes.c_void_p * 4)(*addresses)

    def launch(self) -> None:
        """Launch on torch's current stream."""
        c = self.config
        stream = torch.cuda.current_stream().cuda_stream
        grid, block = (c.blocks, 1, 1), (32 * c.warps, 1, 1)
        arguments = ctypes.addressof(self.arguments)
        checked(
            driver.cuLaunchKernel(
                self.function, *grid, *block, self.shared, stream, arguments, 0
            )
        )

    def error(self) -> float:
        """Relative error against float32; infinite if anything is NaN."""
        self.y.fill_(float("nan"))
        self.launch()
        wanted = self.x.float() @ self.w.float().T + self.bias.float()
        wanted = wanted.relu()
        found = (self.y.float() - wanted).abs().max() / wanted.abs().max()
        return float(found) if bool(torch.isfinite(found)) else float("inf")

    def repeats(self, times: int = 60) -> bool:
        """Whether launch after launch gives the same bits."""
        self.launch()
        first = self.y.clone()
        same = True
        for _ in range(times):
            self.y.fill_(float("nan"))
            self.launch()
            same = same and torch.equal(first, self.y)
        return same


def graph_of(call: Callable[[], object], launches: int) -> torch.cuda.CUDAGraph:
    """A CUDA graph of several calls."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            call()
    return graph


def replay_us(graph: torch.cuda.CUDAGraph, launches: int) -> float:
    """Microseconds per call of one replay."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return 1e3 * start.elapsed_time(end) / launches


@dataclass(frozen=True)
class Row:
    """What was measured of one configuration."""

    config: GemmConfig
    error: float
    repeats: bool
    ours: float
    plain: float
    fused: float

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        c = self.config
        tflops = 2e-6 * c.m * c.n * c.k / self.ours
        return (
            f"{c.m}x{c.n}x{c.k}",
            f"{c.rows}x{c.columns}, {c.stages} x {64 * c.wide}, band {c.band}",
            f"{self.error:.1e}",
            "yes" if self.repeats else "NO",
            f"{self.ours:.2f}",
            f"{tflops:.0f}",
            f"{self.plain:.2f}",
            f"{self.plain / self.ours:.2f}",
            f"{self.fused:.2f}",
            f"{self.fused / self.ours:.2f}",
        )


COLUMNS = (
    "m x n x k",
    "tile, stages",
    "error",
    "repeats",
    "us",
    "TFLOP/s",
    "cuBLAS us",
    "ratio",
    "cuBLAS + bias + relu us",
    "ratio",
)


def measure(config: GemmConfig) -> Row:
    """Check, then time."""
    torch.backends.cuda.matmul.allow_tf32 = False
    gemm = Gemm(config)
    error, repeats = gemm.error(), gemm.repeats()
    out = torch.empty_like(gemm.y)
    transposed = gemm.w.T

    def fused() -> object:
        return torch.nn.functional.linear(gemm.x, gemm.w, gemm.bias).relu_()

    calls = (gemm.launch, lambda: torch.mm(gemm.x, transposed, out=out), fused)
    launches = 20 if config.m * config.n * config.k < 2**34 else 4
    graphs = [graph_of(call, launches) for call in calls]
    times: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        for graph, found in zip(graphs, times, strict=True):
            found.append(replay_us(graph, launches))
    ours, plain, both = (statistics.median(found[1:]) for found in times)
    return Row(config, error, repeats, ours, plain, both)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Returns 1 if a configuration is wrong or does not repeat."""
    torch.cuda.init()
    torch.zeros(1, device="cuda")
    rows: list[Row] = []
    for config in CONFIGS:
        try:
            rows.append(measure(config))
        except Exception as error:
            print(config, type(error).__name__, str(error)[:500], flush=True)
            continue
        print(*rows[-1].cells(), sep="  ", flush=True)
    text = table(rows)
    print(text)
    if "--write" in arguments:
        where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        versions = f"torch {torch.__version__}, {where}, {date.today()}"
        title = "# GEMM from `tile`, beside cuBLAS"
        command = "Command: `python tools/bench/gpu_gemm.py`"
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(f"{title}\n\n{command}; {versions}.\n\n{text}\n")
    bad = [row for row in rows if not (row.error <= 1e-3 and row.repeats)]
    return int(bool(bad) or len(rows) < len(CONFIGS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
