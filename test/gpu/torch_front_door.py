"""stepwell.torch on a GPU: tensors stay there, and results are torch's.

Usage: python test/gpu/torch_front_door.py

Prints a line for each check, and returns 1 if one fails. Needs a GPU and a torch that
sees it.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

import torch
from torch import nn

import stepwell.errors
import stepwell.torch
from stepwell.torch import Input

torch.backends.cuda.matmul.allow_tf32 = False
RANGE = Input(min_shape=(1, 64), opt_shape=(16, 64), max_shape=(64, 64))


class Network(nn.Module):
    """Two layers, attention between them, a transposed result."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 96), nn.Linear(32, 24)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For `[batch, 64]` the scores `[24, batch]`, and the largest of each."""
        q, k, v = self.first(x).view(-1, 3, 4, 8).permute(1, 2, 0, 3)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        scores = self.second(y.transpose(0, 1).reshape(-1, 32))
        return scores.t(), scores.argmax(1)


class Split(nn.Module):
    """An op without a rule in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """For `[batch, 64]` scores `[batch, 8]`."""
        y = self.first(x).relu()
        q = torch.linalg.qr(y.t() @ y + torch.eye(64, device=x.device)).Q
        return self.second(y @ q.abs())


def same(ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    """Both on the GPU, with the same strides and values."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.is_cuda, a.device
        assert a.stride() == b.stride(), (a.stride(), b.stride())
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def ahead_of_time() -> None:
    """Dynamic batch."""
    module = Network().eval().cuda()
    compiled = stepwell.torch.compile(module, inputs=[RANGE])
    for batch in (1, 16, 33):
        x = torch.randn(batch, 64, device="cuda")
        same(compiled(x), module(x))


def half_precision() -> None:
    """A float16 engine of a float32 module."""
    module = Network().eval().cuda()
    compiled = stepwell.torch.compile(
        module, inputs=[RANGE], enabled_precisions={torch.float16}
    )
    assert compiled.engines[0].manifest.precision == "fp16"
    x = torch.randn(16, 64, device="cuda")
    same(compiled(x)[:1], module(x)[:1], 2e-2)


def half_module() -> None:
    """A module that is float16 itself."""
    module = Network().eval().cuda().half()
    spec = Input((16, 64), dtype=torch.float16)
    compiled = stepwell.torch.compile(module, inputs=[spec])
    x = torch.randn(16, 64, device="cuda", dtype=torch.float16)
    same(compiled(x)[:1], module(x)[:1], 2e-2)


def partition() -> None:
    """torch between two engines."""
    module = Split().eval().cuda()
    compiled = stepwell.torch.compile(module, inputs=[RANGE], min_block_size=1)
    assert len(compiled.engines) == 2
    x = torch.randn(16, 64, device="cuda")
    same([compiled(x)], [module(x)], 1e-3)


def own_stream() -> None:
    """Work of the current stream before and behind the engine is in order."""
    module = Network().eval().cuda()
    compiled = stepwell.torch.compile(module, inputs=[RANGE])
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(20):
            x = torch.randn(64, 64, device="cuda")
            slow = torch.randn(4096, 4096, device="cuda")
            for _ in range(4):
                slow = slow @ slow * 1e-2
            x = x + slow[:64, :64] * 0
            ours = compiled(x)[0] + 1
            theirs = module(x)[0] + 1
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def just_in_time() -> None:
    """`torch.compile` with dynamic shapes."""
    module = Network().eval().cuda()
    compiled = torch.compile(module, backend=stepwell.torch.backend, dynamic=True)
    with torch.no_grad():
        for batch in (5, 16, 33):
            x = torch.randn(batch, 64, device="cuda")
            same(compiled(x), module(x))
    assert stepwell.torch.report(compiled).is_complete


def wrong_device() -> None:
    """Tensors of the CPU are refused."""
    compiled = stepwell.torch.compile(Network().eval().cuda(), inputs=[RANGE])
    try:
        compiled(torch.randn(4, 64))
    except stepwell.errors.InputError as error:
        assert "expected a tensor on a GPU" in str(error)
    else:
        raise AssertionError("expected an error")


CHECKS = (
    ahead_of_time,
    half_precision,
    half_module,
    partition,
    own_stream,
    just_in_time,
    wrong_device,
)


def main() -> int:
    """1 if a check fails."""
    failed = 0
    for check in CHECKS:
        torch.manual_seed(0)
        try:
            with torch.no_grad():
                check()
            print(f"pass  {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAIL  {check.__name__}")
            traceback.print_exc(limit=-6, file=sys.stdout)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
