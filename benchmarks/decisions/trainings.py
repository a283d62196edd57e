"""Real trainings with the truth known: tiny Llamas taught letter puzzles from scratch, in plain torch.

Each is scored at 21 points on 2,000 held-out puzzles. Some of those are taken as a run's fixed set; the
others, which no decision sees, are the truth. One training is one file `KIND-RATE-SEED.npz`:

    correct  bool   [looks, items]   whether greedy decoding gives the answer, end token included
    ce       float  [looks, items]   mean cross-entropy of the answer's tokens, nats
    steps    int    [looks]          0 is before the first update
    lr       float  [looks]          the learning rate at that step
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOOKS, EVERY, BATCH, ITEMS = 21, 80, 48, 2000
LETTERS = "abcdefghijklmnop"
DIGITS = "0123456789"
PAD, END = 0, 1
SYMBOLS = {symbol: i + 2 for i, symbol in enumerate(LETTERS + DIGITS + "RSNA=+")}
LONGEST = 19


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets one kind of training apart from another."""

    rows: int = 20_000
    rate: float = 1e-3
    wrong: float = 0.0
    """Share of the training rows whose answer is another row's."""


KINDS = {
    "rise": Kind(),
    "fast": Kind(rate=4e-3),
    "noisy": Kind(wrong=0.4),
    "over": Kind(rows=1_200),
}
RATES = ("linear", "const", "cosine")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A training as it was scored."""

    name: str
    correct_KN: NDArray[np.bool_]
    ce_KN: NDArray[np.float64]
    steps: list[int]
    rates: list[float]

    @property
    def constant(self) -> bool:
        """Whether its learning rate never falls."""
        return "const" in self.name


def read(folder: Path) -> list[Training]:
    """The trainings of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        kept = np.load(path)
        found.append(
            Training(
                path.stem,
                kept["correct"].astype(bool),
                kept["ce"].astype(np.float64),
                kept["steps"].tolist(),
                kept["lr"].astype(float).tolist(),
            )
        )
    return found


def make(folder: Path, seeds: int) -> list[Training]:
    """Every kind with every rate and seed, those not yet in `folder` trained now (about a minute each)."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(k, r, seed) for seed in range(seeds) for k in KINDS for r in RATES]
    for kind, rate, seed in wanted:
        path = folder / f"{kind}-{rate}-{seed}.npz"
        if not path.exists():
            print(f"training {path.name}", flush=True)
            np.savez_compressed(path, **_train(KINDS[kind], rate, seed))
    names = {f"{kind}-{rate}-{seed}" for kind, rate, seed in wanted}
    return [training for training in read(folder) if training.name in names]


def puzzle(rng: random.Random) -> tuple[str, str]:
    """A question and its answer: reverse, sort, or shift letters, or add numbers."""
    task = rng.choice("RSNA")
    if task == "A":
        one, two = rng.randint(10, 999), rng.randint(10, 999)
        return f"A{one}+{two}=", str(one + two)
    word = "".join(rng.choices(LETTERS, k=rng.randint(4, 8)))
    shifted = "".join(LETTERS[(LETTERS.index(letter) + 1) % len(LETTERS)] for letter in word)
    answer = {"R": word[::-1], "S": "".join(sorted(word)), "N": shifted}[task]
    return f"{task}{word}=", answer


def share(rate: str, at: float) -> float:
    """The learning rate as a share of its peak at `at`, 0 to 1, of the training."""
    falls = {"const": 1.0, "linear": 1.0 - at, "cosine": 0.5 * (1 + math.cos(math.pi * at))}
    return falls[rate]


def _train(kind: Kind, rate: str, seed: int) -> dict[str, NDArray[np.generic]]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    rng = random.Random(f"{kind} {rate} {seed}")
    held_out = list(dict.fromkeys(puzzle(rng) for _ in range(2 * ITEMS)))[:ITEMS]
    rows = [puzzle(rng) for _ in range(kind.rows)]
    answers = [answer for _, answer in rows]
    rows = [(q, rng.choice(answers) if rng.random() < kind.wrong else a) for q, a in rows]
    ids, labels = (torch.tensor(each) for each in _tokens(rows))
    test, golden = (torch.tensor(each) for each in _tokens(held_out))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(SYMBOLS) + 2,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=LONGEST,
        pad_token_id=PAD,
        eos_token_id=END,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=kind.rate, weight_decay=0.01)
    total, order = EVERY * (LOOKS - 1), torch.Generator().manual_seed(seed)
    scored: list[tuple[NDArray[np.bool_], NDArray[np.float64], float]] = []
    for step in range(total + 1):
        now = kind.rate * share(rate, step / total)
        if step % EVERY == 0:
            scored.append((*_score(model, test, golden), now))
        for group in optimizer.param_groups:
            group["lr"] = now
        chosen = torch.randint(len(rows), (BATCH,), generator=order)
        loss = model(input_ids=ids[chosen], labels=labels[chosen]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {
        "correct": np.array([right for right, _, _ in scored]),
        "ce": np.array([ce for _, ce, _ in scored], dtype=np.float32),
        "steps": np.arange(LOOKS) * EVERY,
        "lr": np.array([at for _, _, at in scored]),
    }


def _tokens(rows: list[tuple[str, str]]) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and labels, -100 where nothing is learned, padded to one length."""
    ids, labels = [], []
    for question, answer in rows:
        asked = [SYMBOLS[symbol] for symbol in question]
        said = [*(SYMBOLS[symbol] for symbol in answer), END]
        rest = LONGEST - len(asked) - len(said)
        ids.append([*asked, *said, *[PAD] * rest])
        labels.append([*[-100] * len(asked), *said, *[-100] * rest])
    return ids, labels


def _score(
    model: object, ids: object, labels: object
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which answers greedy decoding gives (teacher forcing, argmax at every token), and their CE."""
    import torch

    assert isinstance(model, torch.nn.Module)
    assert isinstance(ids, torch.Tensor)
    assert isinstance(labels, torch.Tensor)
    right, ce = [], []
    with torch.no_grad():
        for part, wanted in zip(ids.split(500), labels[:, 1:].split(500), strict=True):
            log_p = model(input_ids=part).logits[:, :-1].double().log_softmax(-1)
            asked = wanted != -100
            target = wanted.clamp(min=0)
            hit = (log_p.argmax(-1) == target) | ~asked
            own = -log_p.gather(-1, target[..., None])[..., 0] * asked
            right.append(hit.all(-1))
            ce.append(own.sum(-1) / asked.sum(-1))
    return torch.cat(right).numpy(), torch.cat(ce).numpy()
