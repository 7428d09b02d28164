"""What the tests of the front door share: the judge, and modules to compile."""

import torch
from torch import nn


def assert_same(ours, theirs):
    """Equal structures, dtypes, shapes and strides; values up to rounding."""
    from torch.utils import _pytree as pytree

    left, left_spec = pytree.tree_flatten(ours)
    right, right_spec = pytree.tree_flatten(theirs)
    assert left_spec == right_spec
    for a, b in zip(left, right, strict=True):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.stride() == b.stride()
        tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(b.dtype, 1e-5)
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


class Mlp(nn.Module):
    """Two layers, a buffer, and a transposed result."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 4)
        self.register_buffer("shift", torch.arange(4.0))

    def forward(self, x):
        return (self.second(self.first(x).relu()) + self.shift).t()


class Split(nn.Module):
    """An op without a rule between two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        y = self.first(x).relu()
        q = torch.linalg.qr(y.t() @ y + torch.eye(6)).Q
        return self.second(y @ q.abs()).softmax(-1).reshape(x.shape[0] * 2, 3)


class Counter(nn.Module):
    """Changes a buffer and an input."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        y = self.linear(x)
        self.total.add_(y.sum(0))
        x.mul_(2)
        return y * self.total
