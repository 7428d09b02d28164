"""One network from three frameworks ends in one set of kernels."""

import os
import re
import warnings
from collections import Counter

import pytest
import torch
from torch import nn

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.importing import Example, import_source
from stepwell.lowering.pipelines import compile_module

from .resnets import keras_resnet, onnx_resnet, torch_resnet

SIZE = 64


def kernels_of(source, shapes=None, **example):
    """How often each kernel occurs: its text, but for what it is named after."""
    context = StepwellContext()
    register_dialects(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = import_source(source, context, shapes, Example(**example))
    compile_module(module, context, Target.parse("cpu-avx2"), stop_after="generic")
    return Counter(text_of(op) for op in module.walk() if isinstance(op, KernelOp))


def text_of(kernel):
    """A kernel's loops, accesses, arithmetic and types, under the name of its ops."""
    alone = kernel.clone()
    alone.attributes.pop("fusion.reasons", None)
    return re.sub(r'"(\w+?)__.*?"', r'"\1"', str(alone), count=1)


def name_of(text):
    """The name in a kernel's text."""
    return text.split('"')[1]


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
    names = Counter(name_of(text) for text in expected.elements())
    assert names["conv_relu"] == 1 + 2 * 16
    assert names["conv_add_relu"] == 16
    assert names["conv"] == 4
    assert sum(names.values()) == 58


def test_a_kernel_that_does_something_else_is_another_kernel():
    x = torch.randn(1, 3, 8, 8)

    def kernels(activation=nn.ReLU, size=3, **options):
        layers = nn.Conv2d(3, 4, size, **options), activation(), nn.MaxPool2d(2)
        return kernels_of(nn.Sequential(*layers).eval(), args=(x,))

    base = kernels(padding=1)
    assert base == kernels(padding=1)
    assert base != kernels(padding=1, activation=nn.ReLU6)
    assert base != kernels(padding=2, dilation=2)
    assert base != kernels(padding=2, size=5)


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
    (transpose,) = (expected - found).elements()
    assert name_of(transpose) == "transpose"
    assert f"-> tensor<1x{SIZE}x{SIZE}x3xf32>" in transpose
    assert found - expected == Counter()
