"""Trains nano's text encoder: `python -m edgefoley.train.text --out runs/text`.

The encoder learns the vectors of `words.targets` (distillation across languages, after Reimers and Gurevych
2020, arXiv 2004.09813) with three more losses: phrases of one meaning must find each other among a batch, in
either language (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748); it must lie nearer to its
own concept's centre than to any other; and the mean of the other tokens must predict the same vector, so that
cross-attention has something to read there. Common words of both languages are learnt along, from the
teachers alone. `--old` names an earlier encoder onto whose vectors the new ones are turned, so that a
generator trained on the earlier space needs little to change.
"""

from __future__ import annotations

import argparse
import json
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
from edgefoley.models.text import NANO_TEXT, TextConfig, TextEncoder
from edgefoley.train.files import whole, write_whole
from edgefoley.train.loop import LoopConfig, log_line, mark_done, train
from edgefoley.train.precision import mixed
from edgefoley.train.words.concepts import LANGUAGES, load_concepts
from edgefoley.train.words.corpus import CorpusSizes, Phrase, build_corpus
from edgefoley.train.words.figures import concept_centres, held_figures
from edgefoley.train.words.noise import misspell
from edgefoley.train.words.targets import E5_WEIGHT, make_targets, project, rotation_onto
from edgefoley.train.words.teacher import TEACHERS, teacher_vectors
from edgefoley.train.words.tokenizer import PAD_ID, UNK_ID, rare_ids, save_tokenizer, train_tokenizer

TEMPERATURE: Final = 0.07
VARIANTS: Final = 4
DROPOUT: Final = 0.1
# the squared error is a mean over the vector; unweighted, the losses of comparison drown it
DISTIL_WEIGHT: Final = 4.0


@dataclass(frozen=True)
class TextData:
    """`phrases` in order; `ids` (V, N, T) int64: V ways to write and cut the same texts, the first is the
    one used at run time, PAD_ID at the end; `targets` (N, text_dim) unit vectors; `concept_hits` (N, C) 1
    where the phrase names the concept; `rows` training rows by meaning: rows[meaning][language] (a meaning
    may lack a language); `meaning` (N,) the inverse, -1 for held-out phrases and lexicon words; `singles` the
    meanings that are exactly one concept; `words` rows of lexicon words."""

    phrases: list[Phrase]
    ids: Tensor
    targets: Tensor
    concept_hits: Tensor
    rows: list[tuple[list[int], list[int]]]
    meaning: Tensor
    singles: NDArray[np.int64]
    words: NDArray[np.int64]


@dataclass(frozen=True)
class BatchSizes:
    """`pairs` of phrases with one meaning, `singles` the share of them that are one concept; `words` lexicon
    words besides."""

    pairs: int = 192
    singles: float = 0.55
    words: int = 128


def encode_texts(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> Tensor:
    """(N, max_tokens) int64, padded with PAD_ID."""
    ids = torch.full((len(texts), max_tokens), PAD_ID, dtype=torch.int64)
    for row, encoding in enumerate(tokenizer.encode_batch(texts)):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
    return ids


def tokenise_variants(
    tokenizer: Tokenizer, phrases: list[Phrase], max_tokens: int, variants: int, seed: int
) -> Tensor:
    """(1 + variants, N, max_tokens): the plain cut, then texts with errors (noise.py), cut with random merges
    left out (BPE dropout, Provilkov et al. 2020, arXiv 1910.13267) and with some Chinese characters as bytes,
    so that pieces of unseen words and characters have been trained too."""
    noisy = Tokenizer.from_str(tokenizer.to_str())
    noisy.model.dropout = 0.1
    rare = rare_ids(tokenizer)
    rng = np.random.default_rng((seed, 4))
    cuts = [encode_texts(tokenizer, [phrase.text for phrase in phrases], max_tokens)]
    for _ in range(variants):
        ids = torch.full_like(cuts[0], PAD_ID)
        texts = [misspell(phrase.text, phrase.language, rng) for phrase in phrases]
        for row, encoding in enumerate(noisy.encode_batch(texts)):
            as_bytes = rng.random(len(encoding.ids)) < 0.02
            cut = [
                part
                for number, split in zip(encoding.ids, as_bytes, strict=True)
                for part in (rare.get(number, (number,)) if split else (number,))
            ]
            ids[row, : min(len(cut), max_tokens)] = torch.tensor(cut[:max_tokens])
        cuts.append(ids)
    return torch.stack(cuts)


def teach(phrases: list[Phrase], out: Path, dim: int, old: Path | None) -> NDArray[np.float32]:
    """The teachers' joint vectors (N, dim), unit length, turned onto the sentence vectors of the encoder in
    `old` where it is given, by the phrases that are not held out."""
    texts = [phrase.text for phrase in phrases]
    written = np.array([phrase.kind in ("written", "word") for phrase in phrases])
    some = [text for text, asked in zip(texts, written, strict=True) if asked]
    slow = np.zeros((len(phrases), TEACHERS["e5"]), np.float32)
    slow[written] = teacher_vectors("e5", some, out / "teacher")  # composed phrases would take many minutes
    teachers = [teacher_vectors("use", texts, out / "teacher"), E5_WEIGHT * slow]
    projected = project(phrases, teachers, dim)
    if old is None:
        return projected
    shared = [row for row, phrase in enumerate(phrases) if phrase.concepts and not phrase.held]
    encoder, tokenizer = load_encoder(old), Tokenizer.from_file(str(old / "tokenizer.json"))
    tokenizer.no_padding()
    ids = encode_texts(tokenizer, [texts[row] for row in shared], encoder.config.max_tokens)
    turned: NDArray[np.float32] = projected @ rotation_onto(
        projected[shared], sentence_vectors(encoder, ids).numpy()
    )
    return turned


def prepare(
    out: Path, seed: int, config: TextConfig, sizes: CorpusSizes, old: Path | None = None
) -> tuple[Tokenizer, TextData, NDArray[np.float32]]:
    """Corpus, tokenizer (written to `out`, or read from there if a run is resumed) and targets; also the
    projected teacher vectors, for comparison."""
    phrases = build_corpus(seed, sizes)
    teacher = teach(phrases, out, config.text_dim, old)
    if (out / "last.pt").exists():  # merges that tie come in any order, so a resumed run keeps its own
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    else:
        texts = [p.text for p in phrases if not p.held]
        tokenizer = train_tokenizer(texts, config.vocab_size, config.max_tokens)
        save_tokenizer(tokenizer, out / "tokenizer.json")
    hits = torch.zeros(len(phrases), len(load_concepts()))
    rows: dict[object, tuple[list[int], list[int]]] = {}
    for row, phrase in enumerate(phrases):
        hits[row, list(phrase.concepts)] = 1
        if not phrase.held and phrase.kind != "word":
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
        ids=tokenise_variants(tokenizer, phrases, config.max_tokens, VARIANTS, seed),
        targets=torch.from_numpy(make_targets(phrases, teacher)),
        concept_hits=hits,
        rows=list(rows.values()),
        meaning=meaning,
        singles=np.array(single, np.int64),
        words=np.array([row for row, phrase in enumerate(phrases) if phrase.kind == "word"], np.int64),
    )
    return tokenizer, data, teacher


def trim(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the columns that hold only padding; returns the token numbers and their mask."""
    ids = ids[:, : max(1, int((ids != PAD_ID).sum(1).max()))]
    return ids, (ids != PAD_ID).float()


class TextTrainer(nn.Module):
    """The encoder and what only training needs: the concepts' centres (C, text_dim) among the targets, unit
    vectors, and a head."""

    def __init__(self, config: TextConfig, centres: Tensor) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.encoder.drop.p = DROPOUT
        self.register_buffer("centres", centres)
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

    def losses(
        self, ids: Tensor, targets: Tensor, hits: Tensor, meaning: Tensor, pairs: int
    ) -> dict[str, Tensor]:
        """Named losses of one batch: rows 0 .. pairs - 1 and pairs .. 2 x pairs - 1 mean the same, row by
        row; the rest only have targets."""
        sentence, words = self.encode_by_length(ids, chunks=6)
        unit = F.normalize(sentence, dim=-1)
        scale = targets.shape[1] ** 0.5  # a root mean square of 1 suits the layers that will read the vector
        distil = F.mse_loss(sentence, targets * scale)
        from_words = 1 - (F.normalize(self.words(words), dim=-1) * targets).sum(-1).mean()
        logits = unit[:pairs] @ unit[pairs : 2 * pairs].T / TEMPERATURE
        same = meaning[:pairs, None] == meaning[None, pairs : 2 * pairs]
        logits = logits.masked_fill(same & ~torch.eye(pairs, dtype=torch.bool), -1e4)
        aim = torch.arange(pairs)
        pair = 0.5 * (F.cross_entropy(logits, aim) + F.cross_entropy(logits.T, aim))
        named = hits.sum(-1) > 0
        share = hits[named] / hits[named].sum(-1, keepdim=True)
        centres = self.get_buffer("centres")
        name = F.cross_entropy(unit[named] @ centres.T / TEMPERATURE, share)
        loss = DISTIL_WEIGHT * distil + 0.3 * pair + 0.3 * name + 0.5 * from_words
        return {"loss": loss, "distil": distil, "pair": pair, "name": name, "words": from_words}


def draw_batch(data: TextData, rng: np.random.Generator, sizes: BatchSizes) -> tuple[Tensor, Tensor]:
    """Rows (2 x pairs + words) and their token numbers: the first two parts pair up, across languages where
    it can.

    A share of the meanings drawn are single concepts, which users name most; a few tokens become [UNK], so
    that it has been trained, and many texts take one of the noisy ways to write them.
    """
    single = round(sizes.pairs * sizes.singles)
    chosen = np.concatenate(
        [rng.choice(data.singles, single), rng.integers(len(data.rows), size=sizes.pairs - single)]
    )
    first, second = [], []
    for number in chosen:
        english, chinese = data.rows[number]
        sides = [english or chinese, chinese or english]
        if rng.random() < 0.3:
            sides = [english + chinese] * 2
        first.append(int(rng.choice(sides[0])))
        second.append(int(rng.choice(sides[1])))
    besides = rng.choice(data.words, sizes.words).tolist() if sizes.words else []
    rows = torch.tensor(first + second + besides)
    cut = torch.from_numpy(
        np.where(rng.random(len(rows)) < 0.4, 0, rng.integers(1, len(data.ids), len(rows)))
    )
    ids = data.ids[cut, rows]
    lost = torch.from_numpy(rng.random(ids.shape) < 0.04) & (ids != PAD_ID)
    lost[:, 0] = False
    ids = ids.masked_fill(lost, UNK_ID)
    return rows, ids


@torch.no_grad()
def sentence_vectors(encoder: TextEncoder, ids: Tensor, batch: int = 512) -> Tensor:
    """Unit sentence vectors (N, text_dim) of padded token numbers (N, T)."""
    order = (ids != PAD_ID).sum(1).argsort()
    parts = [encoder(*trim(part))[:, 0] for part in ids[order].split(batch)]
    return F.normalize(torch.cat(parts), dim=-1)[order.argsort()]


def save_encoder(encoder: TextEncoder, figures: dict[str, float], out: Path) -> None:
    """`text.safetensors` (FP32) and `text.json` (config and figures) in `out`, each whole or not at all."""
    with whole(out / "text.safetensors") as part:
        save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, part)
    about = {"config": asdict(encoder.config), "figures": figures}
    write_whole(out / "text.json", json.dumps(about, indent=2) + "\n")


def load_encoder(folder: Path) -> TextEncoder:
    """The encoder saved in `folder`, in evaluation mode; strict."""
    encoder = TextEncoder(TextConfig(**json.loads((folder / "text.json").read_text())["config"]))
    encoder.load_state_dict(load_file(folder / "text.safetensors"))
    return encoder.eval()


def run(
    out: Path, loop: LoopConfig, resume: bool, sizes: CorpusSizes, batch: BatchSizes, old: Path | None
) -> dict[str, float]:
    """Train (or resume) in `out` and return the figures on held-out phrases of the weights saved there."""
    if (out / "last.pt").exists() and not resume:
        raise UsageError(f"{out} already holds a run; add --resume to go on with it, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    seed = loop.seed
    tokenizer, data, teacher = prepare(out, seed, NANO_TEXT, sizes, old)
    log_line(out, {"turned_onto": str(old)})
    log_line(out, {"teacher": 1, **held_figures(data.phrases, torch.from_numpy(teacher))})
    torch.manual_seed(seed)
    config = TextConfig(**{**asdict(NANO_TEXT), "vocab_size": tokenizer.get_vocab_size()})
    trainer = TextTrainer(config, concept_centres(data.phrases, data.targets))
    parameters = sum(p.numel() for p in trainer.encoder.parameters())
    log_line(out, {"phrases": len(data.phrases), "meanings": len(data.rows), "parameters": parameters})
    shown = torch.tensor([row for row, phrase in enumerate(data.phrases) if phrase.kind != "word"])
    phrases = [data.phrases[int(row)] for row in shown]

    def loss_fn(step: int) -> dict[str, Tensor]:
        rows, ids = draw_batch(data, np.random.default_rng((seed, 3, step)), batch)
        with mixed("cpu"):
            return trainer.losses(
                ids, data.targets[rows], data.concept_hits[rows], data.meaning[rows], batch.pairs
            )

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, TextTrainer)
        module.eval()
        figures = held_figures(phrases, sentence_vectors(module.encoder, data.ids[0, shown]))
        module.train()
        return figures

    average = train(trainer, loss_fn, out, loop, validate)
    trainer.load_state_dict(average.state)
    figures = validate(trainer)
    log_line(out, {"averaged": 1, **figures})
    save_encoder(trainer.encoder, figures, out)
    mark_done(out, average, loop)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Train nano's English and Chinese text encoder.")
    parser.add_argument("--out", type=Path, default=Path("runs/text"), help="folder of the run")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long, to be resumed")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--old",
        type=Path,
        default=Path("runs/text_old"),
        help="an earlier run, onto whose vectors the new ones are turned, if it is there",
    )
    parser.add_argument(
        "--develop", action="store_true", help="hold out phrases of the table, to choose settings by"
    )
    args = parser.parse_args()
    old = args.old if (args.old / "text.safetensors").exists() else None
    loop = LoopConfig(
        steps=args.steps,
        rate=2e-3,
        warmup=100,
        average=0.995,
        report=50,
        save=300,
        minutes=args.minutes,
        seed=args.seed,
    )
    run(args.out, loop, args.resume, CorpusSizes(develop=args.develop), BatchSizes(), old)


if __name__ == "__main__":
    main()
