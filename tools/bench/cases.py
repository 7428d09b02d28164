"""The models of the CPU benchmarks: where they come from, their sizes and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from numpy.typing import NDArray

from stepwell.tools.models import model_path

Feeds = dict[str, NDArray]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Size:
    """One set of input shapes, and how the tables name it."""

    label: str
    shapes: dict[str, Shape]


@dataclass(frozen=True)
class Case:
    """A model, the shape ranges of its engine, and the sizes it is measured at.

    `make` draws one input of a name and shape; `tolerance` bounds max|a-b| / max|b|.
    """

    name: str
    path: Callable[[], Path]
    sizes: tuple[Size, ...]
    shapes: Mapping[str, str] = field(default_factory=dict[str, str])
    make: Callable[[str, Shape], NDArray] | None = None
    tolerance: float = 1e-4

    def inputs(self, size: Size) -> Feeds:
        """Fresh inputs of one size, the same at every call."""
        rng = np.random.default_rng(0)
        draw = self.make or (lambda _, shape: rng.standard_normal(shape, np.float32))
        return {name: draw(name, shape) for name, shape in size.shapes.items()}


def trained(name: str) -> Callable[[], Path]:
    """The path of a trained model, fetched when it is asked for."""
    return lambda: model_path(name)


def light(name: str) -> Callable[[], Path]:
    """The path of one of the light networks in the `onnx` package."""
    data = Path(onnx.backend.test.__file__).parent / "data" / "light"
    return lambda: data / f"light_{name}.onnx"


def single(name: str, *shape: int) -> tuple[Size, ...]:
    """One size with one input."""
    return (Size("x".join(map(str, shape)), {name: shape}),)


def sizes(name: str, *shapes: Shape) -> tuple[Size, ...]:
    """Several sizes of one input."""
    return tuple(size for shape in shapes for size in single(name, *shape))


def tokens(name: str, shape: Shape) -> NDArray:
    """Token ids of a BERT vocabulary, or a mask of ones."""
    rng = np.random.default_rng(0)
    if name == "attention_mask":
        return np.ones(shape, np.int64)
    return rng.integers(1000, 20000, shape)


def encoder_sizes(*pairs: tuple[int, int]) -> tuple[Size, ...]:
    """Batch and sequence pairs of a BERT encoder."""
    names = ("input_ids", "attention_mask")
    return tuple(Size(f"{b}x{s}", dict.fromkeys(names, (b, s))) for b, s in pairs)


CASES = (
    Case("open-nsfw", trained("open_nsfw"), single("input:0", 1, 224, 224, 3)),
    Case(
        "PP-OCRv6_det",
        trained("ocr_det"),
        sizes("x", (1, 3, 320, 320), (1, 3, 224, 640), (2, 3, 160, 96)),
        {"x": "1..4x3x32..1280x32..1280:1x3x320x320"},
    ),
    Case(
        "PP-OCRv6_rec",
        trained("ocr_rec"),
        sizes("x", (1, 3, 48, 320), (1, 3, 48, 720), (4, 3, 48, 160)),
        {"x": "1..8x3x48x32..2048:1x3x48x320"},
    ),
    Case(
        "MiniLM",
        trained("minilm"),
        encoder_sizes((1, 128), (4, 32), (1, 17)),
        make=tokens,
    ),
    Case("light resnet50", light("resnet50"), single("gpu_0/data_0", 1, 3, 224, 224)),
)
