"""Your own Trainer, watched: the two lines marked with an arrow are all that heldout adds.

    python examples/own_trainer.py MODEL [STEPS]

MODEL is a hub id or a local folder of an instruct model.
"""

import sys
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

import heldout  # <-

HERE = Path(__file__).parent


def main(name: str, steps: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name)
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear"))

    def encode(row: dict) -> dict:
        prompt = tokenizer.apply_chat_template(
            row["messages"][:-1], add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}

    data = load_dataset("json", data_files=str(HERE / "train.jsonl"), split="train")
    trainer = Trainer(
        model=model,
        args=TrainingArguments("out", max_steps=steps, learning_rate=5e-4, logging_steps=5),
        train_dataset=data.map(encode, remove_columns=data.column_names),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        processing_class=tokenizer,
    )
    trainer.add_callback(heldout.Monitor(HERE / "fixed_eval.jsonl", every=20))  # <-
    trainer.train()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200)
