"""Constants: dense in the IR, or by hash in a store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DenseIntOrFPElementsAttr, StringAttr, f32
from xdsl.dialects.func import FuncOp

from stepwell.dialects.context import StepwellContext, weights_of
from stepwell.dialects.nn import AddOp, constant_value, make_constant
from stepwell.dialects.provenance import location_names, name_location
from stepwell.dialects.shapes import tensor_type
from stepwell.dialects.weights import DENSE_LIMIT, WeightAttr, WeightStore
from stepwell.errors import ModelError, OptionError

DTYPES = [
    np.bool_,
    np.int8,
    np.uint8,
    np.int64,
    np.float16,
    np.float32,
    ml_dtypes.bfloat16,
    ml_dtypes.int4,
    ml_dtypes.uint2,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e8m0fnu,
    ml_dtypes.float4_e2m1fn,
    np.complex64,
]


@pytest.mark.parametrize("size", [0, 1, 7, 2000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back(dtype: type, size: int) -> None:
    store = WeightStore()
    array = (np.arange(size) % 2).astype(np.float32).astype(dtype).reshape(-1, 1)
    found = constant_value(make_constant(array, store), store)
    assert found is not None
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_small_constants_stay_in_the_ir() -> None:
    store = WeightStore()
    small = make_constant(np.zeros(DENSE_LIMIT // 4, np.float32), store)
    large = make_constant(np.zeros(DENSE_LIMIT // 4 + 1, np.float32), store)
    assert isinstance(small.value_attr, DenseIntOrFPElementsAttr)
    assert isinstance(large.value_attr, WeightAttr)


def test_a_name_is_the_hash_of_the_bytes() -> None:
    array = np.arange(400, dtype=np.int32)
    weight = WeightStore().put(array)
    expected = hashlib.blake2b(array.tobytes(), digest_size=32).hexdigest()
    assert weight.digest.data == expected
    assert WeightStore().put(array.reshape(20, 20)) == weight


def test_the_store_keeps_a_copy() -> None:
    store, array = WeightStore(), np.zeros(300, np.float32)
    weight = store.put(array)
    array[:] = 1
    found = store.get(weight, tensor_type((300,), f32))
    assert not found.any()
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_two_stores_share_a_directory(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    weight = WeightStore(tmp_path).put(array)
    other = WeightStore(tmp_path)
    assert weight in other
    np.testing.assert_array_equal(other.get(weight, tensor_type((50, 40), f32)), array)
    assert [path.name for path in tmp_path.iterdir()] == [weight.digest.data]


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OptionError, match="No space left"):
        WeightStore(tmp_path).put(np.zeros(9))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_weight_says_what_to_do(tmp_path: Path) -> None:
    weight = WeightStore().put(np.zeros(9))
    for store in (WeightStore(), WeightStore(tmp_path)):
        assert weight not in store
        with pytest.raises(ModelError, match="pass --weights DIR"):
            store.get(weight, tensor_type((9,), f32))


def test_a_weight_of_another_size() -> None:
    store = WeightStore()
    weight = store.put(np.zeros(9, np.float32))
    with pytest.raises(ModelError, match=r"expected weight .* to fill tensor<8xf32>"):
        store.get(weight, tensor_type((8,), f32))


def test_strings_stay_in_the_ir() -> None:
    store = WeightStore()
    array = np.array([["a", "b"], ["é", ""]], dtype=object)
    op = make_constant(array, store)
    assert op.value_attr == ArrayAttr(map(StringAttr, ("a", "b", "é", "")))
    np.testing.assert_array_equal(constant_value(op, store), array)


def test_only_constants_have_a_value() -> None:
    store = WeightStore()
    constant = make_constant(np.ones(2, np.float32), store)
    sum_ = AddOp(constant, constant)
    assert constant_value(sum_, store) is None
    assert constant_value(sum_.result, store) is None
    function = FuncOp("main", ([tensor_type((2,), f32)], []))
    assert constant_value(function.body.block.args[0], store) is None


def test_a_constant_keeps_its_source() -> None:
    op = make_constant(np.ones(2), WeightStore(), name_location("conv1.weight"))
    assert location_names(op) == ("conv1.weight",)


def test_the_context_holds_the_store() -> None:
    context = StepwellContext()
    assert weights_of(context.clone()) is context.weights
    assert weights_of(Context()) is not context.weights
