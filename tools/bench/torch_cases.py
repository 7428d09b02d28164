"""The PyTorch models of the benchmarks: 30 graphs with random weights, but for MiniLM.

Transformers are cut to two layers, and images are small: what is measured is that every
op comes through, and how long that takes. Needs transformers, torchvision and timm;
`torchvision_ops.register` must have been called before this is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    ConvNextConfig,
    ConvNextForImageClassification,
    DetrConfig,
    DetrForObjectDetection,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
    SwinForImageClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from transformers.cache_utils import DynamicCache

from stepwell.tools.bench.torch_minilm import encoder

Axes = Sequence[Mapping[int, str]]


class Only(nn.Module):
    """A Hugging Face model called with tensors by position, giving tensors.

    Args:
        model: the model.
        names: the keyword of each argument.
        fields: what it gives, of the model's output.
        fixed: further keywords.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        fields: Sequence[str] = ("logits",),
        **fixed: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.names, self.fields, self.fixed = tuple(names), tuple(fields), fixed

    def forward(self, *args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The chosen fields of the output."""
        output = self.model(**dict(zip(self.names, args, strict=True)), **self.fixed)
        return tuple(getattr(output, field) for field in self.fields)


@dataclass(frozen=True)
class Case:
    """A model and its inputs.

    Attributes:
        make: builds it, with random weights.
        inputs: example inputs of a batch and a length (which images ignore).
        axes: for each input, the names of its dims that may change.
        sizes: batch and length: of the export, and others to run at.
        tolerance: of max|a - b| / max|b|.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int, int], tuple[torch.Tensor, ...]]
    axes: Axes = ({0: "batch"},)
    sizes: tuple[tuple[int, int], ...] = ((2, 16), (1, 16), (3, 16))
    tolerance: float = 1e-4


TEXT = ((2, 16), (1, 24), (3, 7))
TOKENS: Axes = ({0: "batch", 1: "seq"},)
PAIR: Axes = ({0: "batch", 1: "seq"}, {0: "batch", 1: "seq"})


def tokens(batch: int, length: int, vocabulary: int = 1000) -> torch.Tensor:
    """Token ids."""
    return torch.randint(1, vocabulary, (batch, length))


def text(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """Token ids alone."""
    return (tokens(batch, length),)


def masked(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """Token ids, and a mask that hides the last third of the last text."""
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, length - length // 3 :] = 0
    return tokens(batch, length), mask


def image(size: int) -> Callable[[int, int], tuple[torch.Tensor, ...]]:
    """Square images."""
    return lambda batch, _: (torch.randn(batch, 3, size, size),)


def bert(layers: int = 2, vocabulary: int = 1000) -> nn.Module:
    """BERT-base, cut to a few layers."""
    config = BertConfig(num_hidden_layers=layers, vocab_size=vocabulary)
    names = ("input_ids", "attention_mask")
    return Only(BertModel(config), names, ("last_hidden_state", "pooler_output"))


def gpt2() -> nn.Module:
    """GPT-2, 2 layers."""
    config = GPT2Config(n_layer=2, vocab_size=1000)
    return Only(GPT2LMHeadModel(config), ("input_ids",), use_cache=False)


def llama_config() -> LlamaConfig:
    """Llama with grouped queries: 8 heads on 2 of keys and values."""
    return LlamaConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=1000,
        max_position_embeddings=512,
    )


def llama() -> nn.Module:
    """Llama, 2 layers."""
    model = LlamaForCausalLM(llama_config())
    return Only(model, ("input_ids",), use_cache=False)


class LlamaStep(nn.Module):
    """One step of decoding: keys and values come in, and go out one longer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = LlamaForCausalLM(llama_config())

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Logits `[batch, 1, vocabulary]`, then keys and values of each layer."""
        pairs = list(zip(past[::2], past[1::2], strict=True))
        cache = DynamicCache(pairs)
        output = self.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        layers = output.past_key_values.layers
        return (
            output.logits,
            *(x for layer in layers for x in (layer.keys, layer.values)),
        )


def step_inputs(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """One token behind `length` others."""
    past = [torch.randn(batch, 2, length, 32) for _ in range(4)]
    mask = torch.ones(batch, length + 1, dtype=torch.int64)
    return tokens(batch, 1), mask, *past


def qwen3_moe() -> nn.Module:
    """Qwen3 with 8 experts of which a token uses 2; 2 layers."""
    config = Qwen3MoeConfig(
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # pyright: ignore[reportCallIssue]
        num_experts=8,
        num_experts_per_tok=2,
        vocab_size=1000,
        experts_implementation="batched_mm",  # pyright: ignore[reportCallIssue]
    )
    return Only(Qwen3MoeForCausalLM(config), ("input_ids",), use_cache=False)


def vit() -> nn.Module:
    """ViT-base, 2 layers, 64x64."""
    config = ViTConfig(num_hidden_layers=2, image_size=64)
    return Only(ViTForImageClassification(config), ("pixel_values",))


def convnext() -> nn.Module:
    """ConvNeXt-tiny."""
    return Only(ConvNextForImageClassification(ConvNextConfig()), ("pixel_values",))


def swin() -> nn.Module:
    """Swin-tiny."""
    config = SwinConfig()
    return Only(SwinForImageClassification(config), ("pixel_values",))


def resnet50() -> nn.Module:
    """ResNet-50, its residual branches scaled to a quarter.

    With branches as large as what they are added to, each block of a random network
    multiplies rounding errors: torch in float32 is then 1.2e-4 from torch in float64.
    Training starts from small branches for the same reason.
    """
    model = ResNetForImageClassification(ResNetConfig())
    for name, part in model.named_modules():
        if name.endswith("layer.2.normalization"):
            nn.init.constant_(part.get_parameter("weight"), 0.25)
    return Only(model, ("pixel_values",))


def whisper() -> nn.Module:
    """Whisper-tiny, encoder and decoder."""
    config = WhisperConfig(
        d_model=384,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        max_source_positions=100,
        vocab_size=1000,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    names = ("input_features", "decoder_input_ids")
    return Only(WhisperForConditionalGeneration(config), names, use_cache=False)


def speech(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """Mel features of a fixed length, and the ids so far."""
    return torch.randn(batch, 80, 200), tokens(batch, length)


def t5() -> nn.Module:
    """T5-small, 2 layers."""
    config = T5Config(
        num_layers=2,
        vocab_size=1000,
        decoder_start_token_id=0,  # pyright: ignore[reportCallIssue]
        pad_token_id=0,
    )
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    return Only(T5ForConditionalGeneration(config), names, use_cache=False)


def translation(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """Masked source ids and target ids."""
    return *masked(batch, length), tokens(batch, length + 3)


def mamba() -> nn.Module:
    """Mamba, 2 layers: a scan over the sequence, unrolled by the exporter."""
    config = MambaConfig(
        hidden_size=64, num_hidden_layers=2, vocab_size=1000, state_size=8
    )
    return Only(MambaForCausalLM(config), ("input_ids",), use_cache=False)


def clip() -> nn.Module:
    """CLIP, 2 layers of text and of vision."""
    config = CLIPConfig(
        text_config=CLIPTextConfig(num_hidden_layers=2, vocab_size=1000).to_dict(),
        vision_config=CLIPVisionConfig(num_hidden_layers=2, image_size=64).to_dict(),
    )
    names = ("input_ids", "pixel_values", "attention_mask")
    fields = ("logits_per_image", "text_embeds", "image_embeds")
    return Only(CLIPModel(config), names, fields)


def captions(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """Texts and as many images."""
    ids, mask = masked(batch, length)
    return ids, torch.randn(batch, 3, 64, 64), mask


def detr() -> nn.Module:
    """DETR on a ResNet-50, 2 layers each way."""
    backbone = ResNetConfig(out_features=["stage4"])  # pyright: ignore[reportCallIssue]
    config = DetrConfig(
        use_timm_backbone=False,  # pyright: ignore[reportCallIssue]
        use_pretrained_backbone=False,  # pyright: ignore[reportCallIssue]
        backbone=None,  # pyright: ignore[reportCallIssue]
        backbone_config=backbone,
        encoder_layers=2,
        decoder_layers=2,
        num_queries=20,
    )
    fields = ("logits", "pred_boxes")
    return Only(DetrForObjectDetection(config), ("pixel_values",), fields)


def segformer() -> nn.Module:
    """SegFormer-B0."""
    model = SegformerForSemanticSegmentation(SegformerConfig())
    return Only(model, ("pixel_values",))


def wav2vec2() -> nn.Module:
    """wav2vec2, 2 layers."""
    model = Wav2Vec2Model(Wav2Vec2Config(num_hidden_layers=2))
    return Only(model, ("input_values",), ("last_hidden_state",))


def mobilenet_v2() -> nn.Module:
    """MobileNetV2."""
    model = MobileNetV2ForImageClassification(MobileNetV2Config())
    return Only(model, ("pixel_values",))


class Recurrent(nn.Module):
    """A bidirectional two-layer LSTM, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 32, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(64, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Scores of each step, and the last states."""
        hidden, (_, cell) = self.lstm(x)
        output, last = self.gru(hidden)
        return self.head(output), cell, last


class Branches(nn.Module):
    """A `torch.cond` on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One of two layers, by the sign of the sum."""
        return torch.cond(
            x.sum() > 0,
            lambda x: self.left(x).relu(),
            lambda x: self.right(x).tanh(),
            (x,),
        )


def minilm() -> nn.Module:
    """all-MiniLM-L6-v2 with its trained weights."""
    names = ("input_ids", "attention_mask")
    return Only(encoder().bert, names, ("last_hidden_state",))


def timm_model(name: str) -> Callable[[], nn.Module]:
    """A model of timm."""

    def make() -> nn.Module:
        timm = import_module("timm")  # not a dependency
        return timm.create_model(name, num_classes=100)

    return make


def vision_model(name: str, **config: Any) -> Callable[[], nn.Module]:
    """A model of torchvision."""

    def make() -> nn.Module:
        torchvision = import_module("torchvision")  # not a dependency
        found = {"weights": None, "num_classes": 100, **config}
        models = torchvision.models
        maker = getattr(models, name, None) or getattr(models.segmentation, name)
        model = maker(**found)
        return Dense(model) if name.startswith("deeplab") else model

    return make


class Dense(nn.Module):
    """A segmentation model of torchvision, giving one tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of each pixel."""
        return self.model(x)["out"]


def features(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    """A sequence of vectors."""
    return (torch.randn(batch, length, 24),)


KV_AXES: Axes = (
    {0: "batch"},
    {0: "batch", 1: "total"},
    *[{0: "batch", 2: "past"}] * 4,
)

CASES: tuple[Case, ...] = (
    Case("bert-base", bert, masked, PAIR, TEXT),
    Case("gpt2", gpt2, text, TOKENS, TEXT),
    Case("llama", llama, text, TOKENS, TEXT),
    Case("llama-step", LlamaStep, step_inputs, KV_AXES, TEXT),
    Case("qwen3-moe", qwen3_moe, text, TOKENS, TEXT),
    Case("vit-base", vit, image(64)),
    Case("convnext-tiny", convnext, image(64)),
    Case("swin-tiny", swin, image(224)),
    Case("resnet50", resnet50, image(64)),
    Case("whisper-tiny", whisper, speech, ({0: "batch"}, {0: "batch", 1: "seq"}), TEXT),
    Case("t5-small", t5, translation, (*PAIR, {0: "batch", 1: "target"}), TEXT),
    Case("mamba", mamba, text, ({0: "batch"},)),
    Case("clip", clip, captions, ({0: "texts"}, {0: "images"}, {0: "texts"})),
    Case("detr", detr, image(96)),
    Case("segformer-b0", segformer, image(64)),
    Case("wav2vec2", wav2vec2, lambda batch, _: (torch.randn(batch, 4000),)),
    Case("mobilenet_v2", mobilenet_v2, image(64)),
    Case("lstm-gru", Recurrent, features, TOKENS, TEXT),
    Case("cond", Branches, lambda batch, _: (torch.randn(batch, 16),)),
    Case("minilm", minilm, masked, PAIR, TEXT),
    Case("timm-efficientnet_b0", timm_model("efficientnet_b0"), image(64)),
    Case("timm-mobilenetv3", timm_model("mobilenetv3_large_100"), image(64)),
    Case("timm-vit_tiny", timm_model("vit_tiny_patch16_224"), image(224)),
    Case("timm-regnety_004", timm_model("regnety_004"), image(64)),
    Case("tv-densenet121", vision_model("densenet121"), image(64)),
    Case("tv-shufflenet_v2", vision_model("shufflenet_v2_x1_0"), image(64)),
    Case(
        "tv-googlenet",
        vision_model("googlenet", aux_logits=False, init_weights=False),
        image(64),
    ),
    Case(
        "tv-deeplabv3",
        vision_model("deeplabv3_mobilenet_v3_large", weights_backbone=None),
        image(64),
    ),
    Case("tv-swin_v2_t", vision_model("swin_v2_t"), image(64)),
    Case("tv-maxvit_t", vision_model("maxvit_t"), image(224)),
)
