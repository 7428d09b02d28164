"""Layouts against brute force over all elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.dialects import layouts as ll
from stepwell.dialects.layouts import LinearLayout, TileLayout
from stepwell.dialects.tile import Tile

CONTRACTS = [ll.Conversion.REGISTERS, ll.Conversion.SHUFFLE, ll.Conversion.SHARED]


@st.composite
def linear_layouts(
    draw: st.DrawFn, outputs: tuple[int, ...] = (8, 4), invertible: bool = False
) -> LinearLayout:
    """Random bases for register, lane and warp; a random basis change if invertible."""
    counts = draw(st.sampled_from([(2, 2, 1), (1, 3, 1), (3, 1, 1), (2, 3, 0)]))
    if not invertible:
        columns = [
            tuple(draw(st.integers(0, n - 1)) for n in outputs)
            for _ in range(sum(counts))
        ]
    else:
        columns = _random_basis(draw, outputs)
    names = ("register", "lane", "warp")
    inputs, at = {}, 0
    for name, count in zip(names, counts, strict=True):
        inputs[name] = columns[at : at + count]
        at += count
    return LinearLayout.of(inputs, {f"dim{d}": n for d, n in enumerate(outputs)})


def _random_basis(draw: st.DrawFn, outputs: tuple[int, ...]) -> list[tuple[int, ...]]:
    total = sum(n.bit_length() - 1 for n in outputs)
    rows = [1 << b for b in range(total)]
    for _ in range(12):
        i, j = draw(st.integers(0, total - 1)), draw(st.integers(0, total - 1))
        if i != j:
            rows[i] ^= rows[j]
    result = []
    for row in draw(st.permutations(rows)):
        basis = []
        for n in outputs:
            basis.append(row % n)
            row //= n
        result.append(tuple(basis))
    return result


def table(layout: LinearLayout) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The layout as a dictionary, computed bit by bit."""
    result = {}
    sizes = list(layout.input_sizes.values())
    for point in np.ndindex(*sizes):
        coords = [0] * len(layout.outputs)
        for value, (_, bases) in zip(point, layout.inputs, strict=True):
            for bit, basis in enumerate(bases):
                if value >> bit & 1:
                    coords = [c ^ b for c, b in zip(coords, basis, strict=True)]
        result[point] = tuple(coords)
    return result


@given(linear_layouts())
def test_apply_is_the_xor_of_the_bases(layout: LinearLayout) -> None:
    names = list(layout.input_sizes)
    for point, coords in table(layout).items():
        assert layout.apply(dict(zip(names, point, strict=True))) == coords


@given(linear_layouts())
def test_rank_counts_the_image(layout: LinearLayout) -> None:
    image = set(table(layout).values())
    assert 1 << layout.rank() == len(image)
    assert layout.is_surjective == (len(image) == layout.size)
    assert layout.is_injective == (len(image) == len(table(layout)))


@given(linear_layouts())
def test_free_bits_do_not_move_the_element_alone_or_with_others(
    layout: LinearLayout,
) -> None:
    masks = layout.free_bits()
    kept = [
        point
        for point in table(layout)
        if all(v & m == 0 for v, m in zip(point, masks.values(), strict=True))
    ]
    coords = {table(layout)[point] for point in kept}
    assert len(coords) == len(kept)
    assert coords == set(table(layout).values())


@given(linear_layouts(invertible=True))
def test_inverse_is_an_inverse(layout: LinearLayout) -> None:
    inverse = layout.inverse()
    names = list(layout.input_sizes)
    back = {coords: point for point, coords in table(layout).items()}
    for coords, point in back.items():
        values = {f"dim{d}": c for d, c in enumerate(coords)}
        assert inverse.apply(values) == point
    both = inverse.then(layout)
    assert all(
        both.apply({f"dim{d}": c for d, c in enumerate(coords)}) == coords
        for coords in back
    )
    assert names == [name for name, _ in inverse.outputs]


def test_inverse_of_a_layout_with_holes_is_refused() -> None:
    layout = LinearLayout.of({"lane": [[1]]}, {"dim0": 4})
    with pytest.raises(ValueError, match="expected a surjective layout"):
        layout.inverse()


@given(linear_layouts(), linear_layouts(outputs=(2, 8)))
def test_product_divides_from_both_sides(a: LinearLayout, b: LinearLayout) -> None:
    product = a.times(b)
    quotient = product.divide_left(a)
    assert quotient is not None and quotient.same_map(b)
    quotient = product.divide_right(b)
    assert quotient is not None and quotient.same_map(a)


@given(linear_layouts(invertible=True), linear_layouts(outputs=(2, 2)))
def test_division_is_none_or_exact(a: LinearLayout, b: LinearLayout) -> None:
    left, right = a.divide_left(b), a.divide_right(b)
    assert left is None or b.times(left).same_map(a)
    assert right is None or right.times(b).same_map(a)


@given(linear_layouts(), linear_layouts(outputs=(8, 4), invertible=True))
def test_composition_is_pointwise(a: LinearLayout, b: LinearLayout) -> None:
    columns = tuple(basis for _, bases in b.inputs for basis in bases)
    outer = LinearLayout((("dim0", columns[:3]), ("dim1", columns[3:])), b.outputs)
    both = a.then(outer)
    names = list(a.input_sizes)
    for point, coords in table(a).items():
        expected = outer.apply({f"dim{d}": c for d, c in enumerate(coords)})
        assert both.apply(dict(zip(names, point, strict=True))) == expected


def holders(layout: TileLayout) -> dict[tuple[int, ...], set[tuple[int, ...]]]:
    """Which (register, lane, warp) hold each element."""
    found: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    coords = np.stack([c.ravel() for c in layout.coordinates])
    shape = (layout.registers, layout.lanes, layout.warps)
    for at, element in enumerate(coords.T):
        place = tuple(int(i) for i in np.unravel_index(at, shape))
        found.setdefault(tuple(int(c) for c in element), set()).add(place)
    return found


def brute_force_conversion(a: TileLayout, b: TileLayout) -> ll.Conversion:
    """How far elements travel, from the tables alone."""
    have = holders(a)
    worst = ll.Conversion.REGISTERS
    for element, places in holders(b).items():
        for _, lane, warp in places:
            held = have[element]
            if any((q, w) == (lane, warp) for _, q, w in held):
                continue
            if any(w == warp for _, _, w in held):
                worst = max(worst, ll.Conversion.SHUFFLE, key=CONTRACTS.index)
            else:
                return ll.Conversion.SHARED
    return worst


@st.composite
def tile_layouts(draw: st.DrawFn) -> TileLayout:
    """A 16x24 tile over 2 warps of 8 lanes: odd repeats, random order of the bits."""
    base = draw(st.sampled_from([(8, 8), (16, 8), (4, 8)]))
    total = sum(n.bit_length() - 1 for n in base)
    columns = _random_basis(draw, base)
    lane, warp = columns[:3], columns[3:4]
    inputs = {"register": columns[4:total], "lane": lane, "warp": warp}
    repeat = (16 // base[0], 24 // base[1])
    order = draw(st.sampled_from([(0, 1), (1, 0)]))
    return TileLayout.of(inputs, base, repeat, order)


@given(tile_layouts(), tile_layouts())
def test_conversions_are_classified_as_by_brute_force(
    a: TileLayout, b: TileLayout
) -> None:
    got = ll.classify(a, b)
    if a == b:
        assert got is ll.Conversion.NONE
    else:
        assert got is brute_force_conversion(a, b)


@given(tile_layouts(), st.integers(0, 1))
def test_slice_holds_every_element_of_a_row_where_the_tile_does(
    layout: TileLayout, dim: int
) -> None:
    part = layout.slice(dim)
    have = holders(part)
    for element, places in holders(layout).items():
        element = tuple(0 if d == dim else c for d, c in enumerate(element))
        for _, lane, warp in places:
            assert any((q, w) == (lane, warp) for _, q, w in have[element])
    for _, lane, warp in {p for places in have.values() for p in places}:
        own = [e for e, ps in have.items() for p in ps if p[1:] == (lane, warp)]
        assert len(own) == len(set(own)), "held twice by one thread"


@given(tile_layouts(), st.integers(0, 1))
def test_register_sources_broadcast_a_slice(layout: TileLayout, dim: int) -> None:
    part = layout.slice(dim)
    sources = ll.register_sources(part, layout)
    want, have = layout.coordinates, part.coordinates
    for register, source in enumerate(sources):
        for d in range(2):
            expected = 0 * want[d][register] if d == dim else want[d][register]
            assert np.array_equal(have[d][source], expected)


def test_register_sources_of_other_threads_are_refused() -> None:
    a = ll.blocked([1, 1], [4, 8], [1, 1])
    with pytest.raises(ValueError, match="is held by other threads"):
        ll.register_sources(a, ll.blocked([1, 1], [8, 4], [1, 1], repeat=[1, 2]))


@pytest.mark.parametrize("columns", [8, 16, 24, 48, 64, 96, 192, 256])
def test_accumulator_is_the_fragment_of_the_ptx_manual(columns: int) -> None:
    layout = ll.wgmma_accumulator(columns)
    assert layout.extents == (64, columns)
    assert layout.registers == columns // 2
    rows, cols = layout.coordinates
    for i in range(layout.registers):
        for lane in (0, 1, 5, 31):
            for warp in range(4):
                row = 16 * warp + lane // 4 + 8 * (i // 2 % 2)
                assert rows[i, lane, warp] == row
                assert cols[i, lane, warp] == 8 * (i // 4) + 2 * (lane % 4) + i % 2


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_mma_fragments_are_those_of_the_ptx_manual(bits: int) -> None:
    """PTX ISA, `mma.m16n8k32` (8 bits), `k16`, and `k8` (tf32): a group is 4 lanes."""
    per, k = 32 // bits, 256 // bits
    a, b = ll.mma_a(16, k, bits), ll.mma_b(k, 8, bits)
    for i in range(a.registers):
        for lane in range(32):
            group, member = lane // 4, lane % 4
            row = group + 8 * (i // per % 2)
            column = member * per + i % per + (k // 2 if i // per >= 2 else 0)
            assert [int(c[i, lane, 0]) for c in a.coordinates] == [row, column]
    for i in range(b.registers):
        for lane in range(32):
            row = lane % 4 * per + i % per + (k // 2 if i // per else 0)
            assert [int(c[i, lane, 0]) for c in b.coordinates] == [row, lane // 4]


def test_accumulator_becomes_an_operand_for_free() -> None:
    """Attention's P: the accumulator of S is A of the next product, by renaming."""
    got = ll.classify(ll.wgmma_accumulator(128), ll.wgmma_a(128))
    assert got is ll.Conversion.REGISTERS


@pytest.mark.parametrize("span", [128, 64, 32, 16])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_swizzle_permutes_chunks_by_address_bits(span: int, bits: int) -> None:
    """TMA XORs byte address bits 4.. with bits 7.. (PTX ISA, tensor memory swizzle)."""
    size = bits // 8
    width = span // size
    layout = ll.swizzled(24, 2 * width, bits, span)
    for row in range(24):
        for column in range(2 * width):
            plain = row * span + column % width * size
            mask = {128: 0x70, 64: 0x30, 32: 0x10, 16: 0}[span]
            moved = plain ^ (plain >> 3 & mask)
            moved += column // width * 24 * span
            assert layout.offset_of((row, column)) * size == moved


def test_coordinates_undo_offsets() -> None:
    layout = ll.swizzled(48, 128, 16)
    rows, columns = layout.coordinates
    offsets = layout.offset_of((rows, columns))
    assert np.array_equal(offsets, np.arange(48 * 128))


COLUMN_OF_CHUNKS = {
    "register": [(0, 1), (0, 2), (0, 4)],
    "lane": [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0)],
}


@pytest.mark.parametrize("span", [128, 64, 32, 16])
def test_swizzled_rows_are_read_without_conflicts(span: int) -> None:
    """A column of 16-byte chunks, one row a lane, as ldmatrix reads."""
    memory = ll.swizzled(32, span // 2, 16, span)
    held = TileLayout.of(COLUMN_OF_CHUNKS, (32, 8), (1, span // 16))
    assert ll.vector_width(held, memory) == 8
    assert ll.bank_conflicts(held, memory, 16) == 0


def test_unswizzled_rows_conflict() -> None:
    """The negative control: 8 rows of 128 bytes meet in 4 banks."""
    held = TileLayout.of(COLUMN_OF_CHUNKS, (32, 8), (1, 8))
    assert ll.bank_conflicts(held, ll.row_major([32, 64]), 16) == 7


@given(st.permutations(range(5)), st.sampled_from([(32, 32), (16, 64)]))
def test_bank_conflicts_are_counted_as_by_a_simulation(
    order: list[int], extents: tuple[int, int]
) -> None:
    """4-byte accesses: the fullest bank decides; equal words count once."""
    rows, columns = extents
    bits = [(1 << b, 0) for b in range(2)] + [(0, 1 << b) for b in range(3)]
    held = TileLayout.of(
        {"lane": [bits[i] for i in order]}, (4, 8), (rows // 4, columns // 8)
    )
    memory = ll.row_major(extents)
    worst = 0
    for register in range(held.registers):
        banks: dict[int, set[int]] = {}
        for lane in range(32):
            place = [int(c[register, lane, 0]) for c in held.coordinates]
            word = place[0] * columns + place[1]
            banks.setdefault(word % 32, set()).add(word)
        worst = max(worst, max(len(words) for words in banks.values()) - 1)
    if ll.vector_width(held, memory) == 1:
        assert ll.bank_conflicts(held, memory, 32) == worst


def test_stmatrix_and_its_transpose_are_found() -> None:
    held, memory = ll.wgmma_accumulator(64), ll.swizzled(64, 64, 16)
    assert ll.matrix_access(held, memory, 16) == ll.MatrixAccess(4, False)
    flipped = memory.permute([1, 0])
    assert ll.matrix_access(held, flipped, 16) == ll.MatrixAccess(4, True, along=0)
    transposed = ll.matrix_access(held.permute([1, 0]), flipped, 16)
    assert transposed == ll.MatrixAccess(4, False, along=0)
    assert ll.matrix_access(held, memory, 32) is None
    blocked = ll.blocked([1, 2], [8, 4], [4, 1], repeat=[2, 8])
    assert ll.matrix_access(blocked, ll.swizzled(64, 64, 16), 16) is not None
    strided = ll.blocked([2, 1], [4, 8], [4, 1], repeat=[2, 8])
    assert ll.matrix_access(strided, memory, 16) is None


def test_descriptor_of_a_k_major_tile_is_the_measured_one() -> None:
    """128-byte swizzle: stride 1024 bytes between 8 rows, +32 bytes a k-step."""
    got = ll.wgmma_descriptor(ll.swizzled(128, 64, 16), 16, 1, 64, 64)
    assert got.constant == 1 << 62 | 64 << 32 | 1 << 16
    assert (got.k_major, got.k_steps) == (True, (0, 32, 64, 96))
    assert got.block_step == 64 * 128
    wide = ll.wgmma_descriptor(ll.swizzled(192, 128, 16), 16, 1, 128, 64)
    assert wide.k_steps[4] == 192 * 128


def test_descriptor_of_an_mn_major_tile_is_the_measured_one() -> None:
    """V of attention: k is the row, blocks of 64 columns are 128 rows apart."""
    got = ll.wgmma_descriptor(ll.swizzled(128, 128, 16), 16, 0, 128, 128)
    assert got.constant == 1 << 62 | 64 << 32 | (128 * 128 >> 4) << 16
    assert not got.k_major
    assert got.k_steps[1] == 16 * 128


@pytest.mark.parametrize("depth", [64, 128])
def test_transposed_memory_gives_the_same_descriptor(depth: int) -> None:
    memory = ll.swizzled(256, depth, 16)
    as_b = ll.wgmma_descriptor(memory.permute([1, 0]), 16, 0, depth, 256)
    assert as_b == ll.wgmma_descriptor(memory, 16, 1, depth, 256)


@given(st.permutations(range(3)))
def test_permuted_memory_is_the_same_memory(perm: list[int]) -> None:
    bases = [(0, 0, 1), (0, 1, 1), (1, 0, 0)]
    memory = TileLayout.of({"offset": bases}, (2, 2, 2), (3, 2, 5), (2, 0, 1))
    moved = memory.permute(perm)
    for d, p in enumerate(perm):
        assert np.array_equal(moved.coordinates[d], memory.coordinates[p])
    assert np.array_equal(
        moved.offset_of(moved.coordinates), np.arange(memory.coordinates[0].size)
    )


def test_descriptor_of_plain_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="wgmma reads only layouts swizzled"):
        ll.wgmma_descriptor(ll.row_major([64, 64]), 16, 1, 64, 64)
    with pytest.raises(ValueError, match="wgmma needs 8-bit operands with k contig"):
        ll.wgmma_descriptor(ll.swizzled(64, 128, 8), 8, 0, 64, 128)


def test_copy_boxes_cover_the_tile() -> None:
    box = ll.copy_box(ll.swizzled(320, 128, 16), 16, (320, 128))
    assert (box.swizzle, box.extents, box.count) == (128, (160, 64), (2, 2))
    assert box.bytes * 4 == 320 * 128 * 2
    with pytest.raises(ValueError, match="TMA writes only row-major layouts"):
        ll.copy_box(ll.row_major([64, 64]), 16, (64, 64))


def parse(text: str) -> ll.LayoutAttr:
    context = Context()
    context.load_dialect(Tile)
    attr = Parser(context, text).parse_attribute()
    assert isinstance(attr, ll.LayoutAttr)
    return attr


@pytest.mark.parametrize(
    "text",
    [
        "wgmma_accumulator(192)",
        "wgmma_a(64, 16)",
        "mma_a(32, 16, 16)",
        "mma_b(16, 24, 16)",
        "mma_c(16, 8)",
        "slice(wgmma_accumulator(256), 0)",
        "swizzled(128, 64, 16, 128)",
        "transpose(swizzled(256, 64, 16, 128))",
        "blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])",
        "blocked([8, 1], [8, 4], [1, 4], order = [0, 1])",
        "{register = [[1, 1], [0, 2]], lane = [[1, 0]]}, [2, 4], repeat = [1, 3]",
        "{register = [[0, 1]], lane = [[1, 1]]}, [2, 2], repeat = [2, 3], "
        "order = [1, 0]",
        "transpose(swizzled(128, 128, 16, 128))",
    ],
)
def test_text_reads_back(text: str) -> None:
    attr = parse(f"#tile.layout<{text}>")
    assert str(attr) == f"#tile.layout<{text}>"
    assert parse(str(attr)) == attr


@given(tile_layouts())
def test_any_layout_reads_back(layout: TileLayout) -> None:
    attr = ll.LayoutAttr(layout)
    assert parse(str(attr)) == attr
