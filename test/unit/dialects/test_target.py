import pytest
from xdsl.dialects.builtin import DictionaryAttr, ModuleOp, StringAttr

from stepwell.dialects.target import Target
from stepwell.errors import OptionError


@pytest.mark.parametrize("name", ["cpu", "cpu-avx512", "cpu-avx2", "sm_90a", "sm_80"])
def test_a_target_survives_the_module_attribute(name: str) -> None:
    module = ModuleOp([])
    target = Target.parse(name)
    target.attach(module)
    assert Target.of(module) == target


def test_a_module_may_name_its_target_in_a_string() -> None:
    module = ModuleOp([], {"stepwell.target": StringAttr("cpu-avx2")})
    assert Target.of(module) == Target.parse("cpu-avx2")


def test_lanes_follow_the_vector_width() -> None:
    assert Target.parse("cpu-avx512").lanes(32) == 16
    assert Target.parse("cpu-avx2").lanes(16) == 16
    assert Target.parse("cpu-avx2").lanes(1) == 32


def test_architecture_specific_sm() -> None:
    target = Target.parse("sm_90a")
    assert (target.kind, target.sm, target.arch_specific) == ("cuda", 90, True)
    assert not Target.parse("sm_90").arch_specific


@pytest.mark.parametrize("name", ["tpu", "sm_75", "sm_9", "cpu-avx1024"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="expected a target"):
        Target.parse(name)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(OptionError, match="fields of a target"):
        Target.from_attribute(DictionaryAttr({"speed": StringAttr("fast")}))
