"""Whole models for GPUs on the emulated device, against the engine of the CPU."""

import numpy as np
import pytest
from onnx import numpy_helper, parser

import stepwell
from stepwell.runtime import load_bytes
from stepwell.runtime.devices.emulated_gpu import EmulatedGpu

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'

CNN = """
net (float[n, 3, 16, 16] x, float[8, 3, 3, 3] w1, float[8] s, float[8] b, float[8] m,
     float[8] v, float[8, 1, 3, 3] w2, float[16, 8, 1, 1] w3, float[16, 16, 3, 3] w4,
     float[16] b4, float[16, 10] w5, float[10] b5) => (float[n, 10] y) {
    c1 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1)
    n1 = BatchNormalization (c1, s, b, m, v)
    r1 = Relu (n1)
    c2 = Conv <pads = [1, 1, 1, 1], group = 8> (r1, w2)
    h2 = HardSwish (c2)
    c3 = Conv (h2, w3)
    c4 = Conv <pads = [1, 1, 1, 1]> (c3, w4, b4)
    a4 = Add (c4, c3)
    p4 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a4)
    g = GlobalAveragePool (p4)
    f = Flatten (g)
    l = Gemm (f, w5, b5)
    y = Softmax <axis = -1> (l)
}
"""

TRANSFORMER = """
net (int64[n, t] ids, float[50, 32] table, float[32] s1, float[32] b1,
     float[32, 96] wqkv, float[96] bqkv, float[32, 32] wo, float[32] s2, float[32] b2,
     float[32, 64] wu, float[64] bu, float[64, 32] wd) => (float[n, t, 32] y) {
    e = Gather (table, ids)
    h1 = LayerNormalization <axis = -1> (e, s1, b1)
    m = MatMul (h1, wqkv)
    qkv = Add (m, bqkv)
    q0, k0, v0 = Split <axis = -1, num_outputs = 3> (qkv)
    heads = Constant <value_ints = [0, 0, 2, 16]> ()
    q1 = Reshape (q0, heads)
    k1 = Reshape (k0, heads)
    v1 = Reshape (v0, heads)
    q = Transpose <perm = [0, 2, 1, 3]> (q1)
    k = Transpose <perm = [0, 2, 3, 1]> (k1)
    v = Transpose <perm = [0, 2, 1, 3]> (v1)
    scores = MatMul (q, k)
    scale = Constant <value_float = 0.25> ()
    scaled = Mul (scores, scale)
    p = Softmax <axis = -1> (scaled)
    o1 = MatMul (p, v)
    o2 = Transpose <perm = [0, 2, 1, 3]> (o1)
    flat = Constant <value_ints = [0, 0, 32]> ()
    o3 = Reshape (o2, flat)
    o4 = MatMul (o3, wo)
    r1 = Add (o4, e)
    h2 = LayerNormalization <axis = -1> (r1, s2, b2)
    u1 = MatMul (h2, wu)
    u2 = Add (u1, bu)
    u3 = Tanh (u2)
    d = MatMul (u3, wd)
    y = Add (d, r1)
}
"""


def model_of(text, seed=0):
    """A model whose inputs but the first are random constants."""
    model = parser.parse_model(HEAD + text)
    rng = np.random.default_rng(seed)
    for value in list(model.graph.input)[1:]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        fan_in = max(1, int(np.prod(shape)) // shape[-1 if len(shape) == 2 else 0])
        array = (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        if value.name == "v":  # a variance
            array = np.abs(array) + 1
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return model


def inputs_of(name, rng):
    if name == "cnn":
        return {"x": rng.standard_normal((2, 3, 16, 16)).astype(np.float32)}
    return {"ids": rng.integers(0, 50, (2, 9))}


@pytest.fixture(scope="module", params=["cnn", "transformer"])
def model(request):
    return request.param, model_of(CNN if request.param == "cnn" else TRANSFORMER)


def error(ours, theirs):
    found = np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max()
    return found if np.isfinite(found) else np.inf


@pytest.mark.parametrize(
    ("target", "precision", "tolerance"),
    [
        ("sm_80", "fp32", 1e-5),
        ("sm_90a", "fp16", 2e-2),
        ("sm_86", "bf16", 4e-2),
    ],
)
def test_models_equal_the_cpu(model, target, precision, tolerance):
    name, onnx_model = model
    feeds = inputs_of(name, np.random.default_rng(1))
    built = stepwell.build(onnx_model, target=target, precision=precision)
    assert built.inspect().host_calls == {}
    for kernel in built.manifest.kernels:
        assert 32 <= kernel.threads <= 1024
    engine = load_bytes(built.to_bytes(), device=EmulatedGpu(check=True))
    wanted = stepwell.build(onnx_model).run(feeds)["y"]
    assert error(engine.run(feeds)["y"], wanted) <= tolerance
