"""Text from a picture with PP-OCR: what stands around its two networks.

The detector maps a picture to a probability per pixel of being text; connected regions
of it become boxes (DB, "Real-time Scene Text Detection with Differentiable
Binarization", arXiv 1911.08947). The recogniser maps a line of height 48 to character
probabilities per column, decoded greedily (CTC). The networks are plain callables, so
that the same code runs them under any runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]

TEXT_THRESHOLD = 0.3  # a pixel is text; rapidocr's default
BOX_THRESHOLD = 0.5  # mean probability of a region that is kept
UNCLIP_RATIO = 1.6  # how far DB's shrunken regions are grown again
LINE_HEIGHT = 48  # the recogniser's fixed input height, in pixels


@dataclass(frozen=True)
class Box:
    """A text region in pixels of the picture; bottom and right are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


def draw_text(lines: Sequence[str], size: int = 28) -> Image.Image:
    """A picture of `lines`, dark on light, one below the other."""
    font = ImageFont.load_default(size)
    width = 40 + int(max(font.getlength(line) for line in lines))
    picture = Image.new("RGB", (width, 40 + 2 * size * len(lines)), (250, 248, 240))
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        pen.text((20, 20 + 2 * size * row), line, (30, 30, 60), font)
    return picture


def normalise(picture: Image.Image) -> NDArray[np.float32]:
    """Pixels `[1, 3, H, W]` in BGR order, from [0, 255] to [-1, 1]."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)[:, :, ::-1]
    return np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[None])


def detector_input(picture: Image.Image) -> NDArray[np.float32]:
    """The picture with both sides rounded to multiples of 32, `[1, 3, H, W]`."""
    width, height = (max(32, round(side / 32) * 32) for side in picture.size)
    return normalise(picture.resize((width, height), Image.Resampling.BILINEAR))


def line_input(picture: Image.Image, box: Box) -> NDArray[np.float32]:
    """One line scaled to the recogniser's height, `[1, 3, 48, W]`."""
    line = picture.crop((box.left, box.top, box.right, box.bottom))
    width = max(LINE_HEIGHT, round(line.width * LINE_HEIGHT / line.height))
    return normalise(line.resize((width, LINE_HEIGHT), Image.Resampling.BILINEAR))


def _grown(region: tuple[slice, slice], shape: tuple[int, int]) -> Box:
    """DB's unclip: every side moves out by area * ratio / perimeter."""
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    margin = round(height * width * UNCLIP_RATIO / (2 * (height + width)))
    return Box(
        max(0, rows.start - margin),
        max(0, columns.start - margin),
        min(shape[0], rows.stop + margin),
        min(shape[1], columns.stop + margin),
    )


def find_boxes(probability: NDArray[np.float32], size: tuple[int, int]) -> list[Box]:
    """Boxes of a text mask `[1, 1, H, W]`, in a picture of `size` (width, height)."""
    mask = probability[0, 0]
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask > TEXT_THRESHOLD, output=labels)
    x_scale, y_scale = size[0] / mask.shape[1], size[1] / mask.shape[0]
    boxes: list[Box] = []
    for label, region in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[region] == label
        tall_enough = min(inside.shape) >= 3
        if tall_enough and mask[region][inside].mean() >= BOX_THRESHOLD:
            box = _grown(region, (mask.shape[0], mask.shape[1]))
            boxes.append(
                Box(
                    int(box.top * y_scale),
                    int(box.left * x_scale),
                    int(box.bottom * y_scale),
                    int(box.right * x_scale),
                )
            )
    return sorted(boxes, key=lambda box: (box.top, box.left))


def decode_line(scores: NDArray[np.float32], characters: Sequence[str]) -> str:
    """Greedy CTC of `[1, T, classes]`: class 0 is blank, the last one a space."""
    best = scores[0].argmax(axis=1)
    starts = np.append(True, best[1:] != best[:-1]) & (best != 0)
    alphabet = ["", *characters, " "]
    return "".join(alphabet[index] for index in best[starts])


def read_text(
    picture: Image.Image,
    detect: Network,
    recognise: Network,
    characters: Sequence[str],
) -> list[str]:
    """The lines of text in a picture, top to bottom."""
    boxes = find_boxes(detect(detector_input(picture)), picture.size)
    return [
        decode_line(recognise(line_input(picture, box)), characters) for box in boxes
    ]
