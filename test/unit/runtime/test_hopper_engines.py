"""Networks whose products go through TMA and wgmma, as whole engines on the emulated
GPU; and the tool of test/gpu that finds a kernel that is wrong."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

import stepwell
from stepwell.runtime import Engine, engine_file, load_bytes
from stepwell.runtime.devices.emulated_gpu import EmulatedGpu

sys.path.append(str(Path(__file__).parents[2] / "gpu"))
from kernel_by_kernel import compare_kernels

# Bottlenecks of ResNet without their 3x3 convolutions: rows of 49, sums with what other
# kernels left, results that take the memory of others.
NETWORK = """<ir_version: 8, opset_import: ["" : 18]>
g (float[1, 256, 7, 7] x, float[128, 256, 1, 1] a, float[128] b,
   float[256, 128, 1, 1] up, float[256] c, float[128, 256, 1, 1] v)
   => (float[1, 256, 7, 7] y) {
    h1 = Conv (x, a, b)
    h2 = Relu (h1)
    h3 = Conv (h2, up, c)
    h4 = Add (h3, x)
    h5 = Relu (h4)
    h6 = Conv (h5, v, b)
    h7 = Relu (h6)
    h8 = Conv (h7, up, c)
    y = Add (h8, h5)
}
"""


@pytest.fixture(scope="module")
def network():
    model, rng = parser.parse_model(NETWORK), np.random.default_rng(0)
    for value in list(model.graph.input)[1:]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = rng.standard_normal(shape).astype(np.float32) / 12
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return model


@pytest.fixture(scope="module")
def hopper(network):
    """The engine's file, built as it is by default."""
    return stepwell.build(network, target="sm_90a", precision="fp16").to_bytes()


@pytest.fixture(scope="module")
def plain(network):
    """For the same GPU, without wgmma."""
    return stepwell.build(network, target="sm_90", precision="fp16").to_bytes()


def picture():
    return np.random.default_rng(1).standard_normal((1, 256, 7, 7)).astype(np.float32)


def test_products_of_a_network_are_specialised_and_right(network, hopper):
    engine = load_bytes(hopper, device=EmulatedGpu(check=True, seed=0))
    mapped = [one for one in engine.manifest.kernels if one.maps]
    assert len(mapped) >= 3
    ptx = engine_file.from_bytes(hopper).code["kernels/sm_90a.ptx"]
    assert b"wgmma.mma_async" in bytes(ptx)
    wanted = stepwell.build(network)
    theirs = wanted(picture())
    assert np.abs(engine(picture()) - theirs).max() < 5e-3 * np.abs(theirs).max()


def test_kernel_by_kernel_two_right_engines_agree(hopper, plain):
    gpu = EmulatedGpu()
    engine, judge = (load_bytes(data, device=gpu) for data in (hopper, plain))
    found = compare_kernels(engine, judge, {"x": picture()})
    assert len(found) == engine.kernel_count
    assert sum(one.maps > 0 for one in found) >= 3
    assert all(one.error < 5e-3 and one.repeats for one in found)


def test_kernel_by_kernel_names_the_one_that_is_wrong(hopper, plain):
    """A kernel in which one product by wgmma is subtracted."""
    contents = engine_file.from_bytes(hopper)
    code = dict(contents.code)
    text = code["kernels/sm_90a.ptx"].decode()
    begin = text.index("wgmma.mma_async")
    entry = text.rindex(".entry", 0, begin)
    name = text[entry:].split("(")[0].split()[1]
    scale = text.index(", 1, 1, 0, ", begin)  # scales of both factors: 1 is plus
    code["kernels/sm_90a.ptx"] = (
        text[:scale] + ", -1, 1, 0, " + text[scale + len(", 1, 1, 0, ") :]
    ).encode()
    gpu = EmulatedGpu()
    engine = Engine(dataclasses.replace(contents, code=code), device=gpu)
    judge = load_bytes(plain, device=gpu)
    found = compare_kernels(engine, judge, {"x": picture()})
    assert {one.kernel for one in found if one.error > 1e-2} == {name}


def test_kernel_by_kernel_wants_two_engines_of_one_model(hopper, build_gpu):
    gpu = EmulatedGpu()
    engine, judge = load_bytes(hopper, device=gpu), Engine(build_gpu(), device=gpu)
    with pytest.raises(ValueError, match=r"expected '[^']+' in both engines"):
        compare_kernels(engine, judge, {"x": picture()})


def test_a_factor_that_the_epilogue_reads_keeps_the_ordinary_schedule():
    """TMA brings a factor in the product's tiles, in which nothing else can read it."""
    schedules = {}
    for name, addend in (("own", "x"), ("other", "z")):
        model = parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 18]>\n'
            "g (float16[64, 128] x, float16[128, 128] w, float16[64, 128] z) "
            f"=> (float16[64, 128] y) {{ h = MatMul(x, w)\n y = Add(h, {addend}) }}"
        )
        engine = stepwell.build(model, target="sm_90a", precision="fp16")
        (segment,) = engine.manifest.program.steps
        schedules[name] = segment.launches[-1].schedule
    assert "wgmma" in schedules["other"] and "wgmma" not in schedules["own"]
