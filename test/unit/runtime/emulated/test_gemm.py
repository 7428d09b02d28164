"""The project's own Hopper GEMM: TMA, mbarriers, wgmma, warp specialisation."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.tools.bench.emulated_gemm import gemm_ptx, matrix_map
from stepwell.tools.bench.gemm_program import GemmConfig


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(("m", "columns"), [(128, 64), (120, 32)])
def test_gemm(groups, seed, m, columns):
    c = GemmConfig(m, 64, 128, groups=groups, columns=columns, stages=2)
    random = np.random.default_rng(0)
    x = random.standard_normal((c.m, c.k)).astype("f2")
    w = (random.standard_normal((c.n, c.k)) / 8).astype("f2")
    bias = random.standard_normal(c.n).astype("f2")
    device = EmulatedDevice(check=True, seed=seed)
    px, pw, pb = map(device.upload, (x, w, bias))
    py = device.upload(np.full((c.m, c.n), np.nan, "f2"))
    arguments = [
        matrix_map(px, x.shape, c.rows, 64),
        matrix_map(pw, w.shape, c.columns, 64),
        pb,
        matrix_map(py, (c.m, c.n), 64, c.chunk),
    ]
    device.load(gemm_ptx(c)).launch(
        "gemm",
        grid=c.blocks,
        block=32 * c.warps,
        args=arguments,
        shared=c.shared_bytes + 1024,
    )
    got = device.download(py, (c.m, c.n), "f2").astype("f4")
    right = np.maximum(x.astype("f4") @ w.astype("f4").T + bias, 0)
    np.testing.assert_allclose(got, right, rtol=2e-3, atol=2e-3)
