"""Who does what in a block: roles of warps, single threads, barriers, clusters."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnitAttr,
    i64,
)
from xdsl.ir import Block, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    HasParent,
    MemoryWriteEffect,
    NoTerminator,
    Pure,
    RecursiveMemoryEffect,
)

from .assembly import Value, expect, one
from .attrs import BarrierKind, BarrierKindAttr

_NO_TERMINATOR = (NoTerminator(), RecursiveMemoryEffect())


@irdl_op_definition
class SpecialiseOp(IRDLOperation):
    """Splits the warps of a block into roles that run at the same time.

    The warps are dealt out in the order of the roles. All roles end before the block
    goes on.

    ```mlir
    tile.specialise {
      tile.role "producer" warps 4 registers 24 (%g) { ... }
      tile.role "consumer" warps 4 groups 2 registers 240 (%g) { ... }
    }
    ```
    """

    name = "tile.specialise"

    body = region_def("single_block")

    traits = traits_def(*_NO_TERMINATOR)
    assembly_format = "$body attr-dict"

    def __init__(self, body: Region | None = None):
        super().__init__(regions=[body or Region(Block())])

    @property
    def roles(self) -> list[RoleOp]:
        """The roles, in the order of their warps."""
        return [op for op in self.body.block.ops if isinstance(op, RoleOp)]

    def verify_(self) -> None:
        ops = list(self.body.block.ops)
        expect(
            len(self.roles) == len(ops) >= 1,
            "expected nothing but tile.role ops inside",
        )
        names = [role.role.data for role in self.roles]
        expect(len(set(names)) == len(names), f"expected distinct roles, got {names}")


@irdl_op_definition
class RoleOp(IRDLOperation):
    """What some warps of the block do.

    `groups` groups of `warps` warps run the body, each with its index `%g`; a tile with
    a layout belongs to one group. `registers` is the budget of each thread, set by
    `setmaxnreg` on entry: it moves registers from producers to consumers.

    PTX ISA: "setmaxnreg".
    """

    name = "tile.role"

    role = prop_def(StringAttr)
    warps = prop_def(IntegerAttr[IntegerType].constr(i64))
    groups = prop_def(IntegerAttr[IntegerType].constr(i64))
    registers = opt_prop_def(IntegerAttr[IntegerType].constr(i64))
    body = region_def("single_block")

    traits = lazy_traits_def(lambda: (*_NO_TERMINATOR, HasParent(SpecialiseOp)))

    def __init__(
        self,
        role: str,
        warps: int,
        groups: int = 1,
        registers: int | None = None,
        body: Region | None = None,
    ):
        budget = None if registers is None else IntegerAttr(registers, i64)
        super().__init__(
            properties={
                "role": StringAttr(role),
                "warps": IntegerAttr(warps, i64),
                "groups": IntegerAttr(groups, i64),
                "registers": budget,
            },
            regions=[body or Region(Block(arg_types=[IndexType()]))],
        )

    @property
    def total_warps(self) -> int:
        """The warps of all groups."""
        return self.warps.value.data * self.groups.value.data

    @property
    def budget(self) -> int | None:
        """Registers of each thread, if set."""
        return None if self.registers is None else self.registers.value.data

    def verify_(self) -> None:
        warps, groups = self.warps.value.data, self.groups.value.data
        expect(
            warps >= 1 and groups >= 1,
            f"expected warps and groups, got {warps}, {groups}",
        )
        expect(
            list(self.body.block.arg_types) == [IndexType()],
            "expected the group's index as the one argument of the body",
        )
        if self.budget is not None:
            expect(
                self.total_warps % 4 == 0,
                f"registers are set for whole warpgroups of 4 warps, got {warps} x "
                f"{groups}",
            )
            expect(
                24 <= self.budget <= 256 and self.budget % 8 == 0,
                "expected a register budget of 24 to 256 in steps of 8, got "
                f"{self.budget}",
            )

    @classmethod
    def parse(cls, parser: Parser) -> RoleOp:
        role = parser.parse_str_literal()
        parser.parse_keyword("warps")
        warps, groups, registers = parser.parse_integer(), 1, None
        if parser.parse_optional_keyword("groups"):
            groups = parser.parse_integer()
        if parser.parse_optional_keyword("registers"):
            registers = parser.parse_integer()
        with parser.in_parens():
            group = parser.parse_argument(expect_type=False).resolve(IndexType())
        op = cls(role, warps, groups, registers, parser.parse_region([group]))
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.role.data)
        printer.print_string(f" warps {self.warps.value.data}")
        if self.groups.value.data != 1:
            printer.print_string(f" groups {self.groups.value.data}")
        if self.budget is not None:
            printer.print_string(f" registers {self.budget}")
        printer.print_string(" (")
        printer.print_block_argument(self.body.block.args[0], print_type=False)
        printer.print_string(") ")
        printer.print_region(self.body, print_entry_block_args=False)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class ElectOp(IRDLOperation):
    """One thread of the group runs the body: the one that talks to the copy engine.

    PTX ISA: "elect.sync".

    ```mlir
    tile.elect { ... }
    ```
    """

    name = "tile.elect"

    body = region_def("single_block")

    traits = traits_def(*_NO_TERMINATOR)
    assembly_format = "$body attr-dict"

    def __init__(self, body: Region | None = None):
        super().__init__(regions=[body or Region(Block())])


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """All threads of the block, or of the role's group, meet.

    PTX ISA: "bar, barrier".

    ```mlir
    tile.barrier group
    ```
    """

    name = "tile.barrier"

    kind = prop_def(BarrierKindAttr)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$kind attr-dict"

    def __init__(self, kind: BarrierKind | str):
        super().__init__(properties={"kind": BarrierKindAttr(BarrierKind(kind))})


@irdl_op_definition
class NamedBarrierOp(IRDLOperation):
    """One of the 16 barriers of a block, for `threads` threads that arrive or wait.

    Two consumers take turns by it: each waits on its own and arrives at the other's.

    ```mlir
    tile.named_barrier %id threads 256 arrive
    ```
    """

    name = "tile.named_barrier"

    barrier = operand_def(IndexType())
    threads = prop_def(IntegerAttr[IntegerType].constr(i64))
    arrive = opt_prop_def(UnitAttr)

    traits = traits_def(MemoryWriteEffect())
    custom_directives = (Value,)
    assembly_format = (
        f"{one('barrier')} `threads` $threads (`arrive` $arrive^)? attr-dict"
    )

    def __init__(self, barrier: SSAValue, threads: int, *, arrive: bool = False):
        super().__init__(
            operands=[barrier],
            properties={
                "threads": IntegerAttr(threads, i64),
                "arrive": UnitAttr() if arrive else None,
            },
        )

    def verify_(self) -> None:
        got = self.threads.value.data
        expect(got % 32 == 0 and got > 0, f"expected whole warps of threads, got {got}")


@irdl_op_definition
class ClusterRankOp(IRDLOperation):
    """This block's place in its cluster.

    ```mlir
    %rank = tile.cluster_rank
    ```
    """

    name = "tile.cluster_rank"

    result = result_def(IndexType())

    traits = traits_def(Pure())
    assembly_format = "attr-dict"

    def __init__(self):
        super().__init__(result_types=[IndexType()])


@irdl_op_definition
class ClusterSyncOp(IRDLOperation):
    """All blocks of the cluster meet.

    `relaxed` orders no memory: it is enough before the first copies and before exit,
    and costs no fence. PTX ISA: "barrier.cluster".
    """

    name = "tile.cluster_sync"

    relaxed = opt_prop_def(UnitAttr)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "(`relaxed` $relaxed^)? attr-dict"

    def __init__(self, *, relaxed: bool = False):
        super().__init__(properties={"relaxed": UnitAttr() if relaxed else None})


@irdl_op_definition
class DependencyWaitOp(IRDLOperation):
    """Waits for the results of the kernels before this one.

    What does not depend on them (weights) may be loaded above it. PTX ISA:
    "griddepcontrol.wait".
    """

    name = "tile.dependency_wait"

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"


@irdl_op_definition
class DependencyLaunchOp(IRDLOperation):
    """Lets the next kernel start its prologue. PTX ISA: "griddepcontrol"."""

    name = "tile.dependency_launch"

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"


@irdl_op_definition
class RasterOp(IRDLOperation):
    """The output tile with a number: groups of `group` rows, column by column.

    Blocks that run at the same time then share rows and columns in the L2 cache.
    `first = index / (group * columns) * group`; within the group rows vary fastest.

    ```mlir
    %m, %n = tile.raster %index [32, 3] group 8
    ```
    """

    name = "tile.raster"

    index = operand_def(IndexType())
    extents = prop_def(DenseArrayBase.constr(i64))
    group = prop_def(IntegerAttr[IntegerType].constr(i64))
    row = result_def(IndexType())
    column = result_def(IndexType())

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = f"{one('index')} $extents `group` $group attr-dict"

    def __init__(self, index: SSAValue, extents: Sequence[int], group: int):
        super().__init__(
            operands=[index],
            properties={
                "extents": DenseArrayBase.from_list(i64, list(extents)),
                "group": IntegerAttr(group, i64),
            },
            result_types=[IndexType(), IndexType()],
        )

    def verify_(self) -> None:
        extents = self.extents.get_values()
        expect(
            len(extents) == 2 and min(extents) >= 1 and self.group.value.data >= 1,
            f"expected positive rows, columns and group, got {list(extents)}, "
            f"{self.group.value.data}",
        )

    def place(self, index: int) -> tuple[int, int]:
        """Row and column of the tile numbered `index`."""
        rows, columns = self.extents.get_values()
        group = self.group.value.data
        band, rest = divmod(index, group * columns)
        first = band * group
        height = min(group, rows - first)
        return first + rest % height, rest // height
