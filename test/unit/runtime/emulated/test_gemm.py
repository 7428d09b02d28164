"""The project's own Hopper GEMM: TMA, mbarriers, wgmma, warp specialisation."""

from __future__ import annotations

import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.tools.bench.emulated_gemm import EmulatedGemm
from stepwell.tools.bench.gemm_program import GemmConfig


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(("m", "columns"), [(128, 64), (120, 32)])
def test_gemm(groups, seed, m, columns):
    config = GemmConfig(m, 64, 128, groups=groups, columns=columns, stages=2)
    device = EmulatedDevice(check=True, seed=seed)
    EmulatedGemm(config).load(device, atol=2e-3)()
