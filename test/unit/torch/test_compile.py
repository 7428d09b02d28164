import copy
import dataclasses

import pytest
import torch
from torch import nn

import stepwell.torch
from stepwell.errors import InputError, ModelError, OptionError, UnsupportedError
from stepwell.torch import CompiledModule, Input

from .judge import Counter, Mlp, Split, assert_same

RANGE = Input(min_shape=(1, 6), opt_shape=(4, 6), max_shape=(9, 6))


def test_a_compiled_module_stands_in_for_the_module():
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = stepwell.torch.compile(module, inputs=[x])
    assert isinstance(compiled, CompiledModule)
    assert_same(compiled(x), module(x).detach())
    assert compiled.report.is_complete
    assert len(compiled.engines) == 1


def test_a_range_of_shapes_is_served_and_kept():
    module = Mlp().eval()
    compiled = stepwell.torch.compile(
        module, ir="dynamo", inputs=[RANGE], enabled_precisions={torch.float16}
    )
    for batch in (1, 2, 4, 9):
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x).detach())
    with pytest.raises(InputError, match="10"):
        compiled(torch.randn(10, 6))
    with pytest.raises(InputError):
        compiled(torch.randn(4, 7))


def test_inputs_are_read_in_place_and_outputs_are_the_callers():
    compiled = stepwell.torch.compile(Mlp().eval(), inputs=[RANGE])
    x = torch.randn(4, 6)
    first = compiled(x)
    kept = first.clone()
    compiled(torch.randn(4, 6))
    assert torch.equal(first, kept)
    strided = torch.randn(6, 4).t()
    assert_same(compiled(strided), compiled(strided.contiguous()))


class Shapes(nn.Module):
    """Structures in and out, a keyword, a constant."""

    def forward(self, pair, *, scale, names=("a",), flag=True):
        x, y = pair["x"], pair["y"]
        total = x * scale + y
        return {"total": total, "rest": (total.mean(), [x.shape[0], names]), "f": flag}


def test_structures_go_in_and_come_out():
    module = Shapes().eval()
    shape = {"min_shape": (1, 2), "opt_shape": (3, 2), "max_shape": (8, 2)}
    compiled = stepwell.torch.compile(
        module,
        inputs=[{"x": Input(**shape), "y": Input(**shape)}],
        kwarg_inputs={"scale": Input((2,))},
    )
    for batch in (2, 5):
        pair = {"x": torch.randn(batch, 2), "y": torch.randn(batch, 2)}
        scale = torch.randn(2)
        expected = module(pair, scale=scale)
        assert_same(compiled(pair, scale=scale), expected)
        assert_same(compiled(scale=scale, pair=pair), expected)


def test_arguments_of_another_structure_are_refused():
    compiled = stepwell.torch.compile(Mlp().eval(), inputs=[RANGE])
    with pytest.raises(InputError, match="expected arguments as"):
        compiled(torch.randn(4, 6), torch.randn(4, 6))
    with pytest.raises(InputError, match="expected arguments as"):
        compiled([torch.randn(4, 6)])


def test_ops_without_a_rule_run_in_torch_and_the_report_says_where():
    module = Split().eval()
    compiled = stepwell.torch.compile(module, inputs=[RANGE], min_block_size=1)
    for batch in (3, 7):
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x).detach())
    (op,) = stepwell.torch.report(compiled).torch_ops
    assert op.op == "aten.linalg_qr.default"
    assert "not supported" in op.reason
    assert "judge.py" in op.source and "torch.linalg.qr" in op.source
    assert len(compiled.engines) == 2
    assert "run by torch" in str(compiled.report)


def test_views_of_one_tensor_share_memory():
    class Pieces(nn.Module):
        def forward(self, x):
            y = x * 2
            return x.chunk(2, 1), y, *y.unbind(0)

    x = torch.randn(2, 4)
    compiled = stepwell.torch.compile(Pieces(), inputs=[x])
    pieces, y, first, _ = compiled(x)
    assert_same((pieces, y, first), (x.chunk(2, 1), x * 2, x[0] * 2))
    assert pieces[0].data_ptr() == x.data_ptr()
    first.zero_()
    assert not y[0].any()


def test_equal_results_are_tensors_of_their_own():
    class Twice(nn.Module):
        def forward(self, x):
            return x.cumsum(1), x.relu(), x.cumsum(1)

    x = torch.rand(2, 3)
    first, _, second = stepwell.torch.compile(Twice(), inputs=[x])(x)
    first.zero_()
    torch.testing.assert_close(second, x.cumsum(1))


def test_sizes_on_the_other_side_of_a_branch_are_refused(tmp_path):
    class Even(nn.Module):
        def forward(self, x):
            q = torch.linalg.qr(x).Q
            return q * 2 if x.shape[0] % 2 == 0 else q

    spec = Input(min_shape=(3, 2), opt_shape=(4, 2), max_shape=(8, 2))
    compiled = stepwell.torch.compile(Even(), inputs=[spec], min_block_size=1)
    compiled.save(tmp_path / "even.stepwell")
    for module in (compiled, stepwell.torch.load(tmp_path / "even.stepwell")):
        x = torch.randn(6, 2)
        assert_same(module(x), torch.linalg.qr(x).Q * 2)
        with pytest.raises(InputError, match=r"traced for sizes with Eq\(Mod"):
            module(torch.randn(5, 2))


def test_a_part_that_reads_only_sizes_is_told_them():
    class Ramp(nn.Module):
        def forward(self, x):
            ramp = (torch.arange(x.shape[0]) * 2.0 + 1).relu()
            q = torch.linalg.qr(torch.outer(ramp, ramp) + torch.eye(x.shape[0])).Q
            return q.abs() @ x

    module = Ramp().eval()
    compiled = stepwell.torch.compile(module, inputs=[RANGE], min_block_size=1)
    for batch in (3, 7):
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x))
    assert [op.op for op in compiled.report.torch_ops] == ["aten.linalg_qr.default"]


def test_small_parts_are_left_to_torch():
    module, x = Split().eval(), torch.randn(4, 6)
    compiled = stepwell.torch.compile(module, inputs=[x], min_block_size=50)
    assert_same(compiled(x), module(x).detach())
    assert not compiled.engines
    assert any("min_block_size=50" in op.reason for op in compiled.report.torch_ops)


def test_ops_that_the_user_keeps_run_in_torch():
    module, x = Mlp().eval(), torch.randn(4, 6)
    compiled = stepwell.torch.compile(
        module, inputs=[x], torch_executed_ops={"aten.relu"}, min_block_size=1
    )
    assert_same(compiled(x), module(x).detach())
    assert [op.op for op in compiled.report.torch_ops] == ["aten.relu.default"]


def test_full_compilation_can_be_required():
    with pytest.raises(UnsupportedError, match="expected every op") as raised:
        stepwell.torch.compile(
            Split().eval(), inputs=[RANGE], require_full_compilation=True
        )
    assert "linalg_qr" in str(raised.value)


def test_a_dry_run_builds_nothing_and_computes_the_same():
    module, x = Split().eval(), torch.randn(4, 6)
    compiled = stepwell.torch.compile(module, inputs=[x], dryrun=True, min_block_size=1)
    assert not compiled.engines
    assert len(compiled.report.graphs[0].engines) == 2


def test_buffers_and_inputs_are_changed_as_the_module_does():
    module = Counter().eval()
    compiled = stepwell.torch.compile(copy.deepcopy(module), inputs=[Input((4, 3))])
    for _ in range(3):
        x = torch.randn(4, 3)
        ours, theirs = x.clone(), x.clone()
        with torch.no_grad():
            assert_same(compiled(ours), module(theirs))
        assert_same(ours, theirs)
    assert_same(compiled.buffer("total"), module.total)


@pytest.mark.parametrize("make", [Mlp, Split, Counter])
def test_a_saved_module_is_the_same(make, tmp_path):
    module = make().eval()
    x = torch.randn(4, 3 if make is Counter else 6)
    compiled = stepwell.torch.compile(module, inputs=[x.clone()], min_block_size=1)
    compiled.save(tmp_path / "m.stepwell")
    loaded = stepwell.torch.load(tmp_path / "m.stepwell")
    assert_same(loaded(x.clone()), compiled(x.clone()))
    assert str(loaded.report) == str(compiled.report)


def test_a_damaged_file_is_refused(tmp_path):
    from stepwell.errors import EngineFileError

    path = tmp_path / "m.stepwell"
    stepwell.torch.save(stepwell.torch.compile(Mlp().eval(), inputs=[RANGE]), path)
    data = bytearray(path.read_bytes())
    with pytest.raises(EngineFileError):
        stepwell.torch.load(tmp_path / "none")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EngineFileError):
        stepwell.torch.load(path)
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(EngineFileError):
        stepwell.torch.load(path)


def test_only_compiled_modules_are_saved(tmp_path):
    with pytest.raises(OptionError, match="got Mlp"):
        stepwell.torch.save(Mlp(), tmp_path / "m")
    compiled = stepwell.torch.compile(Mlp().eval(), inputs=[RANGE])
    with pytest.raises(OptionError, match="torchscript"):
        stepwell.torch.save(compiled, tmp_path / "m", output_format="torchscript")


def test_an_exported_program_is_compiled_with_its_own_ranges():
    module, x = Mlp().eval(), torch.randn(4, 6)
    shapes = ({0: torch.export.Dim("batch", min=1, max=5)},)
    exported = torch.export.export(module, (x,), dynamic_shapes=shapes)
    compiled = stepwell.torch.compile(exported)
    for batch in (1, 5):
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x).detach())
    with pytest.raises(InputError):
        compiled(torch.randn(6, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_go_in_and_come_out(dtype):
    module = Mlp().eval().to(dtype)
    spec = Input((4, 6), dtype=dtype)
    compiled = stepwell.torch.compile(module, inputs=[spec])
    x = torch.randn(4, 6, dtype=dtype)
    assert_same(compiled(x), module(x).detach())


def test_a_result_that_is_an_argument_or_a_weight_comes_through():
    class Echo(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x, self.weight, x + 1, None

    compiled = stepwell.torch.compile(Echo().eval(), inputs=[torch.ones(2)])
    x = torch.randn(2)
    assert_same(compiled(x), (x, torch.ones(2), x + 1, None))


def test_wrong_calls_are_refused():
    with pytest.raises(OptionError, match="expected inputs"):
        stepwell.torch.compile(Mlp())
    with pytest.raises(OptionError, match="got both"):
        stepwell.torch.compile(Mlp(), inputs=[RANGE], arg_inputs=[RANGE])
    with pytest.raises(OptionError, match="got 'ts'"):
        stepwell.torch.compile(Mlp(), ir="ts", inputs=[RANGE])
    with pytest.raises(ModelError, match="cannot trace"):
        stepwell.torch.compile(Mlp(), inputs=[torch.randn(4, 5)])


@dataclasses.dataclass
class Scores:
    values: torch.Tensor
    best: torch.Tensor


def test_dataclasses_come_out():
    class Rank(nn.Module):
        def forward(self, x):
            return Scores(x.softmax(-1), x.argmax(-1))

    torch.export.register_dataclass(Scores, serialized_type_name="tests.Scores")
    compiled = stepwell.torch.compile(Rank().eval(), inputs=[torch.randn(3, 5)])
    x = torch.randn(3, 5)
    result = compiled(x)
    assert isinstance(result, Scores)
    assert_same(result, Rank()(x))
