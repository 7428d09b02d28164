"""Each rule of the lower half: a right kernel, broken in one place, must not verify."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

from stepwell.dialects.registry import register_dialects

PROGRAM = Path(__file__).parents[2] / "filecheck/tile/programs/pipeline.mlir"

BLOCKED = "blocked([1, 4], [1, 32], [4, 1], repeat = [16, 1])"

MUTATIONS: dict[str, tuple[list[tuple[str, str]], str]] = {
    "too_few_bytes_announced": (
        [("expect 24576", "expect 16384")],
        "expects 16384 bytes, and the copies bring 24576",
    ),
    "a_copy_left_out": (
        [("          tile.tma_load %w[0, %k] to %b in %slot\n", "")],
        "expects 24576 bytes, and the copies bring 8192",
    ),
    "a_slot_never_committed": (
        [("          tile.commit %slot\n", "")],
        "expected one tile.commit of the slot beside it, got 0",
    ),
    "a_copy_into_the_wrong_tile": (
        [("to %b in", "to %a in")],
        "expected the map's tile !tile.shared<128x64xf16",
    ),
    "a_copy_by_every_thread": (
        [
            ("      tile.elect {\n", "      scf.if %yes {\n"),
            (
                "  %c0 = arith",
                "  %yes = arith.constant true\n  %c0 = arith",
            ),
        ],
        "expected to be inside tile.elect: one thread does it",
    ),
    "a_consumer_that_waits_for_itself": (
        [("ring<3", "ring<1"), ("cursor<3>", "cursor<1>")],
        "2 stages are read at the same time, and there are 1",
    ),
    "a_cursor_over_another_ring": (
        [("cursor<3>", "cursor<2>")],
        "expected a cursor over 3 stages, got !tile.cursor<2>",
    ),
    "consumers_that_do_not_exist": (
        [("consumers 4", "consumers 8")],
        "expects 8 consuming warps, and 4 wait on it",
    ),
    "a_ring_that_is_never_released": (
        [
            ("        tile.release %ring[%before] if %again\n", ""),
            ("      tile.release %ring[%last]\n", ""),
        ],
        "a ring that is waited on must be released",
    ),
    "more_shared_memory_than_there_is": (
        [("ring<3", "ring<10"), ("cursor<3>", "cursor<10>")],
        "needs 246784 bytes of shared memory for each of 1 blocks, and sm_90a has "
        "232448",
    ),
    "two_blocks_that_do_not_fit": (
        [("warps = 8>", "warps = 8, blocks_per_sm = 4>")],
        "bytes of shared memory for each of 4 blocks",
    ),
    "roles_that_are_not_the_block": (
        [("launch<warps = 8>", "launch<warps = 12>")],
        "roles have 8 warps, the launch 12",
    ),
    "more_registers_than_there_are": (
        [("warps = 8>", "warps = 24>"), ('"producer" warps 4', '"producer" warps 20')],
        "needs 88 registers a thread",
    ),
    "budgets_beyond_the_file": (
        [
            ("launch<warps = 8>", "launch<warps = 12>"),
            ('"producer" warps 4', '"producer" warps 8'),
            ("registers 40", "registers 160"),
        ],
        "the roles' budgets are 70656 registers",
    ),
    "a_budget_in_odd_steps": (
        [("registers 40", "registers 42")],
        "expected a register budget of 24 to 256 in steps of 8, got 42",
    ),
    "a_budget_for_one_role_only": (
        [("registers 40 ", "")],
        "expected a register budget for every role or for none",
    ),
    "an_accumulator_too_wide": (
        [
            ("128x64xf16", "264x64xf16"),
            ("64x128x", "64x264x"),
            ("swizzled(128", "swizzled(264"),
        ],
        "wgmma accumulates 8 to 256 columns in steps of 8, got 264",
    ),
    "an_accumulator_of_128_rows": (
        [("64x128xf32", "128x128xf32")],
        "wgmma accumulates 64 rows, got [128, 128]",
    ),
    "sums_of_halves_in_integers": (
        [
            ("accumulator<64x128xf32>", "accumulator<64x128xi32>"),
            (
                "tile.tile<64x128xf32, #acc>",
                "tile.tile<64x128xi32, #acc>",
            ),
            ("512x128xf32", "512x128xi32"),
        ],
        "tensor cores do not sum products of f16 in i32",
    ),
    "an_operand_with_n_and_k_exchanged": (
        [("%a, %bk, %acc", "%a, %b, %acc")],
        "expected shapes 64xK, KxN, 64xN, got [64, 64], [128, 64], [64, 128]",
    ),
    "reading_what_is_still_in_flight": (
        [("tile.wgmma_wait 0, %sum", "tile.wgmma_wait 1, %sum")],
        "an accumulator from outside of the block needs tile.wgmma_wait 0",
    ),
    "a_result_in_another_layout": (
        [
            (
                "#acc = #tile.layout<wgmma_accumulator(128)>",
                f"#acc = #tile.layout<{BLOCKED}>",
            )
        ],
        "expected tiles !tile.tile<64x128xf32, #tile.layout<wgmma_accumulator(128)>>",
    ),
    "a_layout_of_other_warps": (
        [
            ('"consumer" warps 4', '"consumer" warps 8'),
            ("warps = 8>", "warps = 12>"),
            ("consumers 4", "consumers 8"),
        ],
        "the layout is of 4 warps, and 8 run here",
    ),
    "a_stage_without_swizzle": (
        [
            (
                "swizzled(64, 64, 16, 128)",
                "{offset = [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32]]}, "
                "[1, 64], repeat = [64, 1]",
            )
        ],
        "TMA writes only row-major layouts swizzled by 128, 64, 32 or 16 bytes",
    ),
    "a_tensor_of_odd_rows": (
        [("512x256xf16", "512x252xf16")],
        "TMA needs rows of a multiple of 16 bytes, got 252 of f16",
    ),
    "a_copy_with_too_few_indices": (
        [("%x[%row, %k]", "%x[%row]")],
        "expected 2 indices, got 1",
    ),
    "a_part_that_cuts_the_swizzle": (
        [
            (
                "%bk = tile.shared_transpose",
                "%p = tile.shared_slice %a[0, 0] : !tile.shared<4x64xf16, #a>\n"
                "        %bk = tile.shared_transpose",
            )
        ],
        "a part of 4 does not divide 64 into blocks of 8",
    ),
    "a_part_of_another_layout": (
        [
            (
                "%bk = tile.shared_transpose",
                "%p = tile.shared_slice %a[0, 0] : !tile.shared<32x64xf16, #b>\n"
                "        %bk = tile.shared_transpose",
            )
        ],
        "expected the element type and the layout of",
    ),
    "an_element_by_element_op_across_layouts": (
        [
            (
                "      tile.store %ready",
                "%o = tile.full 0.0 : !tile.tile<64x128xf32, "
                f"#tile.layout<{BLOCKED}>>\n"
                "%z = tile.map (%u = %ready, %v = %o) "
                "-> !tile.tile<64x128xf32, #acc> {\n"
                "%n = arith.addf %u, %v : f32\ntile.yield %n : f32\n}\n"
                "      tile.store %ready",
            )
        ],
        "expected the layout #tile.layout<wgmma_accumulator(128)>, got",
    ),
    "a_part_held_by_other_threads": (
        [
            (
                "      tile.store %ready",
                "      %o = tile.extract %ready [0, 4] : !tile.tile<64x64xf32, "
                "#tile.layout<wgmma_accumulator(64)>>\n      tile.store %ready",
            )
        ],
        "is not where #tile.layout<wgmma_accumulator(128)> holds it",
    ),
    "a_ring_without_a_consumer": (
        [("consumers 4", "consumers 0")],
        "expected at least one consuming warp, got 0",
    ),
    "a_role_that_is_none": (
        [('tile.role "consumer"', 'tile.role "producer"')],
        "expected distinct roles, got ['producer', 'producer']",
    ),
    "too_many_warps": (
        [("launch<warps = 8>", "launch<warps = 40>")],
        "a block has 1 to 32 warps, got 40",
    ),
}


def verify(text: str) -> None:
    context = Context()
    register_dialects(context)
    Parser(context, text).parse_module().verify()


def test_the_right_kernel_verifies() -> None:
    verify(PROGRAM.read_text())


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_kernel_says_what_is_wrong(name: str) -> None:
    text = PROGRAM.read_text()
    edits, message = MUTATIONS[name]
    for old, new in edits:
        assert old in text, f"the mutation does not apply: {old}"
        text = text.replace(old, new)
    with pytest.raises((VerifyException, ParseError), match=re.escape(message)):
        verify(text)
