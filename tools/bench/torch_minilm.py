"""all-MiniLM-L6-v2 through the front door, judged by people: WordSim-353.

Usage: python tools/bench/torch_minilm.py [--json] [--write]

Embeds the words of the collection with torch and with the compiled module, and prints
Spearman's correlation of their cosines with the people's scores. Returns 1 if the two
differ by more than 0.001. `--write` puts them into docs/benchmarks/torch.md. Needs
transformers and scipy.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch import nn

import stepwell.torch
from stepwell.tools.bench import torchvision_ops
from stepwell.tools.bench.model_table import PAGES, write_section
from stepwell.tools.models import model_path

BATCH = 32
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Score:
    """Spearman's correlation with people, by torch and by engines."""

    pairs: int
    theirs: float
    ours: float
    largest_error: float

    @property
    def is_right(self) -> bool:
        """Whether both judge alike."""
        return abs(self.ours - self.theirs) <= TOLERANCE


class Encoder(nn.Module):
    """Ids and mask `[batch, seq]` to unit vectors `[batch, 384]`: the mean of the last
    hidden states of a text's tokens."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings."""
        hidden = self.bert(ids, mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        total = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(total, dim=-1)


def encoder() -> Encoder:
    """The model with its trained weights.

    Raises:
        RuntimeError: the weights are not those of the model.
    """
    torchvision_ops.register()
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(model_path("minilm_config.json"))
    model = AutoModel.from_config(config)
    weights = load_file(model_path("minilm.safetensors"))
    weights = {name: weights[name] for name in model.state_dict() if name in weights}
    model.load_state_dict(weights, strict=True)
    return Encoder(model.eval()).eval()


def word_pairs() -> list[tuple[str, str, float]]:
    """The pairs of words, each with the mean of the people's scores."""
    lines = model_path("wordsim353.tsv").read_text().splitlines()
    fields = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(first, second, float(score)) for first, second, score in fields]


def batches(words: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and masks of the words, `BATCH` at a time."""
    tokenizer = Tokenizer.from_file(str(model_path("minilm_tokenizer.json")))
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(words), BATCH):
        coded = tokenizer.encode_batch(words[start : start + BATCH])
        longest = max(sum(code.attention_mask) for code in coded)
        ids = torch.tensor([code.ids[:longest] for code in coded])
        mask = torch.tensor([code.attention_mask[:longest] for code in coded])
        found.append((ids, mask))
    return found


def score() -> Score:
    """Embed every word twice and compare with the people."""
    pairs = word_pairs()
    words = sorted({word for first, second, _ in pairs for word in (first, second)})
    model = encoder()
    shapes: dict[str, Any] = {
        "min_shape": (1, 2),
        "opt_shape": (BATCH, 4),
        "max_shape": (BATCH, 128),
    }
    inputs = [stepwell.torch.Input(**shapes, dtype=torch.int64) for _ in range(2)]
    compiled = stepwell.torch.compile(
        model, inputs=inputs, require_full_compilation=True
    )
    theirs, ours = [], []
    with torch.no_grad():
        for ids, mask in track(batches(words), description="words"):
            theirs.append(model(ids, mask))
            ours.append(compiled(ids, mask))
    known = [_correlation(torch.cat(each), words, pairs) for each in (theirs, ours)]
    error = (torch.cat(theirs) - torch.cat(ours)).abs().max().item()
    return Score(len(pairs), known[0], known[1], error)


def _correlation(
    vectors: torch.Tensor, words: list[str], pairs: list[tuple[str, str, float]]
) -> float:
    place = {word: index for index, word in enumerate(words)}
    cosines = [float(vectors[place[a]] @ vectors[place[b]]) for a, b, _ in pairs]
    return float(spearmanr(cosines, [people for *_, people in pairs]).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def section(found: Score) -> str:
    """The section of the page of PyTorch models."""
    return f"""## MiniLM, judged by people

Command: `python tools/bench/torch_minilm.py`, {date.today()},
torch {torch.__version__}.

all-MiniLM-L6-v2 with its trained weights and its tokenizer embeds the words of
WordSim-353, {BATCH} at a time. Spearman's correlation of cosines with the people's
scores is {found.theirs:.4f} with torch and {found.ours:.4f} with stepwell, on
{found.pairs} pairs. The embeddings are unit vectors; their elements differ by at most
{found.largest_error:.1e}.
"""


def main(arguments: list[str]) -> int:
    """Prints the scores; 1 if they differ."""
    found = score()
    Console().print(
        f"{found.pairs} pairs: Spearman {found.theirs:.4f} with torch, "
        f"{found.ours:.4f} with stepwell, embeddings within {found.largest_error:.1e}"
    )
    if "--json" in arguments:
        print(json.dumps(asdict(found)))
    if "--write" in arguments:
        write_section(PAGES / "torch.md", section(found))
    return int(not found.is_right)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
