"""The Hopper GEMM of `gemm_program` on the emulated GPU, checked against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stepwell.runtime.devices.emulated import EmulatedDevice, encode_tensor_map

from .gemm_program import GemmConfig, gemm_ptx


class EmulatedGemm:
    """One configuration with random operands."""

    def __init__(self, config: GemmConfig) -> None:
        c = self.config = config
        self.ptx = gemm_ptx(c)
        random = np.random.default_rng(0)
        self.x = random.standard_normal((c.m, c.k)).astype("f2")
        self.w = (random.standard_normal((c.n, c.k)) / 8).astype("f2")
        self.bias = random.standard_normal(c.n).astype("f2")
        product = self.x.astype("f4") @ self.w.astype("f4").T
        self.right = np.maximum(product + self.bias, 0)

    def load(self, device: EmulatedDevice, atol: float) -> Callable[[], int]:
        """What launches it, checks `y`, and returns the warp instructions executed."""
        c = self.config
        module = device.load(self.ptx)
        x, w, bias = map(device.upload, (self.x, self.w, self.bias))
        y = device.upload(np.full((c.m, c.n), np.nan, "f2"))
        arguments = [
            matrix_map(x, (c.m, c.k), c.rows, 64),
            matrix_map(w, (c.n, c.k), c.columns, 64),
            bias,
            matrix_map(y, (c.m, c.n), 64, c.chunk),
        ]

        def run() -> int:
            count = module.launch(
                "gemm",
                grid=c.blocks,
                block=32 * c.warps,
                args=arguments,
                shared=c.shared_bytes + 1024,
            )
            got = device.download(y, (c.m, c.n), "f2").astype("f4")
            np.testing.assert_allclose(got, self.right, rtol=2e-3, atol=atol)
            return count

        return run


def matrix_map(pointer: int, shape: Sequence[int], rows: int, columns: int) -> bytes:
    """A tensor map of a row-major matrix of halves, in boxes of rows by columns."""
    height, width = shape
    return encode_tensor_map(
        "float16",
        pointer,
        [width, height],
        [2 * width],
        [columns, rows],
        swizzle=f"{2 * columns}B",
    )
