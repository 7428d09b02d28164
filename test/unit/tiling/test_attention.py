from __future__ import annotations

import numpy as np
import pytest

RNG = np.random.default_rng(4)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(*shape: int | str, element: str = "f32") -> str:
    if all(isinstance(n, int) for n in shape):
        return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"
    dims = "".join(f"{n if isinstance(n, int) else '?'}x" for n in shape)
    return f"tensor<{dims}{element}, #nn.dims<{', '.join(map(str, shape))}>>"


def attention(q: str, k: str, v: str, y: str, mask: str = "", options: str = "") -> str:
    argument, operand, kind = (
        (f", %m: {mask}", ", %m", f", {mask}") if mask else ("", "", "")
    )
    return f"""func.func @main(%q: {q}, %k: {k}, %v: {v}{argument}) -> {y} {{
      %0 = nn.attention %q, %k, %v{operand} {{scale = 0.25 : f64{options}}}
        : ({q}, {k}, {v}{kind}) -> {y}
      func.return %0 : {y}
    }}"""


@pytest.mark.parametrize("lengths", [(5, 5), (50, 150), (1, 40)])
@pytest.mark.parametrize("groups", [1, 2])
def test_attention(check, lengths: tuple[int, int], groups: int) -> None:
    s, t = lengths
    q, k, v = (2, 4, s, 8), (2, 4 // groups, t, 8), (2, 4 // groups, t, 6)
    body = attention(tensor(*q), tensor(*k), tensor(*v), tensor(2, 4, s, 6))
    check(body, f32(*q), f32(*k), f32(*v))


@pytest.mark.parametrize("length", [7, 130])
def test_causal_attention_with_softcap(check, length: int) -> None:
    kind = tensor(1, 2, length, 8)
    options = ", causal = true, causal_offset = #nn.dims<0>, softcap = 2.0 : f64"
    body = attention(kind, kind, kind, kind, options=options)
    check(body, *(f32(1, 2, length, 8) for _ in "qkv"))


@pytest.mark.parametrize("shape", [(9, 33), (2, 1, 1, 33), (2, 2, 9, 33), (1, 33)])
@pytest.mark.parametrize("element", ["f32", "i1"])
def test_masks_broadcast(check, shape: tuple[int, ...], element: str) -> None:
    q, k = tensor(2, 2, 9, 4), tensor(2, 2, 33, 4)
    body = attention(q, k, k, q, tensor(*shape, element=element))
    mask = f32(*shape) if element == "f32" else RNG.random(shape) > 0.4
    check(body, f32(2, 2, 9, 4), f32(2, 2, 33, 4), f32(2, 2, 33, 4), mask)


def test_a_mask_of_one_row_holds_beyond_the_first_tile_of_rows(check) -> None:
    q = tensor(2, 1, 130, 4)
    body = attention(q, q, q, q, tensor(2, 1, 1, 130, element="i1"))
    mask = RNG.random((2, 1, 1, 130)) > 0.4
    check(body, *(f32(2, 1, 130, 4) for _ in "qkv"), mask)


def test_a_chunk_or_everything_that_a_row_does_not_see(check) -> None:
    """The running maximum is -inf there, and the difference of two must not be NaN."""
    q, k = tensor(1, 1, 4, 4), tensor(1, 1, 300, 4)
    mask = np.zeros((4, 300), bool)
    mask[0, 290:], mask[1, :5], mask[2] = True, True, True
    body = attention(q, k, k, q, tensor(4, 300, element="i1"))
    check(body, f32(1, 1, 4, 4), f32(1, 1, 300, 4), f32(1, 1, 300, 4), mask)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 70), (1, 200)])
def test_dynamic_lengths(check, sizes: tuple[int, int]) -> None:
    b, s = sizes
    kind, flat = tensor("b", "s", 2, 8), tensor("b", "s", 16)
    heads = tensor("b", 2, "s", 8)
    body = f"""func.func @main(%q: {kind}, %k: {kind}, %v: {kind}) -> {flat} {{
      %0 = nn.transpose %q {{perm = array<i64: 0, 2, 1, 3>}} : ({kind}) -> {heads}
      %1 = nn.transpose %k {{perm = array<i64: 0, 2, 1, 3>}} : ({kind}) -> {heads}
      %2 = nn.transpose %v {{perm = array<i64: 0, 2, 1, 3>}} : ({kind}) -> {heads}
      %3 = nn.attention %0, %1, %2 {{scale = 0.25 : f64}}
        : ({heads}, {heads}, {heads}) -> {heads}
      %4 = nn.transpose %3 {{perm = array<i64: 0, 2, 1, 3>}} : ({heads}) -> {kind}
      %5 = nn.reshape %4 : ({kind}) -> {flat}
      func.return %5 : {flat}
    }}"""
    check(body, *(f32(b, s, 2, 8) for _ in "qkv"))
