"""Real numbers made of sizes, and what a trace takes for granted of sizes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.export import Dim

import stepwell
from stepwell.errors import InputError, OptionError, UnsupportedError

ROWS = ({0: Dim.DYNAMIC},)


class Odd(nn.Module):
    """Three ways in which a trace depends on the size of its example."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Any) -> Any:
        rows = x.shape[0]
        if self.kind == "scale":
            attend = nn.functional.scaled_dot_product_attention
            return attend(x, x, x, scale=rows**-0.5)
        test = rows % 2 == 0 if self.kind == "even" else rows != 5
        return x * 2 if test else x * 3


@pytest.mark.parametrize("kind", ["even", "not five", "scale"])
@pytest.mark.parametrize("saved", [False, True])
def test_a_condition_on_sizes_is_checked(kind: str, saved: bool, tmp_path: Any) -> None:
    model, x = Odd(kind), torch.rand(4, 3)
    source: Any = torch.export.export(model, (x,), dynamic_shapes=ROWS)
    if saved:
        torch.export.save(source, source := str(tmp_path / "odd.pt2"))
    engine = stepwell.build(source)
    np.testing.assert_allclose(engine(x.numpy()), model(x), rtol=1e-5)
    with pytest.raises(InputError, match="the model was traced for sizes with"):
        engine(torch.rand(5, 3).numpy())


def test_what_a_range_decides_is_not_checked() -> None:
    with pytest.raises(OptionError, match="traced for sizes with"):
        stepwell.build(
            Odd("even"),
            args=(torch.rand(4, 3),),
            dynamic_shapes=ROWS,
            shapes={"x": (3, 3)},
        )


def test_sizes_of_several_arguments_are_compared() -> None:
    class Larger(nn.Module):
        def forward(self, *parts: Any) -> Any:
            first, second = parts
            return first + 1 if first.shape[0] > second.shape[0] else second

    given = (torch.rand(4), torch.rand(3))
    engine = stepwell.build(Larger(), args=given, dynamic_shapes=(ROWS * 2,))
    np.testing.assert_allclose(engine(*[x.numpy() for x in given]), given[0] + 1)
    with pytest.raises(InputError, match="traced for sizes"):
        engine(*[x.numpy() for x in reversed(given)])


def test_real_numbers_of_sizes() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Any) -> Any:
            rows = x.shape[0]
            return x / rows**0.5, x * (1 / rows) + rows**0.5, x > rows / 8

    model = Scaled()
    engine = stepwell.build(model, args=(torch.rand(4, 3),), dynamic_shapes=ROWS)
    for rows in (2, 7):
        x = torch.rand(rows, 3)
        for ours, theirs in zip(engine(x.numpy()), model(x), strict=True):
            assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_autocast_casts() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = x @ x
            return y, y.float() + x

    x = torch.rand(4, 4)
    ours = stepwell.build(Mixed(), args=(x,))(x.numpy())
    assert str(ours[0].dtype) == "bfloat16"
    np.testing.assert_allclose(ours[1], Mixed()(x)[1], rtol=2e-2)


def test_complex_numbers_are_no_real_ones() -> None:
    class Modulus(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.abs()

    with pytest.raises(UnsupportedError, match="complex numbers"):
        stepwell.build(Modulus(), args=(torch.randn(3, dtype=torch.complex64),))
