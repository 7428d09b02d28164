"""Access maps against NumPy: every map must read what NumPy's own op gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.dialects.access import (
    AccessAttr,
    AccessMap,
    Guard,
    Indirect,
    Stride,
    row_major,
)
from stepwell.dialects.dims import parse_dim, symbol
from stepwell.dialects.movement import (
    broadcast_map,
    pad_map,
    reshape_map,
    slice_map,
    transpose_map,
)
from stepwell.dialects.quasi_affine import evaluate_grid, simplify

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def read(access: AccessMap, source: np.ndarray, shape: tuple[int, ...], **symbols):
    """Evaluate `access` over a grid of `shape` and gather from `source`."""
    grid = dict(zip(access.dims, np.indices(shape, sparse=True), strict=True))
    index, inside = access.evaluate({**grid, **symbols}, lambda _, at: INDEX[at])
    inside = np.broadcast_to(inside, shape)
    index = tuple(np.broadcast_to(i, shape) for i in index)
    if access.guards:
        index = tuple(np.where(inside, i, 0) for i in index)
    for i, size in zip(index, source.shape, strict=True):
        assert ((i >= 0) & (i < size)).all(), "the map leaves the tensor"
    values = source[index]
    return np.where(inside, values, access.fill) if access.guards else values


INDEX = np.array([3, -1, 0, 2])


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1, 1 + math.prod(shape), dtype=np.int64).reshape(shape)


@given(shapes, st.randoms())
def test_transpose_reads_what_numpy_gives(shape, random):
    perm = list(range(len(shape)))
    random.shuffle(perm)
    source = numbers(shape)
    expected = source.transpose(perm)
    assert (read(transpose_map(perm), source, expected.shape) == expected).all()


@given(shapes, st.data())
def test_slice_with_any_step_reads_what_numpy_gives(shape, data):
    source = numbers(shape)
    steps = [data.draw(st.sampled_from([-2, -1, 1, 2, 3])) for _ in shape]
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    slices = tuple(
        slice(start, None, step) for start, step in zip(starts, steps, strict=True)
    )
    expected = source[slices]
    assert (read(slice_map(starts, steps), source, expected.shape) == expected).all()


@given(shapes, st.data())
def test_broadcast_reads_what_numpy_gives(shape, data):
    narrow = tuple(1 if data.draw(st.booleans()) else size for size in shape)
    narrow = narrow[data.draw(st.integers(0, len(shape) - 1)) :]
    source = numbers(narrow)
    expected = np.broadcast_to(source, shape)
    assert (read(broadcast_map(narrow, shape), source, shape) == expected).all()


@given(shapes, st.data())
def test_constant_pad_reads_what_numpy_gives(shape, data):
    widths = [tuple(data.draw(st.tuples(*[st.integers(0, 3)] * 2))) for _ in shape]
    source = numbers(shape)
    expected = np.pad(source, widths, constant_values=-7)
    access = pad_map(shape, [low for low, _ in widths], -7)
    assert (read(access, source, expected.shape) == expected).all()


def factorisations(total: int) -> st.SearchStrategy[tuple[int, ...]]:
    def split(number: int):
        divisors = [d for d in range(1, number + 1) if number % d == 0]
        return st.sampled_from(divisors).flatmap(
            lambda d: (
                st.just((number,))
                if d == number
                else split(number // d).map(lambda rest: (d, *rest))
            )
        )

    return split(total)


@settings(max_examples=200)
@given(st.sampled_from([1, 6, 12, 24, 36]), st.data())
def test_reshape_reads_what_numpy_gives(total, data):
    before = data.draw(factorisations(total))
    after = data.draw(factorisations(total))
    source = numbers(before)
    access = reshape_map(before, after)
    assert (read(access, source, after) == source.reshape(after)).all()


def test_gather_reads_an_index_operand():
    access = AccessMap(
        ("b", "c"),
        (symbol("at$0") % 4, symbol("c")),
        indirects=(Indirect(1, (symbol("b"),)),),
    )
    source = numbers((4, 3))
    assert (read(access, source, (4, 3)) == source[INDEX]).all()


@given(shapes, st.data())
def test_composition_reads_what_the_chain_gives(shape, data):
    perm = data.draw(st.permutations(range(len(shape))))
    source = numbers(shape)
    moved = source.transpose(perm)
    widths = [tuple(data.draw(st.tuples(*[st.integers(0, 2)] * 2))) for _ in shape]
    padded = np.pad(moved, widths, constant_values=0)
    steps = [data.draw(st.sampled_from([-1, 1])) for _ in shape]
    starts = [0 if s > 0 else n - 1 for s, n in zip(steps, padded.shape, strict=True)]
    final = padded[tuple(slice(a, None, s) for a, s in zip(starts, steps, strict=True))]
    pad = pad_map(moved.shape, [low for low, _ in widths], 0)
    outer = pad.compose(slice_map(starts, steps))
    assert outer is not None
    whole = transpose_map(perm).compose(outer)
    assert whole is not None
    extents = dict(zip(whole.dims, final.shape, strict=True))
    assert (read(whole.simplify(extents), source, final.shape) == final).all()


def test_composition_of_two_fills_declines():
    first = pad_map((4,), [1], 0)
    second = pad_map((6,), [1], -1)
    assert first.compose(second) is None
    assert first.compose(pad_map((6,), [1], 0)) is not None


@settings(max_examples=300)
@given(st.data())
def test_simplification_keeps_every_value(data):
    sizes = {name: data.draw(st.integers(1, 6)) for name in "abc"}
    factor = data.draw(st.lists(st.integers(-6, 12), min_size=3, max_size=3))
    offset = data.draw(st.integers(-8, 8))
    by = data.draw(st.sampled_from([2, 3, 4, 6, 12, 24]))
    linear = offset
    for name, value in zip("abc", factor, strict=True):
        linear = linear + symbol(name) * value
    expr = (linear // by) * 5 + (linear % by) * 3 + (linear % (2 * by)) // by
    grid = dict(zip("abc", np.indices(tuple(sizes.values())), strict=True))
    before = evaluate_grid(expr, grid)
    after = evaluate_grid(simplify(expr, sizes), grid)
    assert np.broadcast_to(before == after, grid["a"].shape).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(o1 * 64 + o0) floordiv 64", "o1"),
        ("(o1 * 64 + o0) mod 64", "o0"),
        ("(o1 * 64 + o0) floordiv 128", "o1 floordiv 2"),
        ("(o1 * 64 + o0) mod 128", "o0 + 64 * (o1 mod 2)"),
        ("(h * seq + s) floordiv seq", "h"),
        ("(h * seq + s) mod seq", "s"),
        ("(h * seq * 64 + s * 64 + o0) floordiv 64", "h * seq + s"),
        ("(o0 + 1) mod 64", "(o0 + 1) mod 64"),
    ],
)
def test_simplification_uses_extents(text, expected):
    extents = {"o1": 12, "o0": 64, "h": 12, "s": symbol("seq")}
    assert simplify(parse_dim(text), extents) == parse_dim(expected)


@given(shapes, st.data())
def test_inverse_undoes_the_map(shape, data):
    perm = data.draw(st.permutations(range(len(shape))))
    offsets = [data.draw(st.integers(0, 3)) for _ in shape]
    access = transpose_map(perm)
    moved = [e + k for e, k in zip(access.results, offsets, strict=True)]
    access = AccessMap(access.dims, tuple(moved))
    names = [f"t{i}" for i in range(len(shape))]
    sizes = tuple(shape[p] for p in perm)
    extents = dict(zip(access.dims, sizes, strict=True))
    inverse = access.inverse(extents, names)
    assert inverse is not None
    grid = dict(zip(access.dims, np.indices(sizes), strict=True))
    index, _ = access.evaluate(grid)
    back = [evaluate_grid(e, dict(zip(names, index, strict=True))) for e in inverse]
    for name, found in zip(access.dims, back, strict=True):
        assert (np.broadcast_to(found, sizes) == grid[name]).all()


@given(shapes, st.data())
def test_inverse_of_a_reshape_map(shape, data):
    total = math.prod(shape)
    access = reshape_map((total,), shape)
    extents = dict(zip(access.dims, shape, strict=True))
    inverse = access.inverse(extents, ["t"])
    assert inverse is not None
    grid = dict(zip(access.dims, np.indices(shape), strict=True))
    flat = np.arange(total).reshape(shape)
    for name, expr in zip(access.dims, inverse, strict=True):
        found = np.broadcast_to(evaluate_grid(expr, {"t": flat}), shape)
        assert (found == grid[name]).all()


@settings(max_examples=200)
@given(st.data())
def test_injectivity_is_never_claimed_wrongly(data):
    sizes = {name: data.draw(st.integers(1, 4)) for name in "abc"}
    results = []
    for _ in range(data.draw(st.integers(1, 2))):
        expr = data.draw(st.integers(0, 2))
        for name in "abc":
            expr = expr + symbol(name) * data.draw(st.sampled_from([0, 1, 2, 4, 8]))
        results.append(expr)
    access = AccessMap(("a", "b", "c"), tuple(results))
    grid = dict(zip("abc", np.indices(tuple(sizes.values())), strict=True))
    index, _ = access.evaluate(grid)
    full = [np.broadcast_to(i, grid["a"].shape).ravel() for i in index]
    distinct = len(set(zip(*full, strict=True))) == grid["a"].size
    if access.is_injective(sizes):
        assert distinct


def test_injectivity_is_proved_for_offsets_and_splits():
    o = AccessMap(("b", "o1", "o0"), (symbol("b"), parse_dim("o1 * 64 + o0 + 5")))
    assert o.is_injective({"b": symbol("batch"), "o1": 12, "o0": 64})
    assert not o.is_injective({"b": symbol("batch"), "o1": 12, "o0": 65})


def test_collapse_merges_contiguous_dims_only():
    extents = {"n": 2, "p": 3, "q": 4, "c": 5}
    flat = AccessMap(("n", "p", "q", "c"), (parse_dim("n * 12 + p * 4 + q"),))
    merged = flat.collapse(("p", "q"), "m", extents)
    assert merged is not None and str(merged) == "(n, m, c) -> [m + 12 * n]"
    strided = AccessMap(("n", "p", "q", "c"), (parse_dim("n * 12 + p * 8 + q"),))
    assert strided.collapse(("p", "q"), "m", extents) is None
    assert flat.collapse(("n", "q"), "m", extents) is None


def test_strides_are_classified():
    access = AccessMap(("n", "p", "c"), (symbol("n"), parse_dim("p * 2"), symbol("c")))
    shape = (4, 10, symbol("width"))
    assert access.classify("c", shape) is Stride.CONTIGUOUS
    assert access.classify("p", shape) is Stride.STRIDED
    assert access.stride_along("p", row_major(shape)) == symbol("width") * 2
    gather = AccessMap(("i", "c"), (symbol("at$0"), symbol("c")),
                       indirects=(Indirect(1, (symbol("i"),)),))  # fmt: skip
    assert gather.classify("i", (9, 3)) is Stride.IRREGULAR
    assert gather.classify("c", (9, 3)) is Stride.CONTIGUOUS
    scalar = AccessMap(("i",), ())
    assert scalar.classify("i", ()) is Stride.BROADCAST


def test_guards_that_always_hold_are_dropped():
    access = AccessMap(("p",), (symbol("p"),), (Guard(symbol("p"), 8),), 0.0)
    assert access.simplify({"p": 8}).guards == ()
    assert access.simplify({"p": 9}).guards == access.guards


@pytest.mark.parametrize(
    "text",
    [
        "(n, p) -> [n, 2 * p - 1] where [2 * p - 1 < 56] else 0.0",
        "(n, p) -> [n, p] where [p < seq, n < 3] else -inf",
        "(n, p) -> [n, p] where [p < seq] else nan",
        "(n, p) -> [n, p + 7] where [p < seq]",
        "(b, c) -> [at$0 mod 100, c] with [at$0 = 1[b]]",
        "() -> []",
    ],
)
def test_text_round_trips(text):
    context = Context()
    context.load_attr_or_type(AccessAttr)
    attr = Parser(context, f"#fusion.access<{text}>").parse_attribute()
    assert str(attr) == f"#fusion.access<{text}>"
