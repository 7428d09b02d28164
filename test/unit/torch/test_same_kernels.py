"""One network from three frameworks ends in one set of kernels."""

import os
import warnings
from collections import Counter

import pytest
import torch

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.shapes import dims_of
from stepwell.dialects.target import Target
from stepwell.importing import Example, import_source
from stepwell.lowering.fusion.forms import form_of
from stepwell.lowering.pipelines import compile_module

from .resnets import keras_resnet, onnx_resnet, torch_resnet

SIZE = 64


def kernels_of(source, shapes=None, **example):
    """How often each kernel occurs: the ops in it, its form, its result's shape."""
    context = StepwellContext()
    register_dialects(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = import_source(source, context, shapes, Example(**example))
    compile_module(module, context, Target.parse("cpu-avx2"), stop_after="generic")
    kernels = [op for op in module.walk() if isinstance(op, KernelOp)]
    return Counter(
        (
            kernel.kernel_name.data.partition("__")[0],
            str(form_of(kernel)),
            dims_of(kernel.results[0]),
        )
        for kernel in kernels
    )


@pytest.fixture(scope="module")
def images():
    return torch.randn(1, 3, SIZE, SIZE)


@pytest.fixture(scope="module")
def network():
    return torch_resnet()


@pytest.fixture(scope="module")
def expected(network, images):
    return kernels_of(network, args=(images,))


def test_a_convolution_is_one_kernel_with_all_around_it(expected):
    names = Counter(
        name for (name, *_), count in expected.items() for _ in range(count)
    )
    assert names["conv_relu"] == 1 + 2 * 16
    assert names["conv_add_relu"] == 16
    assert names["conv"] == 4
    assert sum(names.values()) == 58


def test_torch_and_its_onnx_export_make_the_same_kernels(network, images, expected):
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proto = onnx_resnet(network, images)
    assert kernels_of(proto) == expected


def test_keras_makes_the_same_kernels_but_for_the_layout_of_images(expected):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("keras")
        model = keras_resnet(SIZE)
        name = model.input.name
        found = kernels_of(model, {name: [1, SIZE, SIZE, 3]})
    transpose = Counter({("transpose", "map", (1, SIZE, SIZE, 3)): 1})
    assert expected - found == transpose
    assert found - expected == Counter()
