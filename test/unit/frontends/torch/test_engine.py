"""Whole models through the engine on the CPU, against PyTorch itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.export import Dim

import stepwell


def compare(
    module: Any, *cases: tuple[Any, ...], dynamic_shapes: Any = None
) -> stepwell.Engine:
    """Build for the first inputs, run at all; relative error at most 1e-5."""
    module = module.eval()
    engine = stepwell.build(module, args=cases[0], dynamic_shapes=dynamic_shapes)
    for case in cases:
        results = engine(*[x.numpy() for x in case])
        wanted = module(*case)
        results = results if isinstance(results, list | tuple) else [results]
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        for ours, theirs in zip(results, wanted, strict=True):
            reference = theirs.detach().numpy()
            assert ours.shape == reference.shape
            error = np.abs(ours - reference).max() / np.abs(reference).max()
            assert error <= 1e-5
    return engine


def kernels(engine: stepwell.Engine) -> list[str]:
    return [
        launch.name
        for step in engine.manifest.program.steps
        for launch in getattr(step, "launches", ())
    ]


def test_encoder_of_any_batch_and_length() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    open_dims = ({0: Dim("batch", max=16), 1: Dim("length", max=64)},)
    engine = compare(
        nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
        (torch.rand(2, 5, 16),),
        (torch.rand(1, 9, 16),),
        dynamic_shapes=open_dims,
    )
    assert any("attention" in name for name in kernels(engine))
    assert any("layers_0_linear1" in name for name in kernels(engine))


def test_convolutions_normalisations_and_resizing() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(inplace=True),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 4, 2, 2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.PixelShuffle(2),
    )
    compare(network, (torch.rand(2, 3, 8, 10),))


def test_scans_and_sorts_behind_reshapes() -> None:
    class Flat(nn.Module):
        def forward(self, x: Any) -> Any:
            row = torch.relu(x.flatten() + 0.3)
            return row.cumsum(0).view(3, 4) + x, row.sort()[0], x.median()

    compare(Flat(), (torch.linspace(-1, 1, 12).flip(0).reshape(3, 4),))


def test_recurrent_layers() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)

        def forward(self, x: Any) -> Any:
            y, (h, c) = self.lstm(x)
            return y, h, c

    open_dims = ({1: Dim("steps", max=64)},)
    compare(
        Recurrent(),
        (torch.rand(2, 5, 3),),
        (torch.rand(2, 7, 3),),
        dynamic_shapes=open_dims,
    )


def test_branches_and_sizes_that_data_decides() -> None:
    class Chosen(nn.Module):
        def forward(self, x: Any) -> Any:
            rows = x[x.sum(1) > 0]
            y = torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x.exp(), (x,))
            return rows + 1, y

    x = torch.linspace(-1, 2, 12).reshape(3, 4)
    compare(Chosen(), (x,), (1 - x,))


def test_outputs_may_be_inputs_weights_and_sizes() -> None:
    class Passed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(5))

        def forward(self, x: Any) -> Any:
            return x, self.weight, x.view(-1), torch.tensor(x.shape[0])

    rows = Dim("rows", max=9)
    case, other = (torch.rand(2, 3),), (torch.rand(4, 3),)
    compare(Passed(), case, other, dynamic_shapes=({0: rows},))


def test_a_buffer_is_fed_back() -> None:
    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("keys", torch.zeros(1, 4, 2))

        def forward(self, x: Any, place: Any) -> Any:
            self.keys.index_copy_(1, place, x)
            return (self.keys * x).sum(-1)

    example = (torch.rand(1, 1, 2), torch.tensor([0]))
    engine = stepwell.build(Cache(), args=example)
    model, keys = Cache(), np.zeros((1, 4, 2), np.float32)
    for step in range(3):
        x, place = torch.rand(1, 1, 2), torch.tensor([step])
        inputs = {"keys": keys, "x": x.numpy(), "place": place.numpy()}
        results = engine.run(inputs)
        keys = results["keys_next"]
        wanted = model(x, place).numpy()
        np.testing.assert_allclose(results["output"], wanted, rtol=1e-5)


def test_a_table_of_counts_is_looked_up() -> None:
    """The table lies in memory: a kernel cannot look up what it counts itself."""

    class Table(nn.Module):
        def forward(self, rows: Any, columns: Any) -> Any:
            table = torch.arange(columns.shape[0]).expand(rows.shape[0], -1)
            return table[rows[:, None], columns[None, :]] + 1

    def case(rows: int, columns: int) -> tuple[Any, Any]:
        return torch.arange(rows), torch.arange(columns)

    sizes = ({0: Dim("rows", max=8)}, {0: Dim("columns", max=64)})
    compare(Table(), case(2, 16), case(3, 40), dynamic_shapes=sizes)


def test_what_has_margins_is_looked_up_in_memory() -> None:
    class Picked(nn.Module):
        def forward(self, x: Any, rows: Any) -> Any:
            return nn.functional.pad(x, (1, 1), value=2.0)[rows], (x * 2)[:, rows]

    compare(Picked(), (torch.rand(3, 4), torch.tensor([2, 0])))


def test_windows_of_images_of_any_size() -> None:
    class Folded(nn.Module):
        def forward(self, x: Any) -> Any:
            columns = nn.functional.unfold(x, 3, padding=1, stride=2)
            pooled = nn.functional.adaptive_avg_pool2d(x, (2, 3))
            return (
                columns,
                nn.functional.fold(columns, (6, 8), 3, padding=1, stride=2),
                pooled,
            )

    compare(Folded(), (torch.rand(2, 3, 6, 8),))
