"""What data selects, diagonals, segments and counts, against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .cases import FEW, Array, Cases, Draw, Made, floats, ints, raw, shape_of

CASES = Cases()


def boxes_of(draw: Draw, count: int) -> tuple[Array, Array]:
    """Boxes whose corners are in any order, and their scores."""
    return floats(draw, [count, 4], 0.0, 1.0), floats(draw, [count], 0.0, 1.0)


@CASES.add(
    *(f"NonMaxSuppression{version}" for version in ("", "V2", "V3", "V4", "V5")),
    fixed=True,
)
def suppressed(draw: Draw) -> Made:
    boxes, scores = boxes_of(draw, draw(st.integers(1, 9)))
    most, overlap = draw(st.integers(1, 10)), draw(st.floats(0.1, 0.9))
    least, is_padded = draw(st.floats(0.0, 0.6)), draw(st.booleans())
    common = {"iou_threshold": overlap, "max_output_size": most}

    def run(boxes: Any, scores: Any) -> list[Any]:
        given = {"boxes": boxes, "scores": scores, **common}
        limited = {**given, "score_threshold": least}
        padded = {"pad_to_max_output_size": is_padded}
        return [
            raw("NonMaxSuppression")(**given),
            raw("NonMaxSuppressionV2")(**given),
            raw("NonMaxSuppressionV3")(**limited),
            *raw("NonMaxSuppressionV4")(**limited, **padded),
            *raw("NonMaxSuppressionV5")(**limited, **padded, soft_nms_sigma=0.0),
        ]

    return run, [boxes, scores]


@CASES.add("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", fixed=True)
def distinct(draw: Draw) -> Made:
    import tensorflow as tf

    x, y = ints(draw, [7], 0, 4), ints(draw, [4, 2], 0, 2)
    axis = np.array([draw(st.integers(0, 1))], np.int32)
    return lambda x, y: [
        *raw("Unique")(x=x, out_idx=tf.int64),
        *raw("UniqueWithCounts")(x=x),
        *raw("UniqueV2")(x=y, axis=axis),
        *raw("UniqueWithCountsV2")(x=y, axis=axis),
    ], [x, y]


@CASES.add("LowerBound", "UpperBound", "Bucketize")
def sorted_rows(draw: Draw) -> Made:
    import tensorflow as tf

    rows, x = np.sort(ints(draw, [2, 5]), axis=1), ints(draw, [2, 4])
    return lambda rows, x: [
        raw("LowerBound")(sorted_inputs=rows, values=x),
        raw("UpperBound")(sorted_inputs=rows, values=x, out_type=tf.int64),
        raw("Bucketize")(input=x, boundaries=[-2.0, 0.0, 3.0]),
    ], [rows, x]


@CASES.add("Bincount", "DenseBincount", fixed=True)
def counts(draw: Draw) -> Made:
    x = ints(draw, shape_of(draw, 1, 2), 0, 6)
    is_binary, is_weighted = draw(st.booleans()), draw(st.booleans())
    weights = floats(draw, x.shape if is_weighted and not is_binary else [0])
    flat = floats(draw, x.shape if is_weighted else [0])
    return lambda x: [
        raw("DenseBincount")(input=x, size=5, weights=weights, binary_output=is_binary),
        raw("Bincount")(arr=x, size=5, weights=flat),
    ], [x]


KINDS = ("Sum", "Prod", "Max", "Min")


@CASES.add(
    *(f"UnsortedSegment{kind}" for kind in KINDS),
    *(f"Segment{kind}" for kind in (*KINDS, "Mean")),
    fixed=True,
)
def segments(draw: Draw) -> Made:
    x, ids = floats(draw, [6, 3]), ints(draw, [6], -1, 4)
    if draw(st.booleans()):
        x = (x * 4).astype(np.int32)
    ordered = np.sort(ints(draw, [6], 0, 2)).astype(np.int32)
    ordered -= ordered[0]
    return lambda x, ids: [
        *(
            raw(f"UnsortedSegment{kind}")(data=x, segment_ids=ids, num_segments=4)
            for kind in KINDS
        ),
        *(
            raw(f"Segment{kind}")(data=x, segment_ids=ordered)
            for kind in (*KINDS, "Mean")
        ),
    ], [x, ids]


@CASES.add("MatrixBandPart", fixed=True)
def bands(draw: Draw) -> Made:
    x = floats(draw, [2, draw(st.integers(1, 4)), 4])
    lower = draw(st.integers(-1, x.shape[1] - 1))
    upper = draw(st.integers(-1, 2))
    return lambda x: raw("MatrixBandPart")(input=x, num_lower=lower, num_upper=upper), [
        x
    ]


VERSIONS = ("", "V2", "V3")


@CASES.add(
    *(f"MatrixDiag{version}" for version in VERSIONS),
    *(f"MatrixDiagPart{version}" for version in VERSIONS),
    *(f"MatrixSetDiag{version}" for version in VERSIONS),
    fixed=True,
)
def diagonals(draw: Draw) -> Made:
    rows, columns = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    x, k = floats(draw, [2, rows, columns]), draw(st.integers(-1, 1))
    length = min(rows + min(k, 0), columns - max(k, 0))
    entries = floats(draw, [2, length])
    main = floats(draw, [2, min(rows, columns)])
    sizes = draw(st.sampled_from([(-1, -1), (rows, columns)]))
    if draw(st.booleans()):
        x, entries = (each.astype(np.int64) for each in (x, entries))
        main = main.astype(np.int64)
    zero = np.zeros((), x.dtype)

    def run(x: Any, entries: Any, main: Any) -> list[Any]:
        found = [
            raw("MatrixDiag")(diagonal=main),
            raw("MatrixDiagPart")(input=x),
            raw("MatrixSetDiag")(input=x, diagonal=main),
        ]
        filled = {"num_rows": sizes[0], "num_cols": sizes[1], "padding_value": zero + 7}
        for version in VERSIONS[1:]:
            found += [
                raw(f"MatrixDiag{version}")(diagonal=entries, k=k, **filled),
                raw(f"MatrixDiagPart{version}")(input=x, k=k, padding_value=zero),
                raw(f"MatrixSetDiag{version}")(input=x, diagonal=entries, k=k),
            ]
        return found

    return run, [x, entries, main]


@CASES.add("LeftShift", "RightShift", fixed=True)
def shifts(draw: Draw) -> Made:
    import tensorflow as tf

    x, places = ints(draw, [3, 4], -90, 90), ints(draw, [4], 0, 9)
    kind = draw(st.sampled_from(["int32", "int64", "uint8"]))

    def run(x: Any, places: Any) -> list[Any]:
        x, places = tf.cast(x, kind), tf.cast(places % 8, kind)
        return [raw(op)(x=x, y=places) for op in ("LeftShift", "RightShift")]

    return run, [x, places]


@CASES.add("AdjustContrastv2", last=True)
def contrast(draw: Draw) -> Made:
    x = floats(draw, [2, 4, 5, 3])
    return lambda x: raw("AdjustContrastv2")(images=x, contrast_factor=1.7), [x]


@CASES.add("means of integers")
def integer_means(draw: Draw) -> Made:
    x = ints(draw, shape_of(draw, 2, 3))
    return lambda x: [raw("Mean")(input=x, axis=[axis]) for axis in (0, -1)], [x]


@CASES.add("gathers with batch dims", fixed=True)
def batched_gathers(draw: Draw) -> Made:
    x = floats(draw, [2, 3, 4, 5])
    batch = draw(st.integers(1, 2))
    axis = draw(st.integers(batch, 3))
    more = shape_of(draw, 0, 2, 3)
    indices = ints(draw, [*x.shape[:batch], *more], 0, x.shape[axis])
    return lambda x, i: raw("GatherV2")(
        params=x, indices=i, axis=axis, batch_dims=batch
    ), [x, indices]


@CASES.add("RFFT", "IRFFT", "FFT", "IFFT", "Complex", "ComplexAbs", fixed=True)
def transforms(draw: Draw) -> Made:
    x = floats(draw, [2, draw(st.integers(2, 9))])
    length = draw(st.integers(2, x.shape[1] // 2 * 2))

    def run(x: Any) -> list[Any]:
        half = raw("RFFT")(input=x, fft_length=[length])
        whole = raw("FFT")(input=raw("Complex")(real=x, imag=x * x))
        back = raw("IFFT")(input=raw("Conj")(input=whole))
        parts = [
            raw(op)(input=each) for each in (half, back) for op in ("Real", "Imag")
        ]
        real = raw("IRFFT")(input=half, fft_length=[length])
        return [*parts, real, raw("ComplexAbs")(x=whole)]

    return run, [x]


@CASES.add("Conj", "Real", "Imag")
def complex_parts(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw))

    def run(x: Any) -> list[Any]:
        turned = raw("Conj")(input=raw("Complex")(real=x, imag=1.5))
        return [raw("Real")(input=turned), raw("Imag")(input=turned)]

    return run, [x]


QUANTIZERS = ("Args", "Vars", "VarsPerChannel")


@CASES.add(*(f"FakeQuantWithMinMax{kind}" for kind in QUANTIZERS), last=True)
def fake_quantized(draw: Draw) -> Made:
    x = floats(draw, [*shape_of(draw, 1, 2), 3], -6.0, 6.0)
    low, high = draw(st.floats(-5.0, 0.0)), draw(st.floats(0.1, 5.0))
    options = {
        "num_bits": draw(st.integers(2, 12)),
        "narrow_range": draw(st.booleans()),
    }
    lows, highs = floats(draw, [3], -3.0, 0.0), floats(draw, [3], 0.5, 3.0)
    return lambda x: [
        raw("FakeQuantWithMinMaxArgs")(inputs=x, min=low, max=high, **options),
        raw("FakeQuantWithMinMaxVars")(inputs=x, min=low, max=high, **options),
        raw("FakeQuantWithMinMaxVarsPerChannel")(
            inputs=x, min=lows, max=highs, **options
        ),
    ], [x]


@CASES.add("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def requantized(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw), -6.0, 6.0)
    options = {
        "signed_input": draw(st.booleans()),
        "num_bits": draw(st.sampled_from([4, 8, 12])),
        "range_given": True,
        "narrow_range": draw(st.booleans()),
    }
    low = draw(st.floats(-5.0, 0.0)) if options["signed_input"] else 0.0
    options |= {"input_min": low, "input_max": draw(st.floats(0.1, 5.0))}
    names = ("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
    return lambda x: [raw(name)(input=x, **options) for name in names], [x]


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_op_agrees_with_tensorflow(name: str, data: Any, check: Any) -> None:
    CASES.run(name, data.draw, check)
