"""Trains nano's text encoder: `python -m edgefoley.train.text --out runs/text`.

The encoder learns the vectors of `words.corpus` (distillation across languages, after Reimers and Gurevych
2020, arXiv 2004.09813) with three more losses: phrases of one meaning must find each other among a batch, in
either language (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748); a linear head used only here names the
concepts; and the mean of the other tokens must predict the same vector, so that cross-attention has
something to read there.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from edgefoley.errors import UsageError
from edgefoley.models.text import TextConfig, TextEncoder
from edgefoley.train.loop import LoopConfig, log_line, mark_done, train
from edgefoley.train.words.concepts import LANGUAGES, load_concepts
from edgefoley.train.words.corpus import Phrase, build_corpus, make_targets, project, teacher_vectors
from edgefoley.train.words.tokenizer import PAD_ID, UNK_ID, save_tokenizer, train_tokenizer

VOCAB_SIZE: Final = 6000
CAPTION_PAIRS: Final = 3000
TEMPERATURE: Final = 0.07
GALLERY: Final = 100


@dataclass(frozen=True)
class TextData:
    """`phrases` in order; `ids` (V, N, T) int64: V ways to cut the same texts into tokens, the first is the
    one used at run time, PAD_ID at the end; `targets` (N, text_dim) unit vectors; `concept_hits` (N, C) 1
    where the phrase names the concept; `rows` training rows by meaning: rows[meaning][language] (a meaning
    may lack a language); `meaning` (N,) the inverse, -1 for held-out phrases; `singles` the meanings that are
    exactly one concept."""

    phrases: list[Phrase]
    ids: Tensor
    targets: Tensor
    concept_hits: Tensor
    rows: list[tuple[list[int], list[int]]]
    meaning: Tensor
    singles: NDArray[np.int64]


def encode_texts(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> Tensor:
    """(N, max_tokens) int64, padded with PAD_ID."""
    ids = torch.full((len(texts), max_tokens), PAD_ID, dtype=torch.int64)
    for row, encoding in enumerate(tokenizer.encode_batch(texts)):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
    return ids


def tokenise_variants(tokenizer: Tokenizer, texts: list[str], max_tokens: int, variants: int) -> Tensor:
    """(1 + variants, N, max_tokens): the plain cut, then cuts with random merges left out (BPE dropout,
    Provilkov et al. 2020, arXiv 1910.13267), so that pieces of unseen words and of typing errors have been
    trained too."""
    noisy = Tokenizer.from_str(tokenizer.to_str())
    noisy.model.dropout = 0.15
    plain = encode_texts(tokenizer, texts, max_tokens)
    return torch.stack([plain, *(encode_texts(noisy, texts, max_tokens) for _ in range(variants))])


def prepare(out: Path, seed: int, config: TextConfig) -> tuple[Tokenizer, TextData, NDArray[np.float32]]:
    """Corpus, tokenizer (written to `out`) and targets; also the projected teacher vectors, for
    comparison."""
    phrases = build_corpus(seed, CAPTION_PAIRS)
    texts = [phrase.text for phrase in phrases]
    teacher = project(phrases, teacher_vectors(texts, out / "teacher"), config.text_dim)
    tokenizer = train_tokenizer([p.text for p in phrases if not p.held], VOCAB_SIZE, config.max_tokens)
    save_tokenizer(tokenizer, out / "tokenizer.json")
    hits = torch.zeros(len(phrases), len(load_concepts()))
    rows: dict[object, tuple[list[int], list[int]]] = {}
    for row, phrase in enumerate(phrases):
        hits[row, list(phrase.concepts)] = 1
        if not phrase.held:
            name = tuple(sorted(phrase.concepts)) or phrase.key
            rows.setdefault(name, ([], []))[LANGUAGES.index(phrase.language)].append(row)
    meaning = torch.full((len(phrases),), -1)
    for number, pair in enumerate(rows.values()):
        meaning[pair[0] + pair[1]] = number
    single = [
        n for n, pair in enumerate(rows.values()) if len(phrases[(pair[0] or pair[1])[0]].concepts) == 1
    ]
    data = TextData(
        phrases=phrases,
        ids=tokenise_variants(tokenizer, texts, config.max_tokens, variants=2),
        targets=torch.from_numpy(make_targets(phrases, teacher)),
        concept_hits=hits,
        rows=list(rows.values()),
        meaning=meaning,
        singles=np.array(single, np.int64),
    )
    return tokenizer, data, teacher


def trim(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the columns that hold only padding; returns the token numbers and their mask."""
    ids = ids[:, : max(1, int((ids != PAD_ID).sum(1).max()))]
    return ids, (ids != PAD_ID).float()


class TextTrainer(nn.Module):
    """The encoder and the two heads that only training needs."""

    def __init__(self, config: TextConfig, num_concepts: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.classify = nn.Linear(config.text_dim, num_concepts)
        self.words = nn.Linear(config.text_dim, config.text_dim)

    def encode_by_length(self, ids: Tensor, chunks: int) -> tuple[Tensor, Tensor]:
        """Sentence vectors and means of the other tokens' vectors, both (B, text_dim), of ids (B, T).

        Texts run in `chunks` groups of similar length: most captions are far shorter than the longest.
        """
        order = (ids != PAD_ID).sum(1).argsort()
        sentences, words = [], []
        for part in ids[order].chunk(chunks):
            part, mask = trim(part)
            feat = self.encoder(part, mask).float()
            others = mask[:, 1:]
            sentences.append(feat[:, 0])
            total = (feat[:, 1:] * others[:, :, None]).sum(1)
            words.append(total / others.sum(1, keepdim=True).clamp(min=1))
        back = order.argsort()
        return torch.cat(sentences)[back], torch.cat(words)[back]

    def losses(self, ids: Tensor, targets: Tensor, hits: Tensor, meaning: Tensor) -> dict[str, Tensor]:
        """Named losses of one batch whose two halves hold phrases of the same meaning, row by row."""
        sentence, words = self.encode_by_length(ids, chunks=6)
        unit = F.normalize(sentence, dim=-1)
        scale = targets.shape[1] ** 0.5  # a root mean square of 1 suits the layers that will read the vector
        distil = F.mse_loss(sentence, targets * scale)
        from_words = 1 - (F.normalize(self.words(words), dim=-1) * targets).sum(-1).mean()
        half = len(ids) // 2
        logits = unit[:half] @ unit[half:].T / TEMPERATURE
        same = meaning[:half, None] == meaning[None, half:]
        logits = logits.masked_fill(same & ~torch.eye(half, dtype=torch.bool), -1e4)
        aim = torch.arange(half)
        pair = 0.5 * (F.cross_entropy(logits, aim) + F.cross_entropy(logits.T, aim))
        named = hits.sum(-1) > 0
        share = hits[named] / hits[named].sum(-1, keepdim=True)
        name = F.cross_entropy(self.classify(sentence[named]), share)
        loss = distil + 0.3 * pair + 0.2 * name + 0.5 * from_words
        return {"loss": loss, "distil": distil, "pair": pair, "name": name, "words": from_words}


def draw_batch(data: TextData, rng: np.random.Generator, pairs: int) -> tuple[Tensor, Tensor]:
    """Rows (2 x pairs) and their token numbers, (2 x pairs, T): the halves pair up, across languages where
    it can.

    Half of the meanings drawn are single concepts, which users name most; a few tokens become [UNK], so that
    it has been trained, and some texts take one of the noisy cuts.
    """
    chosen = np.concatenate(
        [rng.choice(data.singles, pairs // 2), rng.integers(len(data.rows), size=pairs - pairs // 2)]
    )
    first, second = [], []
    for number in chosen:
        english, chinese = data.rows[number]
        sides = [english or chinese, chinese or english]
        if rng.random() < 0.3:
            sides = [english + chinese] * 2
        first.append(int(rng.choice(sides[0])))
        second.append(int(rng.choice(sides[1])))
    rows = torch.tensor(first + second)
    cut = torch.from_numpy(
        np.where(rng.random(len(rows)) < 0.7, 0, rng.integers(1, len(data.ids), len(rows)))
    )
    ids = data.ids[cut, rows]
    lost = torch.from_numpy(rng.random(ids.shape) < 0.03) & (ids != PAD_ID)
    lost[:, 0] = False
    ids = ids.masked_fill(lost, UNK_ID)
    return rows, ids


@torch.no_grad()
def sentence_vectors(encoder: TextEncoder, ids: Tensor, batch: int = 512) -> Tensor:
    """Unit sentence vectors (N, text_dim) of padded token numbers (N, T)."""
    order = (ids != PAD_ID).sum(1).argsort()
    parts = [encoder(*trim(part))[:, 0] for part in ids[order].split(batch)]
    return F.normalize(torch.cat(parts), dim=-1)[order.argsort()]


def validation_figures(phrases: list[Phrase], vectors: Tensor) -> dict[str, float]:
    """Figures on held-out phrases, from unit `vectors` of all phrases (N, D).

    `retrieval_top1`: share of held-out phrases whose nearest neighbour among GALLERY held-out phrases of the
    other language (one per concept, 50 seeded draws, both directions) names the same concept.
    `concept_accuracy`: share of held-out phrases nearest to their own concept's centre, of all concepts; a
    centre is the mean of that concept's training phrases.
    """
    count = 1 + max(phrase.concepts[0] for phrase in phrases if phrase.held)
    centres = torch.zeros(count, vectors.shape[1])
    for row, phrase in enumerate(phrases):
        if not phrase.held and len(phrase.concepts) == 1:
            centres[phrase.concepts[0]] += vectors[row]
    held = {
        language: torch.tensor([row for row, p in enumerate(phrases) if p.held and p.language == language])
        for language in LANGUAGES
    }
    figures: dict[str, float] = {}
    own = torch.arange(count)
    for language in LANGUAGES:
        nearest = (vectors[held[language]] @ F.normalize(centres, dim=-1).T).argmax(-1)
        figures[f"concept_accuracy_{language}"] = float((nearest == own).float().mean())
    similar = vectors[held["en"]] @ vectors[held["zh"]].T
    rng, right = np.random.default_rng(0), []
    for _ in range(50):
        some = torch.from_numpy(rng.choice(count, min(GALLERY, count), replace=False))
        block = similar[some][:, some]
        for table in (block, block.T):
            right.append(float((table.argmax(-1) == torch.arange(len(some))).float().mean()))
    figures["retrieval_top1"] = float(np.mean(right))
    return figures


def save_encoder(encoder: TextEncoder, figures: dict[str, float], out: Path) -> None:
    """`text.safetensors` (FP32) and `text.json` (config and figures) in `out`, each whole or not at all."""
    temporary = out / "text.safetensors.part"
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, str(temporary))
    os.replace(temporary, out / "text.safetensors")
    temporary = out / "text.json.part"
    temporary.write_text(json.dumps({"config": asdict(encoder.config), "figures": figures}, indent=2) + "\n")
    os.replace(temporary, out / "text.json")


def load_encoder(folder: Path) -> TextEncoder:
    """The encoder saved in `folder`, in evaluation mode; strict."""
    encoder = TextEncoder(TextConfig(**json.loads((folder / "text.json").read_text())["config"]))
    encoder.load_state_dict(load_file(folder / "text.safetensors"))
    return encoder.eval()


def run(out: Path, steps: int, resume: bool, seed: int = 0, pairs: int = 160) -> dict[str, float]:
    """Train (or resume) in `out` and return the validation figures of the weights saved there."""
    if (out / "last.pt").exists() and not resume:
        raise UsageError(f"{out} already holds a run; add --resume to go on with it, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer, data, teacher = prepare(out, seed, TextConfig())
    log_line(out, {"teacher": 1, **validation_figures(data.phrases, torch.from_numpy(teacher))})
    torch.manual_seed(seed)
    trainer = TextTrainer(TextConfig(vocab_size=tokenizer.get_vocab_size()), data.concept_hits.shape[1])
    parameters = sum(p.numel() for p in trainer.encoder.parameters())
    log_line(out, {"phrases": len(data.phrases), "meanings": len(data.rows), "parameters": parameters})

    def loss_fn(step: int) -> dict[str, Tensor]:
        rows, ids = draw_batch(data, np.random.default_rng((seed, 3, step)), pairs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return trainer.losses(ids, data.targets[rows], data.concept_hits[rows], data.meaning[rows])

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, TextTrainer)
        return validation_figures(data.phrases, sentence_vectors(module.encoder, data.ids[0]))

    config = LoopConfig(steps=steps, rate=1.5e-3, warmup=100, average=0.998, report=100, save=400, seed=seed)
    average = train(trainer, loss_fn, out, config, validate)
    trainer.load_state_dict(average.state)
    trainer.eval()
    figures = validate(trainer)
    log_line(out, {"averaged": 1, **figures})
    save_encoder(trainer.encoder, figures, out)
    mark_done(out, average, config)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Train nano's English and Chinese text encoder.")
    parser.add_argument("--out", type=Path, default=Path("runs/text"), help="folder of the run")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.out, arguments.steps, arguments.resume, arguments.seed)


if __name__ == "__main__":
    main()
