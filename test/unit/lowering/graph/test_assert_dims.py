"""Open dims that must agree are checked before a kernel reads by them."""

import numpy as np
import onnx.helper as helper
import pytest

import stepwell
from stepwell.errors import InputError


@pytest.fixture(scope="module")
def engine() -> stepwell.Engine:
    kinds = [helper.make_tensor_value_info(n, 1, [d, 3]) for n, d in ("xn", "ym")]
    z = helper.make_tensor_value_info("z", 1, ["n", 3])
    node = helper.make_node("Add", ["x", "y"], ["z"], "sum")
    graph = helper.make_graph([node], "g", kinds, [z])
    opsets = [helper.make_opsetid("", 17)]
    return stepwell.build(
        helper.make_model(graph, opset_imports=opsets, ir_version=8), threads=1
    )


def test_equal_sizes_run(engine: stepwell.Engine) -> None:
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(engine(x, x), x + x)


@pytest.mark.parametrize(("rows", "others"), [(4, 1), (1, 4), (4, 3)])
def test_unequal_sizes_are_refused(
    engine: stepwell.Engine, rows: int, others: int
) -> None:
    x, y = np.ones((rows, 3), np.float32), np.ones((others, 3), np.float32)
    with pytest.raises(InputError, match="sum: dims that broadcast must be equal"):
        engine(x, y)
