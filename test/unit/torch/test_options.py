import logging

import pytest
import torch

from stepwell.errors import OptionError
from stepwell.torch import Input
from stepwell.torch.inputs import prepare
from stepwell.torch.options import NO_EFFECT, REFUSED, settings_from

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("enabled", "precision"),
    [
        ({torch.float32}, "fp32"),
        ({torch.float16}, "fp16"),
        ({torch.half, torch.float}, "fp16"),
        ([torch.bfloat16], "bf16"),
        (torch.float16, "fp16"),
        ({"fp16"}, "fp16"),
        (set(), "fp32"),
    ],
)
def test_the_narrowest_enabled_float_is_the_precision(enabled, precision):
    assert settings_from({"enabled_precisions": enabled}).precision == precision


def test_on_the_cpu_float16_is_computed_as_float32_and_said_once(caplog):
    settings = settings_from({"enabled_precisions": {torch.float16}})
    with caplog.at_level(logging.INFO, logger="stepwell.torch"):
        assert settings.for_device(CPU).precision == "fp32"
        assert settings.for_device(CPU).precision == "fp32"
    assert sum("float32" in message for message in caplog.messages) <= 1
    assert settings.for_device(torch.device("cuda:0")).precision == "fp16"


@pytest.mark.parametrize("enabled", [{torch.int8}, {torch.float8_e4m3fn}, {"fp8"}])
def test_precisions_that_need_quantization_are_refused(enabled):
    with pytest.raises(OptionError, match="quantize"):
        settings_from({"enabled_precisions": enabled})


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(OptionError, match="expected a precision"):
        settings_from({"enabled_precisions": {torch.complex64}})


def test_options_without_effect_are_accepted_and_say_why(caplog):
    with caplog.at_level(logging.INFO, logger="stepwell.torch"):
        settings = settings_from(dict.fromkeys(NO_EFFECT, 1))
    assert settings == settings_from({})
    assert all(reason for reason in NO_EFFECT.values())


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_cannot_be_granted_are_refused_unless_off(name):
    allowed = next(iter(REFUSED[name][0]))
    assert settings_from({name: allowed}) == settings_from({})
    wanted = True if allowed is False else "safety"
    with pytest.raises(OptionError, match=f"expected {name}="):
        settings_from({name: wanted})


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(OptionError, match="did you mean min_block_size"):
        settings_from({"min_blok_size": 3})


def test_ops_to_leave_to_torch_have_many_spellings():
    aten = torch.ops.aten
    ops = {aten.relu.default, aten.sub, "torch.ops.aten.add", "aten::mul"}
    assert settings_from({"torch_executed_ops": ops}).torch_executed_ops == {
        "aten.relu.default",
        "aten.sub",
        "aten.add",
        "aten.mul",
    }


@pytest.mark.parametrize("name", ["aten.reluu", "relu", "nosuch.relu"])
def test_ops_that_torch_does_not_have_are_refused(name):
    with pytest.raises(OptionError, match=f"expected ops of torch .* got '{name}'"):
        settings_from({"torch_executed_ops": {name}})


def test_a_smallest_size_that_is_none_is_refused():
    with pytest.raises(OptionError, match="min_block_size of 0 or more, got 'few'"):
        settings_from({"min_block_size": "few"})


def test_a_device_is_a_target():
    assert settings_from({"device": "cuda:0"}).target == "cuda"
    assert settings_from({"device": torch.device("cpu")}).target == "cpu"
    assert settings_from({}).for_device(CPU).target == "cpu"
    with pytest.raises(OptionError, match="expected a cpu or cuda device"):
        settings_from({"device": "mps"})
    with pytest.raises(OptionError, match="expected a torch device"):
        settings_from({"device": 3.5})


def test_input_takes_one_shape_or_three():
    assert Input((2, 3)).shape == (2, 3)
    assert Input(shape=[2, 3], dtype=torch.half).dtype == torch.float16
    ranged = Input(min_shape=(1, 3), opt_shape=(4, 3), max_shape=(8, 3))
    assert ranged.is_dynamic
    assert ranged.shape == {
        "min_shape": (1, 3),
        "opt_shape": (4, 3),
        "max_shape": (8, 3),
    }
    assert Input.from_tensor(torch.ones(3, dtype=torch.int64)).dtype == torch.int64


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"min_shape": (1,), "max_shape": (2,)},
        {"shape": (1,), "min_shape": (1,), "opt_shape": (1,), "max_shape": (1,)},
        {"min_shape": (3,), "opt_shape": (2,), "max_shape": (4,)},
        {"min_shape": (1, 1), "opt_shape": (2,), "max_shape": (4,)},
        {"shape": (1,), "is_shape_tensor": True},
    ],
)
def test_inputs_that_make_no_sense_are_refused(arguments):
    with pytest.raises(OptionError, match="expected"):
        Input(**arguments)


def test_examples_have_the_dtype_and_stay_in_the_domain():
    ids = Input((50,), dtype=torch.int64, tensor_domain=(5, 9)).example_tensor()
    assert ids.dtype == torch.int64
    assert ids.min() >= 5 and ids.max() < 9
    half = Input((50,), dtype=torch.float16).example_tensor()
    assert half.dtype == torch.float16
    assert Input((2,), dtype=torch.bool).example_tensor().dtype == torch.bool


def test_a_module_is_traced_at_sizes_of_two_and_more():
    spec = Input(min_shape=(1, 1), opt_shape=(1, 1), max_shape=(8, 1))
    assert spec.tracing_example(CPU).shape == (2, 1)
    assert spec.example_tensor().shape == (1, 1)


def test_structures_of_inputs_become_structures_of_tensors():
    spec = {"a": [Input((2,)), 3], "b": (torch.ones(1),)}
    args, kwargs, shapes = prepare([spec], {"c": Input((1,))}, CPU)
    assert args[0]["a"][0].shape == (2,)
    assert args[0]["a"][1] == 3
    assert kwargs["c"].shape == (1,)
    assert len(shapes) == 0
