"""Hopper GEMM programs in the lower half of `tile`, written out for a given shape.

The program is `test/filecheck/tile/programs/gemm.mlir`, with its sizes as parameters:
`y = relu(x w^T + bias)` in f16 with f32 sums, a producer warpgroup that feeds a ring by
TMA, and consumer warpgroups of 64 rows each.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.cuda.convert_nvvm_to_llvm import ConvertNvvmToLlvmPass
from stepwell.codegen.cuda.convert_tile_to_nvvm import ConvertTileToNvvmPass
from stepwell.codegen.cuda.ptx import emit_ptx
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target

STEP = 64
"""Columns of one shared tile: 128 bytes of f16, the widest swizzle."""


@dataclass(frozen=True)
class GemmConfig:
    """A shape and how it is cut.

    `groups` consumer warpgroups of 64 rows, `columns` of N, `wide` shared tiles of 64
    along K in each of the ring's `stages`, row tiles walked in bands of `band`.
    """

    m: int
    n: int
    k: int
    groups: int = 2
    columns: int = 256
    wide: int = 1
    stages: int = 4
    band: int = 8
    processors: int = 132

    @property
    def rows(self) -> int:
        """Rows of a block's tile."""
        return 64 * self.groups

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles along M and N."""
        return -(-self.m // self.rows), -(-self.n // self.columns)

    @property
    def blocks(self) -> int:
        """Blocks of the persistent grid."""
        return min(self.processors, self.tiles[0] * self.tiles[1])

    @property
    def chunk(self) -> int:
        """Columns stored at a time."""
        return min(STEP, self.columns)

    @property
    def warps(self) -> int:
        """Warps of a block: the producer's four and the consumers'."""
        return 4 + 4 * self.groups

    @property
    def registers(self) -> tuple[int, int]:
        """Registers of a producer's and of a consumer's thread."""
        return (32, 160) if self.groups == 3 else (24, 240)

    @property
    def steps(self) -> int:
        """Steps of the ring along K."""
        return -(-self.k // (STEP * self.wide))

    @property
    def cursor(self) -> str:
        """The type of a place in the ring."""
        return f"!tile.cursor<{self.stages}>"

    @property
    def sums(self) -> str:
        """The type of a consumer's sums."""
        return f"!tile.accumulator<64x{self.columns}xf32>"

    @property
    def factors(self) -> tuple[str, str]:
        """The types of the shared tiles of both factors."""
        return (
            f"!tile.shared<{self.rows}x64xf16, #a>",
            f"!tile.shared<{self.columns}x64xf16, #b>",
        )

    @property
    def shared_bytes(self) -> int:
        """Bytes the ring and the staging buffers take, barriers included."""
        ring = self.stages * self.wide * (self.rows + self.columns) * STEP * 2
        staging = self.groups * 2 * 64 * self.chunk * 2
        return ring + staging + 16 * self.stages


def layouts(c: GemmConfig) -> str:
    """The aliases of the program's layouts."""
    swizzle = 2 * c.chunk
    return f"""
#a = #tile.layout<swizzled({c.rows}, 64, 16, 128)>
#b = #tile.layout<swizzled({c.columns}, 64, 16, 128)>
#bt = #tile.layout<transpose(swizzled({c.columns}, 64, 16, 128))>
#am = #tile.layout<swizzled(64, 64, 16, 128)>
#c = #tile.layout<swizzled(64, {c.chunk}, 16, {swizzle})>
#acc = #tile.layout<wgmma_accumulator({c.columns})>
#part = #tile.layout<wgmma_accumulator({c.chunk})>
#row = #tile.layout<slice(wgmma_accumulator({c.columns}), 0)>"""


def slots(c: GemmConfig) -> str:
    """The names of the shared tiles of one step."""
    return ", ".join(f"%{factor}{i}" for factor in "ab" for i in range(c.wide))


def loads(c: GemmConfig) -> str:
    """The loads of one step of the ring."""
    size = c.wide * (c.rows + c.columns) * STEP * 2
    lines = [f"%slot, {slots(c)} = tile.acquire %ring[%at] expect {size}"]
    for i in range(c.wide):
        offset = f"%k{i}"
        lines += [
            f"%o{i} = arith.constant {STEP * i} : index",
            f"{offset} = arith.addi %k, %o{i} : index",
            f"tile.tma_load %x[%row, {offset}] to %a{i} in %slot",
            f"tile.tma_load %w[%column, {offset}] to %b{i} in %slot",
        ]
    return "\n".join(lines)


def products(c: GemmConfig) -> str:
    """The products of one step of the ring; the last sum is `%more`."""
    lines = [f"{slots(c)} = tile.wait %ring[%at]"]
    for i in range(c.wide):
        lines += [
            f"%am{i} = tile.shared_slice %a{i}[%mine, 0] : !tile.shared<64x64xf16, "
            + ("#a>" if c.groups > 1 else "#am>"),
            f"%bk{i} = tile.shared_transpose %b{i} : "
            f"!tile.shared<64x{c.columns}xf16, #bt>",
        ]
    lines.append("%again = arith.cmpi ne, %s, %c0 : index")
    before, flag = "%acc", "%again"
    for i in range(c.wide):
        after = "%more" if i == c.wide - 1 else f"%more{i}"
        lines.append(
            f"{after} = tile.wgmma %am{i}, %bk{i}, {before} accumulate {flag} : {c.sums}"
        )
        before, flag = after, "%true"
    lines.append(f"tile.wgmma_wait {c.wide}")
    return "\n".join(lines)


def stores(c: GemmConfig) -> str:
    """The result, chunk by chunk through two staging buffers; ends in `%end`."""
    count = c.columns // c.chunk
    lines: list[str] = []
    cursor = "%o"
    for i in range(count):
        following = "%end" if i == count - 1 else f"%next{i}"
        lines += [
            f"%p{i} = tile.extract %result [0, {i * c.chunk}] : "
            f"!tile.tile<64x{c.chunk}xf16, #part>",
            f"%s{i} = tile.stage %out[{cursor}]",
            f"tile.shared_store %p{i}, %s{i}",
            "tile.fence_async",
            "tile.barrier group",
            f"%d{i} = arith.constant {i * c.chunk} : index",
            f"%e{i} = arith.addi %column, %d{i} : index",
            "tile.elect {",
            f"  tile.tma_store %s{i} to %y[%row, %e{i}]",
            "}",
            f"{following} = tile.advance {cursor} : !tile.cursor<2>",
        ]
        cursor = following
    return "\n".join(lines)


def producer(c: GemmConfig) -> str:
    """The role that feeds the ring: one thread of a warpgroup."""
    rows, columns = c.tiles
    return f"""
    tile.role "producer" warps 4 registers {c.registers[0]} (%g) {{
      tile.elect {{
        %first = tile.cursor : {c.cursor}
        scf.for %t = %block to %tiles step %blocks iter_args(%c = %first) -> ({c.cursor}) {{
          %m, %n = tile.raster %t [{rows}, {columns}] group {c.band}
          %row = arith.muli %m, %rows : index
          %column = arith.muli %n, %columns : index
          %last = scf.for %s = %c0 to %steps step %c1 iter_args(%at = %c) -> ({c.cursor}) {{
            %k = arith.muli %s, %depth : index
            {loads(c)}
            tile.commit %slot
            %next = tile.advance %at : {c.cursor}
            scf.yield %next : {c.cursor}
          }}
          scf.yield %last : {c.cursor}
        }}
      }}
    }}"""


def consumer(c: GemmConfig) -> str:
    """The role that multiplies: warpgroups of 64 rows each."""
    rows, columns = c.tiles
    return f"""
    tile.role "consumer" warps 4 groups {c.groups} registers {c.registers[1]} (%g) {{
      %out = tile.staging : !tile.staging<2, !tile.shared<64x{c.chunk}xf16, #c>>
      %mine = arith.muli %g, %c64 : index
      %first = tile.cursor : {c.cursor}
      %buffer = tile.cursor : !tile.cursor<2>
      scf.for %t = %block to %tiles step %blocks iter_args(%c = %first, %o = %buffer) -> ({c.cursor}, !tile.cursor<2>) {{
        %m, %n = tile.raster %t [{rows}, {columns}] group {c.band}
        %row0 = arith.muli %m, %rows : index
        %row = arith.addi %row0, %mine : index
        %column = arith.muli %n, %columns : index
        %spread = tile.access %bias map<(m, n) -> [n]> : !tile.view<1x{c.n}xf16>
        %e = tile.load %spread[0, %column] over [0, 1] : !tile.tile<1x{c.columns}xf16, #row>
        %none = tile.accumulator : {c.sums}
        %sum, %last, %previous = scf.for %s = %c0 to %steps step %c1 iter_args(%acc = %none, %at = %c, %before = %c) -> ({c.sums}, {c.cursor}, {c.cursor}) {{
          {products(c)}
          tile.release %ring[%before] if %again
          %next = tile.advance %at : {c.cursor}
          scf.yield %more, %next, %at : {c.sums}, {c.cursor}, {c.cursor}
        }}
        %ready = tile.wgmma_wait 0, %sum : !tile.tile<64x{c.columns}xf32, #acc>
        tile.release %ring[%previous]
        {epilogue(c)}
        {stores(c)}
        scf.yield %last, %end : {c.cursor}, !tile.cursor<2>
      }}
      tile.elect {{
        tile.tma_store_wait 0
      }}
    }}"""


def epilogue(c: GemmConfig) -> str:
    """`%result`: the sums and the bias, not below zero, in f16."""
    return f"""
        %result = tile.map (%v = %ready, %u = %e) -> !tile.tile<64x{c.columns}xf16, #acc> {{
          %zero = arith.constant 0.0 : f32
          %wide = arith.extf %u : f16 to f32
          %biased = arith.addf %v, %wide : f32
          %positive = arith.maximumf %biased, %zero : f32
          %narrow = arith.truncf %positive : f32 to f16
          tile.yield %narrow : f16
        }}"""


def signature(c: GemmConfig) -> str:
    """The function's arguments and its grid."""
    a, b = c.factors
    return f"""
    %x: !tile.tensor_map<{c.m}x{c.k}xf16 over [0, 1], {a}>,
    %w: !tile.tensor_map<{c.n}x{c.k}xf16 over [0, 1], {b}>,
    %bias: !tile.view<{c.n}xf16>,
    %y: !tile.tensor_map<{c.m}x{c.n}xf16 over [0, 1], !tile.shared<64x{c.chunk}xf16, #c>>)
    grid (%block = {c.blocks}) attributes {{tile.launch = #tile.launch<warps = {c.warps}>}}"""


def gemm_program(c: GemmConfig) -> str:
    """The whole module, as text."""
    a, b = c.factors
    ring = ", ".join([a] * c.wide + [b] * c.wide)
    rows, columns = c.tiles
    return f"""{layouts(c)}
module attributes {{stepwell.target = "sm_90a"}} {{
tile.func @gemm({signature(c)} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %true = arith.constant true
  %rows = arith.constant {c.rows} : index
  %columns = arith.constant {c.columns} : index
  %depth = arith.constant {STEP * c.wide} : index
  %steps = arith.constant {c.steps} : index
  %tiles = arith.constant {rows * columns} : index
  %blocks = arith.constant {c.blocks} : index
  %ring = tile.ring consumers {4 * c.groups} : !tile.ring<{c.stages}, {ring}>
  tile.dependency_launch
  tile.dependency_wait
  tile.specialise {{{producer(c)}{consumer(c)}
  }}
  tile.return
}}
}}
"""


def gemm_ptx(config: GemmConfig) -> str:
    """The program's PTX, by the project's own code generator."""
    context = StepwellContext()
    register_dialects(context)
    outer = Parser(context, gemm_program(config)).parse_module()
    first = outer.body.block.first_op
    module = first if isinstance(first, ModuleOp) else outer
    module.verify()
    ConvertTileToNvvmPass().apply(context, module)
    ConvertNvvmToLlvmPass().apply(context, module)
    return emit_ptx(module, Target.parse("sm_90a"))
