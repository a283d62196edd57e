"""Do healthy runs of every kind of trainer stay silent? Real trainers, tiny models, tasks that they learn.

    python benchmarks/alerts/healthy_trainers.py [--only dpo] [--seeds 3] [--out healthy]

SFT, DPO, KTO and GRPO fine-tune the letters task's base model (made once, which takes a minute or two);
the reward model, the classifiers and the encoder-decoder start from nothing. Each run has 120 steps and
`heldout.Monitor` with its defaults, and is given the fixed set, also where its model cannot be scored. A
table says what each run learned, which alerts of level warning or above it raised (there should be none),
what was decided, and how many series its journal holds.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import letters
import numpy as np
import torch
from datasets import Dataset
from outcomes import ALERTING, RAISED
from peft import LoraConfig
from rows import write
from subjects import CACHE, HELD_OUT_SEED
from training import JOURNAL
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    LlamaConfig,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import ProgressCallback
from transformers.utils import logging as transformers_logging
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

import heldout
from heldout.derive.history import History
from heldout.store.journal import read

STEPS = 120
EVERY = 20
BATCH = 16
HELD_OUT = 150
"""Rows of the fixed set, and of the Trainer's own evaluation."""
ROWS = 600
SLOW = 3e-5
"""The rate at which the easy tasks are still being learned at the end."""
TAGS = 3
NOISE = 0.05
"""Share of classes that are drawn by chance, so that no loss goes to zero."""
LORA = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def arguments(kind: Any, folder: Path, seed: int, **changes: Any) -> Any:
    settings = {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": HELD_OUT,
        "learning_rate": 1e-3,
        "warmup_steps": 10,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": EVERY,
        "save_steps": EVERY,
        "activation_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "dataloader_pin_memory": False,
        "seed": seed,
    }
    return kind(**{**settings, **changes})


def base() -> Any:
    return AutoModelForCausalLM.from_pretrained(letters.warm_start(CACHE))


def pairs(seed: int, n: int) -> list[dict[str, Any]]:
    """Prompts with the answer that is wanted and the one that the base model is inclined to give."""
    found = []
    for row in letters.rows(n, seed, wrong=letters.WRONG):
        prompt, answer = row["messages"]
        pattern, *asked = prompt["content"].split()
        other = " ".join(letters.WAYS[pattern](asked))
        if other != answer["content"]:
            rejected = {"role": "assistant", "content": other}
            found.append({"prompt": [prompt], "chosen": [answer], "rejected": [rejected]})
    return found


def sft(folder: Path, seed: int) -> Any:
    def data(first: int, n: int) -> Dataset:
        found = letters.rows(n, first, wrong=letters.WRONG)
        return Dataset.from_list([{"messages": row["messages"]} for row in found])

    return SFTTrainer(
        model=base(),
        args=arguments(SFTConfig, folder, seed, assistant_only_loss=False),
        train_dataset=data(seed, 4 * ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        processing_class=letters.tokenizer(),
        peft_config=LoraConfig(**LORA),
    )


def dpo(folder: Path, seed: int) -> Any:
    return DPOTrainer(
        model=base(),
        args=arguments(DPOConfig, folder, seed, learning_rate=3e-4),
        train_dataset=Dataset.from_list(pairs(seed, ROWS)),
        eval_dataset=Dataset.from_list(pairs(HELD_OUT_SEED, HELD_OUT)),
        processing_class=letters.tokenizer(),
        peft_config=LoraConfig(**LORA),
    )


def kto(folder: Path, seed: int) -> Any:
    def data(first: int, n: int) -> Dataset:
        chance = random.Random(first)
        found = []
        for row in pairs(first, n):
            wanted = chance.random() < 0.5
            completion = row["chosen" if wanted else "rejected"]
            found.append({"prompt": row["prompt"], "completion": completion, "label": wanted})
        return Dataset.from_list(found)

    return KTOTrainer(
        model=base(),
        args=arguments(KTOConfig, folder, seed, learning_rate=3e-4),
        train_dataset=data(seed, 2 * ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        processing_class=letters.tokenizer(),
        peft_config=LoraConfig(**LORA),
    )


def grpo(folder: Path, seed: int) -> Any:
    def right(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        """The share of letters that stand where they should."""
        said = [completion[0]["content"].split() for completion in completions]
        wanted = [each.split() for each in answer]
        return [
            sum(a == b for a, b in zip(ours, theirs, strict=False)) / len(theirs)
            for ours, theirs in zip(said, wanted, strict=True)
        ]

    found = [
        {"prompt": row["messages"][:1], "answer": row["messages"][1]["content"]}
        for row in letters.rows(ROWS, seed)
    ]
    return GRPOTrainer(
        model=base(),
        args=arguments(
            GRPOConfig,
            folder,
            seed,
            learning_rate=1e-3,
            num_generations=8,
            max_completion_length=letters.LENGTH + 2,
            eval_strategy="no",
        ),
        reward_funcs=right,
        train_dataset=Dataset.from_list(found),
        processing_class=letters.tokenizer(),
        peft_config=LoraConfig(**LORA),
    )


def drawn(chance: random.Random, many: bool) -> list[str]:
    """Letters of the frequent half or of the rare one, mostly."""
    weights = letters.FREQUENCIES if many else letters.FREQUENCIES[::-1]
    return chance.choices(letters.LETTERS, weights, k=2 * letters.LENGTH)


def reward(folder: Path, seed: int) -> Any:
    def data(first: int, n: int) -> Dataset:
        chance = random.Random(first)
        sides = [[" ".join(drawn(chance, many)) for many in (True, False)] for _ in range(n)]
        return Dataset.from_list([{"chosen": good, "rejected": bad} for good, bad in sides])

    return RewardTrainer(
        model=AutoModelForSequenceClassification.from_config(shape(num_labels=1)),
        args=arguments(RewardConfig, folder, seed, learning_rate=1e-5),
        train_dataset=data(seed, ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        processing_class=letters.tokenizer(),
    )


def sequence(folder: Path, seed: int) -> Any:
    tokens = letters.tokenizer()

    def data(first: int, n: int) -> Dataset:
        chance = random.Random(first)
        kinds = [chance.random() < 0.5 for _ in range(n)]
        texts = [" ".join(drawn(chance, kind)) for kind in kinds]
        noisy = [kind ^ (chance.random() < NOISE) for kind in kinds]
        rows = zip(texts, noisy, strict=True)
        return Dataset.from_list([{**tokens(text), "labels": int(kind)} for text, kind in rows])

    return Trainer(
        model=AutoModelForSequenceClassification.from_config(shape(num_labels=2)),
        args=arguments(
            TrainingArguments, folder, seed, learning_rate=SLOW, metric_for_best_model="accuracy"
        ),
        train_dataset=data(seed, 2 * ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        data_collator=DataCollatorWithPadding(tokens),
        processing_class=tokens,
        compute_metrics=accuracy,
    )


def token(folder: Path, seed: int) -> Any:
    tokens = letters.tokenizer()

    def data(first: int, n: int) -> Dataset:
        chance, found = random.Random(first), []
        for _ in range(n):
            row = tokens(" ".join(chance.choices(letters.LETTERS, letters.FREQUENCIES, k=8)))
            tags = [
                chance.randrange(TAGS) if chance.random() < NOISE else each % TAGS
                for each in row["input_ids"]
            ]
            found.append({**row, "labels": tags})
        return Dataset.from_list(found)

    return Trainer(
        model=AutoModelForTokenClassification.from_config(shape(num_labels=TAGS)),
        args=arguments(
            TrainingArguments, folder, seed, learning_rate=1e-4, metric_for_best_model="accuracy"
        ),
        train_dataset=data(seed, 2 * ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        data_collator=DataCollatorForTokenClassification(tokens),
        processing_class=tokens,
        compute_metrics=accuracy,
    )


def seq2seq(folder: Path, seed: int) -> Any:
    tokens = letters.tokenizer()

    def data(first: int, n: int) -> Dataset:
        chance, found = random.Random(first), []
        for _ in range(n):
            asked = chance.choices(letters.LETTERS, letters.FREQUENCIES, k=letters.LENGTH)
            answer = " ".join(letters.OTHER[x] for x in asked) + letters.SPECIAL[0]
            found.append({**tokens(" ".join(asked)), "labels": tokens(answer)["input_ids"]})
        return Dataset.from_list(found)

    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=letters.VOCABULARY,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=0,
            dropout_rate=0.0,
            **sizes,
        )
    )
    return Seq2SeqTrainer(
        model=model,
        args=arguments(Seq2SeqTrainingArguments, folder, seed, learning_rate=3e-3),
        train_dataset=data(seed, 4 * ROWS),
        eval_dataset=data(HELD_OUT_SEED, HELD_OUT),
        data_collator=DataCollatorForSeq2Seq(tokens, model),
        processing_class=tokens,
    )


def shape(**more: Any) -> LlamaConfig:
    sizes = {**letters.SHAPE, "num_hidden_layers": 2}
    return LlamaConfig(
        vocab_size=letters.VOCABULARY,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=0,
        **sizes,
        **more,
    )


def accuracy(predicted: Any) -> dict[str, float]:
    labels = predicted.label_ids
    right = predicted.predictions.argmax(-1)[labels != -100] == labels[labels != -100]
    return {"accuracy": float(np.mean(right))}


TRAINERS: dict[str, Callable[[Path, int], Any]] = {
    "sft": sft,
    "dpo": dpo,
    "kto": kto,
    "grpo": grpo,
    "reward": reward,
    "sequence": sequence,
    "token": token,
    "seq2seq": seq2seq,
}
LEARNED = ("eval/accuracy", "eval/rewards/margins", "reward", "loss/trainer_eval")
"""Series of which the first that is there shows what a run learned, from its first value to its last."""


def run(name: str, seed: int, out: Path) -> History:
    """Train once; returns what was recorded."""
    folder = out / f"{name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    set_seed(seed)
    held_out = letters.rows(HELD_OUT, HELD_OUT_SEED)
    trainer = TRAINERS[name](folder, seed)
    trainer.add_callback(
        heldout.Monitor(
            write(folder / "eval.jsonl", held_out), every=EVERY, runs=out, run=folder.name
        )
    )
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    trainer.train()
    shutil.rmtree(folder / "checkpoints")
    found = History()
    for record in read(folder / JOURNAL)[0]:
        found.add(record)
    return found


def row(name: str, seed: int, found: History, seconds: float) -> tuple[str, bool]:
    """One line of the table, and whether the run was warned of."""
    raised = [v for v in found.verdicts if v.state in RAISED and v.level in ALERTING]
    alerts = ", ".join(dict.fromkeys(f"{v.rule} ({v.level}, step {v.step})" for v in raised))
    decided = found.decision
    decision = f"{decided.action} {decided.checkpoint or ''}".strip() if decided else "-"
    ems = [f"{result.em:.0%}" for result in found.evals]
    learned = f"EM {ems[0]} → {ems[-1]}; " if ems else ""
    series = next((s for each in LEARNED if len(s := found.columns.get(each))), None)
    named = next((each for each in LEARNED if len(found.columns.get(each))), "")
    if series is not None:
        learned += f"`{named}` {series.values[0]:.2f} → {series.last:.2f}"
    cells = (name, seed, found.step, learned, alerts or "none", decision)
    many = len(found.columns.series)
    return "| " + " | ".join(map(str, cells)) + f" | {many} | {seconds:.0f} |", bool(raised)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", choices=TRAINERS, action="append", help="this trainer; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=CACHE / "healthy-trainers")
    asked = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    print("| trainer | seed | steps | learned | warning or above | decision | series | s |")
    print("| --- | ---: | ---: | --- | --- | --- | ---: | ---: |")
    warned = total = 0
    for name in asked.only or TRAINERS:
        for seed in range(asked.seeds):
            began = time.perf_counter()
            found = run(name, seed, asked.out)
            line, raised = row(name, seed, found, time.perf_counter() - began)
            print(line, flush=True)
            warned, total = warned + raised, total + 1
    print(f"\nWarned: {warned} of {total} runs.")


if __name__ == "__main__":
    main()
