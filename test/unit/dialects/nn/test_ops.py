"""The op definitions: documented, tested, and built with inferred types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Region
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import bf16, f16, i1, i8, i32, i64, ui8
from stepwell.dialects.nn.inference import window_size
from stepwell.dialects.shapes import DimExpr, dims_of, evaluate, symbol, tensor_type
from stepwell.errors import ShapeError

FILECHECK = Path(__file__).parents[3] / "filecheck" / "dialects"
OPS = [*nn.Nn.operations, *quant.Quant.operations]
B, S = symbol("batch"), symbol("seq")


def values(*types):
    """Values of the given tensor types."""
    return Block(arg_types=types).args


def value(*dims, element=f32):
    """A value of one tensor type."""
    return values(tensor_type(dims, element))[0]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_says_what_it_means(op: type) -> None:
    text = op.__doc__ or ""
    first = text.split("\n\n")[0]
    assert first.endswith("."), "one sentence first"
    assert re.search(r"```mlir\n.*" + re.escape(op.name), text, re.DOTALL)
    assert "Source: " in text


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_round_trips_in_a_file(op: type) -> None:
    dialect, _, name = op.name.partition(".")
    text = (FILECHECK / dialect / "ops.mlir").read_text()
    assert re.search(rf"^// CHECK: .*{dialect}\.{name}\b", text, re.MULTILINE) or (
        op is nn.YieldOp and "nn.yield" in text
    )


def test_broadcasting() -> None:
    result = nn.AddOp(value(B, 1, 4), value(S, 1)).result
    assert dims_of(result) == (B, S, 4)
    assert dims_of(nn.MulOp(value(B, S), value(B, 1)).result) == (B, S)
    # Undecided equality is taken for granted; a number tells more than a symbol.
    assert dims_of(nn.MulOp(value(B), value(7)).result) == (7,)
    assert dims_of(nn.SelectOp(value(3, 1, element=i1), value(4), value()).result) == (
        3,
        4,
    )


def test_element_types() -> None:
    x = value(2, 3, element=f16)
    assert nn.CompareOp(x, x, predicate="lt").result.type == tensor_type((2, 3), i1)
    assert nn.CastOp(x, bf16).result.type == tensor_type((2, 3), bf16)
    assert nn.ArgReduceOp(x, kind="max", axis=1).result.type == tensor_type((2,), i64)
    assert nn.IsNanOp(x).result.type == tensor_type((2, 3), i1)


def test_parameters_are_python_values() -> None:
    op = nn.ConvOp(value(1, 4, 8, 8), value(6, 2, 3, 3), groups=2, pads=(1, 0, 1, S))
    assert op.value("strides") == (1, 1)
    assert op.value("groups") == 2
    assert op.value("pads") == (1, 0, 1, S)
    assert op.value("channels_last") is False
    clamp = nn.ClampOp(value(2), min=0)
    assert clamp.value("min") == 0.0
    assert clamp.value("max") is None


def test_an_unknown_parameter() -> None:
    with pytest.raises(TypeError, match=r"expected a parameter of nn.relu \(\), got x"):
        nn.ReluOp(value(2), x=1)


@pytest.mark.parametrize(
    ("last", "shape"), [(False, (B, 6, 4, S - 2)), (True, (B, 4, S - 2, 6))]
)
def test_convolution(last: bool, shape: tuple) -> None:
    x = value(B, 8, S, 4) if last else value(B, 4, 8, S)
    w = value(3, 3, 2, 6) if last else value(6, 2, 3, 3)
    parameters = {
        "groups": 2,
        "strides": (2, 1),
        "pads": (1, 0, 1, 0),
        "channels_last": last,
    }
    op = nn.ConvOp(x, w, value(6), **parameters)
    assert dims_of(op.result) == shape
    op.verify()


def test_transposed_convolution_undoes_the_size() -> None:
    y = nn.ConvTransposeOp(
        value(1, 8, S, S),
        value(8, 3, 3, 3),
        strides=(2, 2),
        pads=(1,) * 4,
        output_padding=(1, 1),
    )
    assert dims_of(y.result) == (1, 3, 2 * S, 2 * S)


@pytest.mark.parametrize("size", range(4, 12))
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_of_a_symbol_is_pooling_of_its_value(size: int, ceil_mode: bool):
    def pooled(dim):
        return window_size(dim, 3, 2, 2, 1, ceil_mode=ceil_mode, pad_low=1)

    expression = pooled(S)
    assert isinstance(expression, DimExpr)
    windows = [start for start in range(-1, size + 1, 2) if start + 3 <= size + 1]
    if ceil_mode and windows[-1] + 3 < size + 1 and windows[-1] + 2 < size:
        windows.append(windows[-1] + 2)
    assert pooled(size) == len(windows)
    assert evaluate(expression, {"seq": size}) == len(windows)


def test_matrix_products() -> None:
    assert dims_of(nn.MatmulOp(value(B, 1, S, 8), value(3, 8, 5)).result) == (
        B,
        3,
        S,
        5,
    )
    assert dims_of(nn.MatmulOp(value(8), value(8, 5)).result) == (5,)
    assert dims_of(nn.MatmulOp(value(S, 8), value(8)).result) == (S,)
    assert dims_of(nn.MatmulOp(value(8), value(8)).result) == ()


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("bij,bjk->bik", (B, 3, 5)),
        ("...ij,...jk->...ik", (B, 3, 5)),
        ("bij,bjk", (3, 5)),
        (" b i j , b j k -> k i ", (5, 3)),
    ],
)
def test_einsum(equation: str, shape: tuple) -> None:
    x, y = value(B, 3, 4), value(B, 4, 5)
    assert dims_of(nn.EinsumOp(x, y, equation=equation).result) == shape


def test_reductions() -> None:
    x = value(B, 3, S)
    assert dims_of(nn.ReduceOp(x, kind="sum", axes=(1, -1)).result) == (B,)
    kept = nn.ReduceOp(x, kind="max", axes=(-1,), keepdims=True)
    assert dims_of(kept.result) == (B, 3, 1)
    with pytest.raises(ShapeError, match="expected i1 for any, got f32"):
        nn.ReduceOp(x, kind="any", axes=(0,))


def test_slices() -> None:
    x = value(S, 10)
    y = nn.SliceOp(x, (1, 9), (S, -1), (2, -3))
    assert dims_of(y.result) == (S // 2, 4)


def test_concat_and_pad() -> None:
    y = nn.ConcatOp([value(B, 3), value(B, S), value(B, 1)], axis=1)
    assert dims_of(y.result) == (B, S + 4)
    padded = nn.PadOp(y.result, low=(0, -1), high=(B, 2))
    assert dims_of(padded.result) == (2 * B, S + 5)


def test_gathers() -> None:
    x, i = value(8, S, 4), value(B, 2, element=i64)
    assert dims_of(nn.GatherOp(x, i, axis=1).result) == (8, B, 2, 4)
    assert dims_of(nn.GatherNdOp(x, i).result) == (B, 4)
    assert dims_of(nn.GatherNdOp(x, i, batch_dims=1).result) == (B,)


def test_sizes_that_depend_on_data() -> None:
    n = symbol("found")
    assert dims_of(nn.NonzeroOp(value(2, 3, element=i1), n).result) == (2, n)
    unique = nn.UniqueOp(value(2, S), n, axis=1)
    assert [dims_of(result) for result in unique.results] == [(2, n), (n,), (S,), (n,)]
    kept = nn.CompressOp(value(4, 5), value(4, element=i1), n, axis=0)
    assert dims_of(kept.result) == (n, 5)


def test_recurrent_layers() -> None:
    x, w, r = value(S, B, 4), value(2, 32, 4), value(2, 32, 8)
    names = ["Sigmoid", "Tanh", "Tanh"] * 2
    op = nn.LstmOp(x, w, r, direction="bidirectional", activations=names)
    assert [dims_of(result) for result in op.results] == [
        (S, 2, B, 8),
        (2, B, 8),
        (2, B, 8),
    ]
    with pytest.raises(ShapeError, match="expected equal directions of w, got 2 and 1"):
        nn.LstmOp(x, w, r, activations=names)


def test_transforms() -> None:
    x = value(B, S, 1)
    assert dims_of(nn.DftOp(x, axis=1).result) == (B, S, 2)
    half = nn.DftOp(x, axis=1, onesided=True)
    assert dims_of(half.result) == (B, S // 2 + 1, 2)
    back = nn.DftOp(half.result, axis=1, onesided=True, inverse=True, length=S)
    assert dims_of(back.result) == (B, S, 1)


def test_quantized_values() -> None:
    x, scale, zero = value(B, 64), value(B, 2), value(B, 2, element=i8)
    q = quant.QuantizeOp(x, scale, zero, to=i8, axis=1, block_size=32)
    assert q.result.type == tensor_type((B, 64), i8)
    back = quant.DequantizeOp(q.result, scale, zero, axis=1, block_size=32)
    assert back.result.type == x.type
    a, b = value(S, 8, element=ui8), value(8, 5, element=i8)
    assert quant.MatmulIntegerOp(a, b).result.type == tensor_type((S, 5), i32)


def test_inference_repeats_itself() -> None:
    op = nn.ConvOp(value(B, 3, S, S), value(8, 3, 3, 3), strides=(2, 2))
    assert nn.infer_types(op) == [op.result.type]


def test_results_may_state_dims_that_nobody_disproves() -> None:
    op = nn.ReluOp(value(B), result_types=[tensor_type((S,), f32)])
    op.verify()
    wrong = nn.ReluOp(value(B), result_types=[tensor_type((B + 1,), f32)])
    with pytest.raises(VerifyException, match=r"expected result 0 of nn.relu"):
        wrong.verify()


def test_branches() -> None:
    kind = tensor_type((B,), f32)
    condition, x = values(tensor_type((), i1), kind)
    regions = [Region(Block([nn.YieldOp(x)])) for _ in range(2)]
    op = nn.IfOp(condition, [kind], *regions)
    op.verify()
    short = Region(Block([nn.YieldOp()]))
    with pytest.raises(VerifyException, match=r"expected 1 results of nn.if, got 0"):
        nn.IfOp(condition, [kind], Region(Block([nn.YieldOp(x)])), short).verify()
