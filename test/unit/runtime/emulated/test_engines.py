"""A finding of the checker in an engine names the node of the user's model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper

import stepwell
from stepwell.runtime import Engine, engine_file
from stepwell.runtime.devices.emulated.checker import Race
from stepwell.runtime.devices.emulated_gpu import EmulatedGpu

SHAPE = (2, 2000)


def softmax():
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"
    ]
    node = helper.make_node("Softmax", ["x"], ["y"], name="attention/weights")
    return helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))


@pytest.mark.parametrize("barriers", [True, False])
def test_an_engine_whose_barriers_are_taken_out(barriers):
    contents = engine_file.from_bytes(
        stepwell.build(softmax(), target="sm_80").to_bytes()
    )
    (name,) = (name for name in contents.code if name.endswith(".ptx"))
    ptx = contents.code[name].decode()
    assert "bar.sync" in ptx or "barrier" in ptx
    if not barriers:
        lines = ptx.splitlines()
        ptx = "\n".join("" if "bar.sync" in line else line for line in lines)
    changed = dataclasses.replace(contents, code={**contents.code, name: ptx.encode()})
    engine = Engine(changed, device=EmulatedGpu(check=True))
    x = np.random.default_rng(0).standard_normal(SHAPE).astype("f4")
    if barriers:
        powers = np.exp(x - x.max(1, keepdims=True))
        right = powers / powers.sum(1, keepdims=True)
        np.testing.assert_allclose(engine(x), right, rtol=1e-5)
        return
    with pytest.raises(Race, match=r"PTX line \d+, node attention/weights"):
        engine(x)
