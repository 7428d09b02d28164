"""Each op of the table against PyTorch, on the reference interpreter."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")


def floats(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) * (high - low) + low


def integers(*shape: int, low: int = 0, high: int = 5, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator)


def bools(*shape: int, seed: int = 0) -> Any:
    return floats(*shape, seed=seed) > 0


X, Y = floats(3, 4), floats(3, 4, seed=1)
POSITIVE = floats(3, 4, low=0.1, high=3)
UNIT = floats(3, 4, low=-0.95, high=0.95)
N, M = integers(3, 4, low=-6, high=7), integers(3, 4, low=1, high=4, seed=1)
IMAGE = floats(2, 4, 7, 6)
LINE, VOLUME = floats(2, 4, 9), floats(1, 2, 5, 4, 6)

UNARY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        [
            "abs",
            "neg",
            "exp",
            "expm1",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "atan",
            "erf",
            "relu",
            "sigmoid",
            "silu",
            "sign",
            "sgn",
            "ceil",
            "floor",
            "round",
            "trunc",
            "frac",
            "isnan",
            "isinf",
            "logical_not",
            "hardswish",
            "mish",
            "exp2",
            "hardsigmoid",
            "gelu",
            "softplus",
            "elu",
            "celu",
            "leaky_relu",
            "hardtanh",
            "relu6",
            "clone",
            "alias",
            "detach",
            "contiguous",
            "t",
            "flatten.using_ints",
        ],
        (X, N),
    ),
    **dict.fromkeys(
        ["log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal"], (POSITIVE,)
    ),
    **dict.fromkeys(["asin", "acos", "atanh", "logit"], (UNIT,)),
    "acosh": (POSITIVE + 1,),
    "bitwise_not": (N, bools(3, 4)),
}
FLOAT_ONLY = [
    "hardswish",
    "mish",
    "hardsigmoid",
    "gelu",
    "softplus",
    "elu",
    "celu",
    "leaky_relu",
    "hardtanh",
    "relu6",
    "frac",
    "silu",
]


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name: str, check_op: Any) -> None:
    overload = f"aten.{name}" if "." in name else f"aten.{name}.default"
    for x in UNARY[name]:
        if x.is_floating_point() or name not in FLOAT_ONLY:
            check_op(overload, x)


PAIRS: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(
        [
            "add.Tensor",
            "sub.Tensor",
            "mul.Tensor",
            "div.Tensor",
            "atan2.default",
            "maximum.default",
            "minimum.default",
            "eq.Tensor",
            "ne.Tensor",
            "lt.Tensor",
            "le.Tensor",
            "gt.Tensor",
            "ge.Tensor",
            "remainder.Tensor",
            "fmod.Tensor",
            "logical_and.default",
            "logical_or.default",
            "logical_xor.default",
            "floor_divide.default",
        ],
        (X, Y),
    ),
    "pow.Tensor_Tensor": (POSITIVE, Y),
}
MIXED = (
    (X, Y),
    (N, M),
    (N, Y),
    (X, M),
    (floats(3, 4), floats(4, seed=2)),
    (N.to(torch.int32), M.to(torch.int8)),
    (X.double(), torch.tensor(2.5)),
    (N, torch.tensor(1.5)),
    (bools(3, 4), M),
)


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_tensors_promote_as_torch_does(
    name: str, check_op: Any
) -> None:
    for left, right in MIXED:
        if name == "sub.Tensor" and left.dtype == torch.bool:
            continue  # PyTorch has no difference of truth values
        if name == "pow.Tensor_Tensor" and left.dtype != torch.bool:
            left, right = left.abs() + 1, right.abs()
        check_op(f"aten.{name}", left, right, rtol=1e-4)


@pytest.mark.parametrize("kind", ["add", "sub", "rsub", "mul", "div", "remainder"])
def test_numbers_promote_as_torch_does(kind: str, check_op: Any) -> None:
    for x in (X, N, X.double(), X.half(), N.to(torch.uint8)):
        for number in (3, 2.5):
            check_op(f"aten.{kind}.Scalar", x, number, rtol=2e-3)


@pytest.mark.parametrize("kind", ["eq", "ne", "lt", "le", "gt", "ge", "fmod"])
def test_numbers_compare_as_torch_does(kind: str, check_op: Any) -> None:
    for x in (X, N):
        check_op(f"aten.{kind}.Scalar", x, 2)
        check_op(f"aten.{kind}.Scalar", x, 0.5)


@pytest.mark.parametrize("mode", [None, "trunc", "floor"])
def test_division_rounds(mode: str | None, check_op: Any) -> None:
    for pair in ((X, Y), (N, M), (N, -M), (X, 3.0), (N, -3)):
        overload = "Tensor_mode" if torch.is_tensor(pair[1]) else "Scalar_mode"
        check_op(f"aten.div.{overload}", *pair, rounding_mode=mode)


CALLS: list[tuple[Any, ...]] = [
    # Elementwise with attributes
    ("add.Tensor", X, Y, {"alpha": 2.5}),
    ("sub.Tensor", X, Y, {"alpha": 2}),
    ("add.Tensor", bools(3, 4), bools(3, 4, seed=1)),
    ("mul.Tensor", bools(3, 4), bools(3, 4, seed=1)),
    ("pow.Tensor_Scalar", X, 2),
    ("pow.Tensor_Scalar", POSITIVE, 0.5),
    ("pow.Tensor_Scalar", X, 3),
    ("pow.Tensor_Scalar", N, 2),
    ("pow.Scalar", 2.0, X),
    ("where.self", bools(3, 4), X, Y),
    ("where.self", bools(3, 1), X, torch.tensor(1.0)),
    ("where.self", bools(3, 4), N, Y),
    ("where.ScalarOther", bools(3, 4), X, 3.0),
    ("masked_fill.Scalar", X, bools(3, 4), float("-inf")),
    ("masked_fill.Tensor", X, bools(4), torch.tensor(1.5)),
    ("clamp.default", X, -0.5, 0.5),
    ("clamp.default", N, None, 2),
    ("clamp.default", X, 0.0),
    ("clamp.Tensor", X, Y, Y + 1),
    ("clamp_min.default", X, 0.5),
    ("clamp_max.default", X, 0.5),
    ("hardtanh.default", X, -0.5, 0.75),
    ("gelu.default", X, {"approximate": "tanh"}),
    ("softplus.default", X * 20, 2.0, 10.0),
    ("elu.default", X, 0.7, 1.5, 0.3),
    ("elu.default", X, 1.67, 1.05),
    ("celu.default", X, 0.7),
    ("leaky_relu.default", X, 0.2),
    ("prelu.default", IMAGE, floats(4)),
    ("prelu.default", X, floats(1)),
    ("_prelu_kernel.default", IMAGE, floats(1, 4, 1, 1)),
    ("threshold.default", X, 0.3, -1.0),
    ("logit.default", POSITIVE / 3, 0.2),
    ("round.decimals", X, {"decimals": 1}),
    ("lerp.Scalar", X, Y, 0.3),
    ("lerp.Tensor", X, Y, POSITIVE),
    ("addcmul.default", X, Y, POSITIVE, {"value": 0.5}),
    ("addcdiv.default", X, Y, POSITIVE),
    ("square.default", N),
    ("min.other", X, N),
    ("bitwise_and.Tensor", N, M),
    ("bitwise_or.Tensor", N, M),
    ("bitwise_xor.Scalar", N, 3),
    ("bitwise_left_shift.Tensor", N, M),
    ("bitwise_right_shift.Tensor", N, M),
    ("_to_copy.default", X, {"dtype": torch.int64}),
    ("_to_copy.default", N, {"dtype": torch.float16}),
    ("to.dtype", X, torch.bool),
    ("copy.default", X, floats(4, seed=3)),
    ("copy.default", X, N),
    ("signbit.default", torch.tensor([-0.0, 0.0, -1.0, float("nan")])),
    ("copysign.Tensor", X, -POSITIVE),
    ("copysign.Scalar", X, -0.0),
    ("hypot.default", X, Y),
    ("fmax.default", X, torch.tensor([1.0, float("nan"), 0.0, -1.0])),
    ("fmin.default", torch.tensor([1.0, float("nan"), 0.0, -1.0]), X),
    ("erfc.default", X),
    ("ldexp.Tensor", X, N),
    ("view.dtype", X, torch.int32),
    ("__lshift__.Scalar", N, 2),
    ("__and__.Tensor", N, M),
    # Contraction
    ("mm.default", X, floats(4, 5)),
    ("bmm.default", floats(2, 3, 4), floats(2, 4, 5)),
    ("matmul.default", floats(2, 3, 4), floats(4)),
    ("matmul.default", floats(2, 1, 3, 4), floats(5, 4, 2)),
    ("mv.default", X, floats(4)),
    ("dot.default", floats(4), floats(4, seed=1)),
    ("linear.default", floats(2, 3, 4), floats(5, 4), floats(5)),
    ("linear.default", floats(2, 4), floats(5, 4)),
    ("addmm.default", floats(5), X, floats(4, 5)),
    ("addmm.default", floats(3, 5), X, floats(4, 5), {"beta": 0.5, "alpha": 2}),
    ("addmm.default", floats(5), X, floats(4, 5), {"beta": 0}),
    ("addmv.default", floats(3), X, floats(4)),
    ("baddbmm.default", floats(1, 5), floats(2, 3, 4), floats(2, 4, 5)),
    ("einsum.default", "ij,jk->ik", [X, floats(4, 5)]),
    ("einsum.default", "b...i,bi->b...", [floats(2, 3, 5, 4), floats(2, 4)]),
    ("einsum.default", "ij,kj,lk->il", [X, Y, floats(2, 3)]),
    ("einsum.default", "ji", [X]),
    ("outer.default", floats(3), floats(4)),
    ("_cdist_forward.default", floats(2, 3, 4), floats(2, 5, 4), 2.0, None),
    ("_cdist_forward.default", X, floats(2, 4), 1.0, None),
    ("_pdist_forward.default", X, 2.0),
    ("_trilinear.default", floats(3, 2), floats(5, 2, 4), floats(3, 4), [1, 3], [0],
     [1, 2], [2, 3]),
    # Reductions
    ("sum.default", X),
    ("sum.default", bools(3, 4)),
    ("sum.dim_IntList", N, [0], True),
    ("sum.dim_IntList", X, []),
    ("sum.dim_IntList", N, [-1], {"dtype": torch.float32}),
    ("mean.default", X),
    ("mean.dim", IMAGE, [-1, -2], True),
    ("prod.default", X),
    ("prod.dim_int", N, 1),
    ("amax.default", X, [1]),
    ("amin.default", X, [0, 1], True),
    ("max.default", N),
    ("min.default", X),
    ("max.dim", X, 1),
    ("min.dim", N, 0, True),
    ("any.default", N),
    ("any.dim", bools(3, 4), 1),
    ("any.dims", N, [0, 1]),
    ("all.default", N),
    ("all.dim", M, 0, True),
    ("argmax.default", X),
    ("argmax.default", X, 1),
    ("argmin.default", X, 0, True),
    ("argmax.default", X, None, True),
    ("var.correction", X, [1], {"correction": 1}),
    ("var.correction", X, None, {"correction": 0, "keepdim": True}),
    ("std.correction", X, [0]),
    ("var_mean.correction", IMAGE, [2, 3], {"correction": 0, "keepdim": True}),
    ("std_mean.correction", X, [1]),
    ("logsumexp.default", X, [1]),
    ("logsumexp.default", torch.full((2, 3), float("-inf")), [1], True),
    *(("linalg_vector_norm.default", X, p, [1]) for p in (0, 1, 2, 3, float("inf"))),
    ("linalg_vector_norm.default", X, float("-inf"), None, True),
    ("cumsum.default", X, 1),
    ("cumsum.default", bools(3, 4), 0),
    ("cumprod.default", X, -1),
    ("sort.default", X, 0, True),
    ("sort.stable", N, {"stable": True, "dim": 1, "descending": False}),
    ("argsort.default", X),
    ("topk.default", X, 2),
    ("topk.default", X, 2, 0, False, True),
    ("count_nonzero.dim_IntList", N, [1]),
    ("kthvalue.default", X, 2, 0),
    ("median.default", X),
    ("median.dim", floats(3, 4, 5), 1),
    ("median.dim", torch.tensor([[1.0, float("nan")], [2.0, 3.0]]), 1, True),
    ("bucketize.Tensor", X, torch.tensor([-1.0, 0.0, 1.0])),
    ("bucketize.Tensor", N, torch.tensor([-1, 0, 3]), {"right": True}),
    ("searchsorted.Tensor", torch.tensor([-1.0, 0.0, 1.0]), X, {"out_int32": True}),
    ("dist.default", X, Y, 3.0),
    # Normalisation, attention
    ("batch_norm.default", IMAGE, *[floats(4, low=0.5, seed=i) for i in range(3)],
     floats(4, low=0.5, high=1), False, 0.1, 1e-3, True),
    ("batch_norm.default", floats(3, 4), None, None, floats(4), floats(4, low=0.5,
     high=1), False, 0.1, 1e-5, True),
    ("_native_batch_norm_legit_no_training.default", IMAGE, floats(4), None,
     floats(4, seed=1), floats(4, low=0.5), 0.1, 1e-5, {"outputs": 1}),
    ("_native_batch_norm_legit.no_stats", IMAGE, floats(4), floats(4, seed=1), True,
     0.1, 1e-5),
    ("_native_batch_norm_legit_functional.default", IMAGE, floats(4), floats(4, seed=1),
     floats(4, seed=2), floats(4, low=0.5), True, 0.1, 1e-5),
    ("layer_norm.default", IMAGE, [6], floats(6), floats(6, seed=1)),
    ("layer_norm.default", IMAGE, [7, 6], None, None, 1e-3),
    ("native_layer_norm.default", X, [4], floats(4), None, 1e-5),
    ("native_layer_norm.default", X, [4], None, None, 1e-5, {"outputs": 1}),
    ("rms_norm.default", X, [4], floats(4)),
    ("rms_norm.default", X, [4], None, 1e-2),
    ("group_norm.default", IMAGE, 2, floats(4), floats(4, seed=1)),
    ("native_group_norm.default", IMAGE, None, None, 2, 4, 42, 4, 1e-5, {"outputs": 1}),
    ("instance_norm.default", IMAGE, floats(4), None, None, None, True, 0.1, 1e-5,
     True),
    ("softmax.int", X, 1),
    ("_softmax.default", X, 0, False),
    ("_log_softmax.default", X, -1, False),
    ("log_softmax.int", X, 0),
    ("scaled_dot_product_attention.default", *[floats(2, 3, 5, 4, seed=i)
     for i in range(3)]),
    ("scaled_dot_product_attention.default", *[floats(2, 3, 5, 4, seed=i)
     for i in range(3)], None, 0.0, True),
    ("scaled_dot_product_attention.default", *[floats(1, 2, 5, 4, seed=i)
     for i in range(3)], bools(5, 5) | torch.eye(5, dtype=torch.bool)),
    ("scaled_dot_product_attention.default", floats(1, 4, 5, 4), *[floats(1, 2, 6, 4,
     seed=i) for i in (1, 2)], floats(5, 6), {"scale": 0.3, "enable_gqa": True}),
    ("_scaled_dot_product_flash_attention_for_cpu.default", *[floats(1, 2, 5, 4, seed=i)
     for i in range(3)], {"outputs": 1}),
    ("_weight_norm.default", floats(3, 4, 2), floats(1, 1, 2), 2),
    # Convolution
    ("conv1d.default", LINE, floats(3, 4, 3), floats(3), [2], [1]),
    ("conv2d.default", IMAGE, floats(6, 2, 3, 3), None, [1, 2], [1, 0], [2, 1], 2),
    ("conv3d.default", VOLUME, floats(3, 2, 2, 3, 1), floats(3)),
    ("conv2d.padding", IMAGE, floats(3, 4, 3, 2), None, [1, 1], "same", [2, 1]),
    ("conv1d.padding", LINE, floats(3, 4, 3), floats(3), [2], "valid"),
    ("conv2d.default", floats(4, 7, 6), floats(3, 4, 3, 3)),
    ("conv_transpose2d.input", IMAGE, floats(4, 3, 3, 2), floats(6), [2, 1], [1, 0],
     [1, 0], 2, [1, 2]),
    ("conv_transpose1d.default", LINE, floats(4, 3, 3), None, [2]),
    ("conv_transpose3d.input", VOLUME, floats(2, 1, 2, 2, 2)),
    ("convolution.default", IMAGE, floats(4, 1, 3, 3), None, [1, 1], [1, 1], [1, 1],
     False, [0, 0], 4),
    ("convolution.default", IMAGE, floats(4, 3, 3, 3), None, [2, 2], [1, 1], [1, 1],
     True, [1, 1], 1),
    # Pooling
    ("max_pool1d.default", LINE, [3]),
    ("max_pool2d.default", IMAGE, [3, 2], [2, 2], [1, 1], [1, 1], True),
    ("max_pool3d.default", VOLUME, [2]),
    ("max_pool2d_with_indices.default", IMAGE, [3, 3], [2, 2], [1, 1]),
    ("max_pool2d_with_indices.default", floats(4, 7, 6), [2, 2], {"outputs": 1}),
    ("avg_pool1d.default", LINE, [3], [2], [1]),
    ("avg_pool2d.default", IMAGE, [3, 3], [2, 2], [1, 1], True, False),
    ("avg_pool2d.default", IMAGE, [3, 3], [2, 2], [1, 1], True, True),
    ("avg_pool2d.default", IMAGE, [3, 3], [], 0, False, True, 5),
    ("avg_pool3d.default", VOLUME, [2, 2, 2]),
    ("adaptive_avg_pool1d.default", LINE, [3]),
    ("adaptive_avg_pool2d.default", IMAGE, [1, 1]),
    ("adaptive_avg_pool2d.default", IMAGE, [3, 4]),
    ("_adaptive_avg_pool2d.default", floats(2, 3, 8, 6), [4, 3]),
    ("_adaptive_avg_pool3d.default", VOLUME, [2, 3, 4]),
    ("adaptive_max_pool2d.default", IMAGE, [3, 4], {"outputs": 1}),
    ("adaptive_max_pool1d.default", LINE, [3], {"outputs": 1}),
    # Resizing
    ("upsample_nearest1d.default", LINE, [13]),
    ("upsample_nearest2d.vec", IMAGE, None, [2.0, 1.5]),
    ("upsample_nearest2d.default", IMAGE, [5, 11]),
    ("upsample_nearest3d.default", VOLUME, [7, 8, 3]),
    ("_upsample_nearest_exact2d.default", IMAGE, [5, 11]),
    ("upsample_linear1d.default", LINE, [13], False),
    ("upsample_bilinear2d.vec", IMAGE, [11, 5], False, None),
    ("upsample_bilinear2d.vec", IMAGE, None, True, [2.0, 1.7]),
    ("upsample_bilinear2d.vec", IMAGE, None, False, [2.0, 1.7]),
    ("upsample_bilinear2d.default", IMAGE, [3, 14], True),
    ("upsample_trilinear3d.default", VOLUME, [7, 8, 3], False),
    ("upsample_bicubic2d.default", IMAGE, [11, 5], False),
    ("upsample_bicubic2d.vec", IMAGE, [11, 5], True, None),
    ("_upsample_bilinear2d_aa.default", IMAGE, [3, 4], False),
    ("_upsample_bicubic2d_aa.default", IMAGE, [3, 14], False),
    *(("grid_sampler_2d.default", IMAGE, floats(2, 3, 5, 2, low=-1.3, high=1.3), mode,
       padding, align) for mode, padding, align in
      ((0, 0, False), (0, 1, True), (1, 0, False), (2, 2, True), (0, 2, False))),
    ("grid_sampler_3d.default", VOLUME, floats(1, 2, 3, 4, 3), 0, 0, False),
    # Shape
    ("view.default", X, [2, -1]),
    ("reshape.default", X, [6, 2]),
    ("squeeze.dim", floats(3, 1, 4), 1),
    ("squeeze.dims", floats(1, 3, 1, 4), [0, 2]),
    ("squeeze.default", floats(1, 3, 1)),
    ("unsqueeze.default", X, -1),
    ("unflatten.int", X, 1, [2, 2]),
    ("permute.default", IMAGE, [0, 3, -3, 2]),
    ("transpose.int", IMAGE, 1, -1),
    ("expand.default", floats(3, 1), [2, 3, 4]),
    ("expand.default", floats(3, 1), [-1, 4]),
    ("cat.default", [X, floats(3, 2)], 1),
    ("cat.default", [X, N, torch.zeros(0)], 0),
    ("stack.default", [X, Y], 1),
    ("stack.default", [X, Y], -1),
    ("slice.Tensor", X, 1, 1, -1),
    ("slice.Tensor", X, 0, -2, 9223372036854775807),
    ("slice.Tensor", floats(9, 2), 0, 1, 8, 3),
    ("slice.Tensor", X, 1, 3, 1),
    ("slice.Tensor", X, 1, -100, 100),
    ("select.int", X, 1, -2),
    ("narrow.default", X, 1, 1, 2),
    ("split_with_sizes.default", floats(6, 2), [1, 2, 3]),
    ("split.Tensor", floats(7, 2), 3),
    ("chunk.default", X, 3, 1),
    ("unbind.int", X, 1),
    ("repeat.default", X, [2, 1, 3]),
    ("flip.default", X, [0, -1]),
    ("roll.default", X, [1, -2], [0, 1]),
    ("roll.default", X, [5]),
    ("constant_pad_nd.default", X, [1, 2, -1, 3], 2.5),
    ("pad.default", IMAGE, [1, 2, 2, 0], "reflect"),
    ("pad.default", IMAGE, [1, 2], "constant", 0.5),
    ("reflection_pad1d.default", LINE, [2, 3]),
    ("replication_pad2d.default", IMAGE, [1, 2, 3, 0]),
    ("slice_scatter.default", X, floats(3, 2), 1, 1, 3),
    ("slice_scatter.default", X, floats(1, 4), 0, 2),
    ("slice_scatter.default", X, floats(3, 2), 1, 0, None, 2),
    ("select_scatter.default", X, floats(3), 1, -1),
    ("repeat_interleave.self_int", X, 3, 1),
    ("repeat_interleave.self_int", X, 2),
    ("diff.default", X),
    ("diff.default", N, 2, 1, floats(3, 1), floats(3, 2)),
    ("diff.default", bools(3, 4), 1, 0),
    ("pixel_shuffle.default", IMAGE, 2),
    ("pixel_unshuffle.default", floats(2, 3, 4, 6), 2),
    ("unfold.default", LINE, -1, 3, 2),
    ("unfold.default", LINE, 1, 2, 1),
    ("movedim.int", IMAGE, 1, -1),
    ("movedim.intlist", IMAGE, [0, 3], [2, 0]),
    ("rrelu.default", X, 0.1, 0.3),
    ("addbmm.default", floats(3, 5), floats(2, 3, 4), floats(2, 4, 5),
     {"beta": 0.5, "alpha": 2}),
    *(("einsum.default", equation, [floats(*shape) for shape in shapes])
      for equation, *shapes in (
          ("ii->i", (4, 4)), ("ii", (4, 4)), ("iij->j", (4, 4, 3)),
          ("...ij,...jk,kl->...il", (2, 3, 4), (1, 4, 5), (5, 2)),
          ("b...i,i...,j->...bj", (2, 3, 4), (4, 1), (5,)))),
    ("searchsorted.Tensor", X.sort()[0], floats(3, 5)),
    ("searchsorted.Tensor", X[0], floats(3, 5), {"sorter": X[0].argsort()}),
    # Indexing
    ("embedding.default", floats(7, 3), integers(2, 5)),
    ("index_select.default", X, 1, integers(6, high=4)),
    ("gather.default", X, 1, integers(3, 6, high=4)),
    ("gather.default", X, 0, integers(2, 3, high=3)),
    ("index.Tensor", X, [integers(5, high=3)]),
    ("index.Tensor", X, [None, integers(2, 3, high=4)]),
    ("index.Tensor", X, [integers(3, 1, high=3), integers(4, high=4)]),
    ("index.Tensor", IMAGE, [None, integers(5, high=4), integers(3, 1, high=7)]),
    ("index.Tensor", IMAGE, [integers(3, high=2), None, integers(3, high=7)]),
    ("index_put.default", X, [integers(2, high=3)], floats(2, 4)),
    ("index_put.default", X, [torch.tensor([0, 2]), torch.tensor([1, 3])], floats(2)),
    ("index_put.default", X, [None, torch.tensor([1, 3])], floats(3, 2)),
    ("index_put.default", X, [None, integers(5, high=4)], floats(3, 5), True),
    ("index_put.default", X, [bools(3, 4)], torch.tensor(7.0)),
    ("index_put.default", X, [bools(3)], torch.tensor(7.0)),
    ("scatter.src", X, 1, torch.tensor([[0, 1], [2, 3]]), floats(3, 3)),
    ("scatter.value", X, 0, torch.tensor([[0, 1, 2, 0]]), 4.0),
    ("scatter_add.default", X, 1, integers(3, 6, high=4), floats(3, 6)),
    ("scatter.value_reduce", X, 0, torch.tensor([[0, 1, 2, 0]]), 4.0,
     {"reduce": "multiply"}),
    *(("scatter_reduce.two", X, 1, integers(3, 6, high=4), floats(3, 6), kind)
      for kind in ("sum", "prod", "amax", "amin")),
    *(("scatter_reduce.two", X, 1, integers(3, 3, high=4), floats(3, 3), kind,
       {"include_self": False})
      for kind in ("sum", "prod", "amax", "amin", "mean")),
    ("scatter_reduce.two", X, 0, integers(2, 4, high=3), floats(2, 4), "mean"),
    ("scatter_reduce.two", N, 1, integers(3, 6, high=4), integers(3, 6), "amin",
     {"include_self": False}),
    ("index_add.default", X, 1, integers(5, high=4), floats(3, 5), {"alpha": 0.5}),
    ("as_strided.default", X, [2, 3], [4, 1], 1),
    ("as_strided.default", X, [3, 2, 2], [1, 4, 0]),
    *(("_embedding_bag.default", floats(7, 3), integers(8, high=7),
       torch.tensor([0, 3, 3, 5]), False, mode, {"outputs": 1}) for mode in (0, 1, 2)),
    *(("_embedding_bag.default", floats(7, 3), integers(8, high=7),
       torch.tensor([0, 3, 3, 8]), False, mode, False, None, True, 2, {"outputs": 1})
      for mode in (0, 1, 2)),
    *(("index_reduce.default", X, 1, torch.tensor([0, 2, 2]), floats(3, 3), kind,
       {"include_self": kind != "amax"}) for kind in ("prod", "mean", "amax", "amin")),
    ("index_put.default", X, [torch.tensor([True, False, True])], floats(2, 4), True),
    ("index_put.default", X, [torch.tensor([False] * 3)], floats(0, 4)),
    ("index_put.default", X, [torch.tensor([True, False, True])], floats(1, 4)),
    # Creation
    ("full.default", [2, 3], 2.5),
    ("full.default", [2, 3], 7),
    ("full_like.default", X, 3),
    ("full_like.default", X, 3, {"dtype": torch.int64}),
    ("new_full.default", X, [2], 3.0),
    ("zeros.default", [2, 3]),
    ("ones_like.default", N),
    ("zeros_like.default", X),
    ("new_ones.default", X, [3, 2]),
    ("scalar_tensor.default", 3.5),
    ("arange.default", 5),
    ("arange.start", 2, 7),
    ("arange.start_step", 1, 2.5, 0.25),
    ("arange.start_step", 10, 0, -3),
    ("arange.default", 300),
    ("linspace.default", 0, 1, 5),
    ("tril.default", X),
    ("tril_indices.default", 3, 4, 1),
    ("triu_indices.default", 3, 3),
    ("triu.default", floats(2, 4, 3), 1),
    ("tril.default", X, -1),
    ("eye.default", 3),
    ("diagonal.default", floats(2, 3, 4), 1, 1, 2),
    ("diagonal.default", floats(4, 3), -1),
    ("histc.default", X, 5, -1, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    "call", CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)]
)
def test_call(call: tuple[Any, ...], check_op: Any) -> None:
    name, *args = call
    kwargs = args.pop() if isinstance(args[-1], dict) else {}
    check_op(f"aten.{name}", *args, rtol=1e-4, atol=1e-5, **kwargs)
