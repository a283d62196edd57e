"""A watched run for one of several processes: `torchrun --nproc-per-node 2 ddp_run.py FOLDER watched`.

Each process prints the losses that the Trainer logged and a sum over the trained weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tiny
from transformers import Trainer, TrainingArguments
from watched import collate, encoded

import heldout


def main(folder: Path, watched: bool) -> None:
    tokenizer, model = tiny.tokenizer(), tiny.lora_model()
    monitor = heldout.Monitor(
        folder / "fixed_eval.jsonl", every=2, runs=folder / "runs", run="r", tokenizer=tokenizer
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        save_steps=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        ddp_backend="gloo",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[monitor] if watched else [],
    )
    trainer.train()
    weights = sum(float(p.detach().double().abs().sum()) for p in model.parameters())
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    (folder / f"rank{arguments.process_index}.json").write_text(json.dumps([losses, weights]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "watched")
