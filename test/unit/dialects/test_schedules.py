import pytest
from xdsl.context import Context
from xdsl.ir import Dialect
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError

from stepwell.dialects.schedules import Anchor, Schedule, ScheduleAttr


def parse(text: str) -> ScheduleAttr:
    context = Context()
    context.load_dialect(Dialect("fusion", [], [ScheduleAttr]))
    attribute = Parser(context, text).parse_attribute()
    assert isinstance(attribute, ScheduleAttr)
    return attribute


def test_a_printed_schedule_parses_back() -> None:
    schedule = Schedule(
        Anchor.CONTRACTION,
        grid=(("n", 1), ("o", 64)),
        loops=(("q", 14), ("r", 1)),
        tile=(("q", 14), ("o", 64), ("c", 256)),
        options=(("unroll", 4),),
    )
    text = (
        "#fusion.schedule<contraction, grid = [n = 1, o = 64], "
        "loops = [q = 14, r = 1], tile = [q = 14, o = 64, c = 256], "
        "options = [unroll = 4]>"
    )
    assert str(ScheduleAttr(schedule)) == text
    assert parse(text).data == schedule


def test_queries() -> None:
    schedule = parse("#fusion.schedule<map, grid = [i = 8], tile = [j = 16]>").data
    assert schedule.cell("i") == 8
    assert schedule.cell("j") is None
    assert schedule.step("i") is None
    assert (schedule.extent("j"), schedule.extent("i")) == (16, 1)
    assert schedule.with_options(pack=1).option("pack") == 1
    assert schedule.option("pack") == 0


@pytest.mark.parametrize(
    "text",
    [
        "#fusion.schedule<banana>",
        "#fusion.schedule<map, rows = [i = 1]>",
        "#fusion.schedule<map, grid = [i = 1, i = 2]>",
        "#fusion.schedule<map, grid = [i = -1]>",
    ],
)
def test_malformed_schedules_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse(text)
