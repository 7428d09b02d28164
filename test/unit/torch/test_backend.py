import copy
import logging

import pytest
import torch
from torch import nn

import stepwell.torch
from stepwell.errors import UnsupportedError
from stepwell.torch import dynamo

from .judge import Counter, Mlp, Split, assert_same

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def compiled_by(module, **options):
    """The module under `torch.compile`, found by its entry point."""
    return torch.compile(module, backend="stepwell", options=options or None)


@torch.no_grad()
def test_the_backend_is_found_by_name_and_computes_the_same():
    assert "stepwell" in torch._dynamo.list_backends()
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = compiled_by(module)
    assert_same(compiled(x), module(x))
    assert stepwell.torch.report(compiled).is_complete
    assert len(stepwell.torch.report(compiled).graphs) == 1


@torch.no_grad()
def test_dynamic_shapes_need_one_graph():
    module = Mlp().eval()
    compiled = compiled_by(module)
    for batch in (3, 7, 9, 12):  # static first, dynamic from the second size on
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x))
    assert len(stepwell.torch.report(compiled).graphs) == 2


@torch.no_grad()
def test_a_marked_dim_is_dynamic_at_once():
    module = Mlp().eval()
    compiled = compiled_by(module)
    for batch in (3, 7):
        x = torch.randn(batch, 6)
        torch._dynamo.mark_dynamic(x, 0)
        assert_same(compiled(x), module(x))
    assert len(stepwell.torch.report(compiled).graphs) == 1


@torch.no_grad()
def test_sizes_that_are_arguments_are_read():
    def scale(x, n):
        return x.repeat(n, 1) * n

    compiled = torch.compile(scale, backend="stepwell", dynamic=True)
    for n in (2, 3, 5):
        x = torch.randn(4, 2)
        assert_same(compiled(x, n), scale(x, n))


@torch.no_grad()
def test_graph_breaks_make_several_graphs():
    def breaks(x):
        y = torch.relu(x) * 2
        torch._dynamo.graph_break()
        z = y.sum(0)
        if z.max() > 0:  # a branch on data breaks too
            return z + 1
        return z - 1

    compiled = torch.compile(breaks, backend="stepwell")
    x = torch.randn(5, 3)
    assert_same(compiled(x), breaks(x))
    report = stepwell.torch.report(compiled)
    assert len(report.graphs) == 3
    assert report.is_complete


@torch.no_grad()
def test_ops_without_a_rule_run_in_torch():
    module = Split().eval()
    compiled = torch.compile(
        module, backend="stepwell", dynamic=True, options={"min_block_size": 1}
    )
    for batch in (3, 7):
        x = torch.randn(batch, 6)
        assert_same(compiled(x), module(x))
    (op,) = stepwell.torch.report(compiled).torch_ops
    assert op.op == "aten.linalg_qr.default"
    assert "judge.py" in op.source


@torch.no_grad()
def test_a_part_that_cannot_be_built_runs_in_torch(monkeypatch, caplog):
    import stepwell.builder
    from stepwell.errors import CompileError

    def fail(*_, **__):
        raise CompileError("no lowering today")

    monkeypatch.setattr(stepwell.builder, "build", fail)
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = compiled_by(module)
    assert_same(compiled(x), module(x))
    assert "no lowering today" in str(stepwell.torch.report(compiled))
    assert "left to torch" in caplog.text
    strict = compiled_by(Mlp().eval(), pass_through_build_failures=True)
    with pytest.raises(CompileError, match="no lowering"):
        strict(x)


@torch.no_grad()
def test_buffers_and_inputs_are_changed_in_place():
    module = Counter().eval()
    compiled = compiled_by(copy.deepcopy(module))
    for _ in range(3):
        x = torch.randn(4, 3)
        ours, theirs = x.clone(), x.clone()
        assert_same(compiled(ours), module(theirs))
        assert_same(ours, theirs)
    assert_same(compiled._orig_mod.total, module.total)
    (graph,) = stepwell.torch.report(compiled).graphs
    assert graph.is_complete


@torch.no_grad()
def test_changed_weights_are_noticed(caplog):
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = compiled_by(module)
    compiled(x)
    module.first.weight.mul_(3)
    assert_same(compiled(x), module(x))
    assert "built anew" in caplog.text
    module.load_state_dict(Mlp().state_dict())
    assert_same(compiled(x), module(x))


@torch.no_grad()
def test_a_graph_whose_weights_keep_changing_is_left_to_torch(monkeypatch, caplog):
    monkeypatch.setattr(dynamo, "MAX_REBUILDS", 1)
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = compiled_by(module)
    for _ in range(4):
        module.first.weight.mul_(1.5)
        assert_same(compiled(x), module(x))
    assert "keep changing" in caplog.text


def test_a_backward_pass_is_refused_not_wrong():
    module, x = Mlp().eval(), torch.randn(3, 6)
    compiled = compiled_by(module)
    y = compiled(x)
    assert_same(y.detach(), module(x).detach())
    with pytest.raises(UnsupportedError, match="no backward pass"):
        y.sum().backward()
    with torch.no_grad():
        assert not compiled(x).requires_grad


@torch.no_grad()
def test_random_numbers_are_torchs():
    class Noise(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x.relu() + 1, 0.5, training=True) * 3

    module, x = Noise(), torch.randn(8, 8)
    compiled = compiled_by(module, min_block_size=1)
    torch.manual_seed(3)
    ours = compiled(x)
    torch.manual_seed(3)
    assert_same(ours, module(x))
    assert not stepwell.torch.report(compiled).is_complete


@torch.no_grad()
def test_views_keep_their_strides_and_share_memory():
    def views(x):
        y = x * 2
        return y.t(), y[:, 1:], y.view(-1), (x + 1).permute(1, 0).contiguous(), x.t()

    compiled = torch.compile(views, backend="stepwell")
    x = torch.randn(3, 4)
    ours = compiled(x)
    assert_same(ours, views(x))
    ours[0].zero_()
    assert ours[2].count_nonzero() == 0
    assert ours[4].data_ptr() == x.data_ptr()
    assert stepwell.torch.report(compiled).is_complete


@torch.no_grad()
def test_attention_stays_whole():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, x):
            q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    module, x = Attention().eval(), torch.randn(2, 5, 16)
    compiled = compiled_by(module)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)
    (graph,) = stepwell.torch.report(compiled).graphs
    assert graph.is_complete
    assert graph.engines[0].kernels <= 3


def test_unknown_options_are_refused():
    with pytest.raises(Exception, match="OptionError: unknown option"):
        compiled_by(Mlp(), speed=11)(torch.randn(3, 6))


def test_compile_can_be_just_in_time_too():
    compiled = stepwell.torch.compile(Mlp().eval(), ir="torch_compile")
    x = torch.randn(2, 6)
    with torch.no_grad():
        assert_same(compiled(x), compiled._orig_mod(x))


def test_logging_tells_the_report(caplog):
    with caplog.at_level(logging.INFO, logger="stepwell.torch"), torch.no_grad():
        compiled_by(Mlp().eval())(torch.randn(2, 6))
    assert "ops in 1 engines" in caplog.text
