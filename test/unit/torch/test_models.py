"""Small models of every kind, all sizes in one engine, against torch itself."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import stepwell.torch
from stepwell.tools.bench import torchvision_ops
from stepwell.torch import Input

torchvision_ops.register()  # before transformers, which needs it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )
    from transformers.cache_utils import DynamicCache

pytestmark = pytest.mark.filterwarnings("ignore")
VOCABULARY = 50
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def ids(*shape):
    """Token ids."""
    return torch.randint(1, VOCABULARY, shape)


def ranged(*dims, dtype=torch.float32):
    """An input of fixed dims and of ranges `(min, opt, max)`."""
    spans = [dim if isinstance(dim, tuple) else (dim,) * 3 for dim in dims]
    low, opt, high = zip(*spans, strict=True)
    return Input(min_shape=low, opt_shape=opt, max_shape=high, dtype=dtype)


BATCH, LENGTH = (1, 2, 6), (2, 7, 20)
TOKENS = ranged(BATCH, LENGTH, dtype=torch.int64)


def check(module, specs, runs):
    """One engine holds all of the module, and is right at every size."""
    module = module.eval()
    compiled = stepwell.torch.compile(
        module, inputs=specs, require_full_compilation=True
    )
    assert len(compiled.engines) == 1
    for inputs in runs:
        with torch.no_grad():
            expected = module(*inputs)
        ours = compiled(*inputs)
        for a, b in zip(tree_leaves(ours), tree_leaves(expected), strict=True):
            assert a.shape == b.shape
            assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    return compiled


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.bert = BertModel(BertConfig(**SMALL))

    def forward(self, tokens, mask):
        output = self.bert(tokens, mask)
        return output.last_hidden_state, output.pooler_output


def test_an_encoder_with_a_mask():
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[-1, 5:] = 0
    runs = [(ids(3, 9), mask), (ids(1, 4), torch.ones(1, 4, dtype=torch.int64))]
    check(Bert(), [TOKENS, TOKENS], runs)


class DecodeStep(nn.Module):
    """Keys and values of each layer come in, and go out one longer."""

    def __init__(self, **config):
        super().__init__()
        config = LlamaConfig(**{**SMALL, "num_key_value_heads": 2, **config})
        self.model = LlamaForCausalLM(config)

    def forward(self, tokens, mask, cache):
        output = self.model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=DynamicCache(cache),
            use_cache=True,
        )
        layers = output.past_key_values.layers
        return output.logits, [(each.keys, each.values) for each in layers]


def step_inputs(batch, length, layers=2):
    """A token, the mask, and keys and values of `length` tokens before it."""
    cache = [tuple(torch.randn(2, batch, 2, length, 8)) for _ in range(layers)]
    mask = torch.ones(batch, length + 1, dtype=torch.int64)
    return ids(batch, 1), mask, cache


def test_a_decode_step_with_a_cache_of_any_length():
    past = ranged(BATCH, 2, LENGTH, 8)
    specs = [
        ranged(BATCH, 1, dtype=torch.int64),
        ranged(BATCH, (3, 8, 21), dtype=torch.int64),
        [(past, past), (past, past)],
    ]
    step = DecodeStep()
    compiled = check(step, specs, [step_inputs(2, 7), step_inputs(1, 2)])
    text, length = ids(3, 9), 4
    with torch.no_grad():
        cache = step.model(text[:, :length], use_cache=True).past_key_values.layers
        cache = [(layer.keys, layer.values) for layer in cache]
        whole = step.model(text).logits
    for place in range(length, 9):
        mask = torch.ones(3, place + 1, dtype=torch.int64)
        logits, cache = compiled(text[:, place : place + 1], mask, cache)
        torch.testing.assert_close(logits[:, 0], whole[:, place], rtol=1e-4, atol=1e-5)


def test_a_decode_step_with_a_cache_of_one_length():
    inputs = step_inputs(2, 7, layers=1)
    check(DecodeStep(num_hidden_layers=1), list(inputs), [inputs])


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
        config = T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes)
        self.model = T5ForConditionalGeneration(config)

    def forward(self, source, target):
        output = self.model(input_ids=source, decoder_input_ids=target, use_cache=False)
        return output.logits


def test_an_encoder_and_a_decoder():
    runs = [(ids(2, 9), ids(2, 4)), (ids(1, 5), ids(1, 6))]
    check(Translator(), [TOKENS, TOKENS], runs)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(16, 5, batch_first=True)

    def forward(self, x):
        hidden, (_, cell) = self.lstm(x)
        output, last = self.gru(hidden)
        return output, cell, last


def test_recurrent_layers():
    runs = [(torch.randn(2, 7, 6),), (torch.randn(1, 3, 6),)]
    check(Recurrent(), [ranged(BATCH, LENGTH, 6)], runs)


class Mobile(nn.Module):
    """Depthwise convolutions, squeeze and excitation, an upsampled head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 5, padding=2, groups=16), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid()
        )
        self.head = nn.ConvTranspose2d(16, 4, 2, 2)

    def forward(self, x):
        y = self.stem(x)
        z = self.deep(y)
        z = z * self.gate(z) + y
        z = nn.functional.interpolate(z, scale_factor=2.0, mode="bilinear")
        return self.head(z)


def test_a_convolutional_network():
    runs = [(torch.randn(2, 3, 16, 16),), (torch.randn(1, 3, 16, 16),)]
    check(Mobile(), [ranged(BATCH, 3, 16, 16)], runs)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return torch.cond(
            x.sum() > 0,
            lambda x: self.left(x).relu(),
            lambda x: self.right(x).tanh(),
            (x,),
        )


def test_a_branch_on_the_data():
    x = torch.rand(3, 8) + 0.1
    check(Branches(), [ranged(BATCH, 8)], [(x,), (-x,)])
