"""What an imported PyTorch model looks like: names, symbols, locations, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch import nn as torch_nn
    from torch.export import Dim
    from torch.utils import _pytree as pytree

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.provenance import location_names
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics import argument_names, interpret
from stepwell.dialects.shapes import DimRange, dims_of, ranges_of
from stepwell.dialects.weights import WeightStore
from stepwell.errors import ModelError, OptionError, ShapeError, UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.torch import export_module, import_model, unsupported
from stepwell.frontends.torch.export import decompose, needs_decomposition
from stepwell.frontends.torch.tensors import to_numpy


def imported(module: Any, *args: Any, **options: Any) -> tuple[ModuleOp, WeightStore]:
    """The module of a model, and its weights."""
    context = StepwellContext(weights=WeightStore())
    register_dialects(context)
    built = import_model(module, context, args=args or None, **options)
    return built, context.weights


def function(module: ModuleOp) -> FuncOp:
    (found,) = (op for op in module.ops if isinstance(op, FuncOp))
    return found


def output_names(module: ModuleOp) -> list[str]:
    attributes: Any = function(module).res_attrs
    return [entry.data["nn.name"].data for entry in attributes]


def check(
    module: Any, args: tuple[Any, ...], *others: tuple[Any, ...], **options: Any
) -> ModuleOp:
    """Import with `args`; compare with PyTorch there and at other inputs."""
    built, weights = imported(module, *args, **options)
    for given in (args, *others):
        leaves = [x for x in pytree.tree_leaves(given) if torch.is_tensor(x)]
        arrays = [to_numpy(x.clone()).copy() for x in leaves]
        wanted = [x for x in pytree.tree_leaves(module(*given)) if torch.is_tensor(x)]
        got = interpret(built, arrays, weights)
        assert len(got) == len(wanted)
        for ours, theirs in zip(got, wanted, strict=True):
            reference = to_numpy(theirs)
            assert ours.dtype == reference.dtype
            np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-5)
    return built


class Network(torch_nn.Module):
    """A residual block over a linear layer, whose output is a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch_nn.Sequential(torch_nn.Linear(4, 8), torch_nn.ReLU())
        self.head = torch_nn.Linear(8, 4)

    def forward(self, x: Any, scale: float = 1.0) -> Any:
        y = self.head(self.body(x))
        return {"logits": y + x * scale, "parts": (y, x.shape[0])}


BATCH = {"x": {0: Dim("batch", min=1, max=32)}}
X = torch.linspace(-1, 1, 12).reshape(3, 4)


def test_names_symbols_and_ranges_are_those_of_the_user() -> None:
    module, _ = imported(Network(), X, dynamic_shapes=BATCH)
    assert argument_names(function(module)) == ["x"]
    assert output_names(module) == ["logits", "parts_0", "parts_1"]
    assert str(dims_of(function(module).body.block.args[0])[0]) == "batch"
    assert ranges_of(module) == {"batch": DimRange(1, 32, opt=3)}


def test_one_module_serves_every_size() -> None:
    x = torch.rand(7, 4)
    options = {"dynamic_shapes": {"x": {0: Dim("batch")}}}
    check(Dynamic(), (X,), (x,), (x[:1],), **options)


class Dynamic(torch_nn.Module):
    """Arithmetic on a size: views, ranges, expands, a mask."""

    def forward(self, x: Any) -> Any:
        rows = x.shape[0]
        flat = x.reshape(rows * 2, 2).t().reshape(-1, rows)
        mask = torch.ones(rows, rows, dtype=torch.bool).tril()
        place = torch.arange(rows) * 2 + rows
        double = torch.cat([x, x])[rows // 2 :]
        return flat, mask, place, double, x[-1], x.sum() / rows, torch.tensor(rows)


def test_a_size_may_be_a_multiple_of_another_ones() -> None:
    class Halves(torch_nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(2, x.shape[0] // 2).sum(0)

    half = Dim("half", min=1, max=8)
    options = {"dynamic_shapes": {"x": {0: 2 * half}}}
    built = check(Halves(), (torch.rand(6),), (torch.rand(10),), **options)
    assert ranges_of(built)["x_0"] == DimRange(2, 16, divisor=2)


class Pair(torch_nn.Module):
    """Two inputs that are not alike, and a weight of their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch_nn.Parameter(torch.rand(3, 4))

    def forward(self, first: Any, second: Any) -> Any:
        return first - 2 * second[0] * self.weight[0]


def test_a_tensor_given_twice_is_two_inputs() -> None:
    others = torch.rand(3, 4), [torch.rand(3, 4)]
    check(Pair(), (X, [X]), others)
    shapes = torch.export.ShapesCollection()
    shapes[X] = {0: Dim("batch", max=9)}
    longer = torch.rand(5, 4), [torch.rand(5, 4)]
    built = check(Pair(), (X, [X]), others, longer, dynamic_shapes=shapes)
    assert list(ranges_of(built)) == ["batch"]


def test_a_weight_may_be_an_example_input() -> None:
    module = Pair()
    with torch.no_grad():
        check(module, (module.weight, [X]), (torch.rand(3, 4), [torch.rand(3, 4)]))


def test_a_profile_narrows_the_range() -> None:
    options = {"dynamic_shapes": BATCH, "shapes": {"batch": "2..8:4"}}
    module, _ = imported(Network(), X, **options)
    assert ranges_of(module)["batch"] == DimRange(2, 8, opt=4)
    options["shapes"] = {"x": [5, 4]}
    module, _ = imported(Network(), X, **options)
    assert dims_of(function(module).body.block.args[0]) == (5, 4)


def test_a_profile_that_does_not_fit_is_refused() -> None:
    for shapes in (
        {"y": [1]},
        {"x": [1]},
        {"batch": "1x2"},
        {"x": "3x5"},
        {"batch": 99},
    ):
        with pytest.raises(OptionError):
            imported(Network(), X, dynamic_shapes=BATCH, shapes=shapes)


def test_locations_name_modules() -> None:
    module, _ = imported(Network(), X)
    names = {name for op in module.walk() for name in location_names(op)}
    assert {"body.0", "body.1", "head", "add", "mul", "head.weight"} <= names


def test_equal_weights_are_one_constant() -> None:
    class Tied(torch_nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch_nn.Embedding(40, 16)
            self.head = torch_nn.Linear(16, 40, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids: Any) -> Any:
            return self.head(self.table(ids))

    built = check(Tied(), (torch.tensor([[1, 2, 39]]),))
    constants = [op for op in built.walk() if isinstance(op, nn.ConstantOp)]
    assert len(constants) == 1


def test_modules_are_imported_as_at_inference_and_left_as_they_were() -> None:
    module = torch_nn.Sequential(torch_nn.Dropout(0.5), torch_nn.BatchNorm1d(4))
    built, _ = imported(module, X)
    assert module.training
    assert module[0].training
    check(module.eval(), (X,))
    assert not any(isinstance(op, nn.RandomUniformOp) for op in built.walk())


def test_changed_buffers_and_inputs_are_outputs() -> None:
    class Counter(torch_nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(4))

        def forward(self, x: Any) -> Any:
            self.count.add_(x.sum(0))
            x.mul_(2)
            return x + self.count

    built, weights = imported(Counter(), X.clone())
    assert argument_names(function(built)) == ["count", "x"]
    assert output_names(built) == ["count_next", "x_next", "output"]
    start = np.ones(4, np.float32)
    count, x, y = interpret(built, [start, X.numpy()], weights)
    np.testing.assert_allclose(count, 1 + X.sum(0).numpy(), rtol=1e-6)
    np.testing.assert_allclose(x, 2 * X.numpy())
    np.testing.assert_allclose(y, x + count, rtol=1e-6)


class Residual(torch_nn.Module):
    """Changes in place as torchvision writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch_nn.Conv2d(3, 3, 3, padding=1)
        self.relu = torch_nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.conv(x))
        z = self.conv(y)
        z += y
        return self.relu(z)


class Shared(torch_nn.Module):
    """A change in place that a view of the same memory sees."""

    def forward(self, x: Any) -> Any:
        y = x * 2
        view = y.view(-1)
        y.add_(1)
        return view + 1, y


class Early(torch_nn.Module):
    """A reader before the change, and one after."""

    def forward(self, x: Any) -> Any:
        y = x + 1
        before = y * 3
        y.relu_()
        return before, y * 3


@pytest.mark.parametrize(
    ("module", "needs"), [(Residual(), False), (Early(), False), (Shared(), True)]
)
def test_changes_in_place_need_no_second_trace_unless_memory_is_shared(
    module: Any, needs: bool
) -> None:
    x = torch.rand(1, 3, 5, 5) - 0.5
    exported = export_module(module, (x,), None, None)
    assert needs_decomposition(exported) == needs
    assert not needs_decomposition(decompose(exported))
    check(module, (x,))


class Recurrent(torch_nn.Module):
    """All kinds of recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        options: dict[str, Any] = {"batch_first": True, "bidirectional": True}
        self.lstm = torch_nn.LSTM(3, 4, num_layers=2, **options)
        self.gru = torch_nn.GRU(8, 3, bidirectional=True)
        self.rnn = torch_nn.RNN(6, 2, nonlinearity="relu", bias=False)

    def forward(self, x: Any) -> Any:
        y, state = self.lstm(x)
        z, last = self.gru(y.transpose(0, 1))
        return y, state, last, self.rnn(z)


def test_recurrent_layers_stay_whole_for_any_number_of_steps() -> None:
    shapes = {"x": {0: Dim("batch", max=16), 1: Dim("steps", max=99)}}
    x = torch.rand(2, 5, 3)
    built = check(Recurrent(), (x,), (torch.rand(1, 8, 3),), dynamic_shapes=shapes)
    kinds = [type(op) for op in built.walk() if isinstance(op, nn.LstmOp | nn.GruOp)]
    assert kinds == [nn.LstmOp, nn.LstmOp, nn.GruOp]


class Branch(torch_nn.Module):
    """`torch.cond` over two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch_nn.Linear(4, 4), torch_nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return torch.cond(x.sum() > 0, self.left, lambda y: self.right(y) * 2, (x,))


class Loop(torch_nn.Module):
    """`while_loop`, `scan` and `map`."""

    def forward(self, x: Any, count: Any) -> Any:
        from torch._higher_order_ops.map import map as map_rows
        from torch._higher_order_ops.scan import scan
        from torch._higher_order_ops.while_loop import while_loop

        start = torch.zeros((), dtype=torch.int64)
        _, looped = while_loop(
            lambda i, y: i < count, lambda i, y: (i + 1, y * 2 + i), (start, x)
        )
        state, rows = scan(lambda h, row: (h * 0.5 + row, h + row), x[0], x)
        return looped, state, rows, map_rows(lambda row, y: row.sin() + y, x + 1, x[0])


def test_branches_become_regions() -> None:
    built = check(Branch(), (X.abs(),), (-X.abs(),))
    assert any(isinstance(op, nn.IfOp) for op in built.walk())


def test_loops_become_regions() -> None:
    built = check(Loop(), (X, torch.tensor(3)), (X, torch.tensor(0)))
    kinds = [type(op) for op in built.walk() if op.regions and type(op) is not FuncOp]
    assert kinds == [ModuleOp, nn.LoopOp, nn.ScanOp, nn.ScanOp]


class Selected(torch_nn.Module):
    """Sizes that the data decides."""

    def forward(self, x: Any) -> Any:
        rows = x[x.sum(1) > 0] * 2
        return torch.nonzero(x > 0), x.masked_select(x < 0), rows


class Cut(torch_nn.Module):
    """A size that is read from a tensor."""

    def forward(self, x: Any, count: Any) -> Any:
        rows = count.item()
        torch._check(rows >= 0)
        torch._check(rows <= x.shape[0])
        return x[:rows] * 2


def test_sizes_that_data_decides_are_symbols() -> None:
    check(Selected(), (X,), (-X,), (X * 0,))


def test_a_number_read_from_a_tensor_is_a_size() -> None:
    built = check(Cut(), (X, torch.tensor(2)), (X, torch.tensor(1)))
    weights = WeightStore()
    with pytest.raises(ShapeError):
        interpret(built, [X.numpy(), np.array(4)], weights)


@dataclass
class Result:
    """What a model returns."""

    logits: Any
    caches: tuple[Any, Mapping[str, Any]]
    steps: int = 3


torch.export.register_dataclass(Result, serialized_type_name="stepwell.test.Result")


class Structured(torch_nn.Module):
    """Nested inputs and outputs."""

    def forward(self, x: Any, cache: Mapping[str, Any]) -> Any:
        return Result(x * 2, (cache["k"][0] + 1, {"v": cache["v"]}), 7)


def test_nested_inputs_and_outputs_have_names() -> None:
    cache = {"k": [torch.rand(2)], "v": torch.rand(3)}
    built = check(Structured(), (X, cache))
    assert argument_names(function(built)) == ["x", "cache_k_0", "cache_v"]
    assert output_names(built) == ["logits", "caches_0", "caches_1_v"]


class Unsupported(torch_nn.Module):
    """Two ops that have no rule."""

    def forward(self, x: Any) -> Any:
        y = torch.fft.rfft(x)
        z = torch.linalg.qr(x.double())[0]
        return y.abs() + 1, z


def test_everything_unsupported_is_named_at_once_with_its_source_line() -> None:
    with pytest.raises(UnsupportedError) as caught:
        imported(Unsupported(), X)
    text = str(caught.value)
    assert "aten._fft_r2c.default" in text
    assert "aten.linalg_qr.default" in text
    assert f"{os.path.basename(__file__)}:" in text


def test_unsupported_calls_are_found_for_a_partition() -> None:
    exported = decompose(export_module(Unsupported(), (X,), None, None))
    found = unsupported(exported)
    assert {str(issue.fx_node.target) for issue in found if issue.fx_node} == {
        "aten._fft_r2c.default",
        "aten.abs.default",  # of complex numbers
        "aten.linalg_qr.default",
    }
    assert unsupported(decompose(export_module(Network(), (X,), None, None))) == []


class Untraceable(torch_nn.Module):
    """A branch in Python on the data."""

    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


def test_what_pytorch_cannot_trace_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot trace Untraceable"):
        imported(Untraceable(), X)
    with pytest.raises(ModelError, match="ScriptModule"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imported(torch.jit.trace(torch_nn.ReLU(), X), X)


def test_what_the_importer_did_not_expect_is_a_model_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("somewhere")

    monkeypatch.setattr(GraphBuilder, "finish", fail)
    with pytest.raises(ModelError, match="Network: cannot import the model") as caught:
        imported(Network(), X)
    assert caught.value.notes == ("KeyError: 'somewhere'",)


def test_a_module_needs_inputs_and_a_program_takes_none() -> None:
    with pytest.raises(OptionError, match="args"):
        imported(Network())
    exported = export_module(Network(), (X,), None, None)
    with pytest.raises(OptionError, match="not traced again"):
        imported(exported, X)


def test_exported_programs_are_read_from_files(tmp_path: Any) -> None:
    path = tmp_path / "model.pt2"
    exported = export_module(Network(), (X,), None, BATCH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(exported, path)
        built, weights = imported(path)
    wanted = Network.forward  # the names survive, the symbol is named after its input
    assert wanted is not None
    assert output_names(built) == ["logits", "parts_0", "parts_1"]
    assert interpret(built, [np.ones((2, 4), np.float32)], weights)[0].shape == (2, 4)
    path.write_bytes(b"not a program")
    with pytest.raises(ModelError, match="cannot read"):
        imported(path)


def test_half_precision_weights_keep_their_type() -> None:
    layer = torch_nn.Linear(4, 3).to(torch.bfloat16)
    built, weights = imported(layer, X.to(torch.bfloat16))
    (y,) = interpret(built, [to_numpy(X.to(torch.bfloat16))], weights)
    wanted = layer(X.to(torch.bfloat16)).detach().float().numpy()
    np.testing.assert_allclose(y.astype(np.float32), wanted, rtol=2e-2, atol=2e-2)


def test_stepwell_is_imported_without_pytorch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import stepwell\n"
        "from stepwell.errors import MissingExtraError\n"
        "try: stepwell.build('model.pt2')\n"
        "except MissingExtraError as error: print(error.fix)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "pip install 'stepwell[torch]'"
