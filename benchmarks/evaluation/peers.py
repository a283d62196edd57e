"""Other people's tools on the same model and examples: lm-evaluation-harness, Trainer, SFTTrainer.

Each is used as its users do, with its own batching, at the benchmark's batch size. Each gets a twin
of the model, new modules around the same weights, because SFTTrainer patches the one it is given.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import logging
from collections.abc import Sequence
from typing import Any

import torch
from decoding import right_padded
from engine import Run
from subject import Answer, Missing, Subject
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from heldout.evals.fixed_set import Example


def lm_eval_generate(subject: Subject) -> Run:
    """lm-eval's `generate_until`, and its exact_match: equality of the text.

    A task has one token limit, so it is the longest golden answer's. Tokenising is inside the time,
    as in every use of the harness.
    """
    harness, instance = _harness(subject), _instance()
    changed = [e for e in subject.examples if _again(harness, subject, e) != list(e.prompt_ids)]
    if changed:
        raise Missing(f"{len(changed)} prompts have other tokens after a round trip through text")
    longest = max(len(e.response_ids) for e in subject.examples)
    settings = {"until": [], "max_gen_toks": longest, "do_sample": False}
    decode = subject.tokenizer.decode
    requests = [
        instance("generate_until", {}, (decode(e.prompt_ids), dict(settings)), i)
        for i, e in enumerate(subject.examples)
    ]
    golden = [decode(e.response_ids, skip_special_tokens=True) for e in subject.examples]

    def run() -> Answer:
        texts = harness.generate_until(requests, disable_tqdm=True)
        return Answer(hits=tuple(a == b for a, b in zip(texts, golden, strict=True)))

    return run


def lm_eval_loglikelihood(subject: Subject) -> Run:
    """lm-eval's `loglikelihood` and its `is_greedy`, given token ids.

    From text, `_encode_pair` moves the whitespace at the prompt's end into the answer, and with a
    chat template that makes every example wrong. So it gets the right ids, and no tokenising to do.
    """
    harness = _harness(subject)
    requests = [
        ((str(i), ""), list(e.prompt_ids), list(e.response_ids))
        for i, e in enumerate(subject.examples)
    ]

    def run() -> Answer:
        with torch.no_grad():
            found = harness._loglikelihood_tokens(requests, disable_tqdm=True)
        total = -sum(log_probability for log_probability, _ in found)
        return Answer(
            hits=tuple(greedy for _, greedy in found), ce=total / subject.num_response_tokens
        )

    return run


def trainer(subject: Subject) -> Run:
    """`Trainer.evaluate`: a mean over batches of each batch's mean loss."""
    arguments = TrainingArguments(**_arguments(subject), prediction_loss_only=True)
    evaluator = Trainer(
        model=twin(subject.model),
        args=arguments,
        eval_dataset=_rows(subject),
        data_collator=_collate,
        processing_class=subject.tokenizer,
    )
    evaluator.remove_callback(PrinterCallback)
    return lambda: Answer(ce=evaluator.evaluate()["eval_loss"])


def sft_trainer(subject: Subject) -> Run:
    """TRL's `SFTTrainer.evaluate`: CE, entropy and token accuracy."""
    if importlib.util.find_spec("trl") is None:
        raise Missing("not installed: pip install trl")
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list(_rows(subject))
    arguments = SFTConfig(
        **_arguments(subject),
        bf16=False,  # it would autocast; every way computes in the model's own dtype
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    evaluator = SFTTrainer(
        model=twin(subject.model),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=subject.tokenizer,
    )
    evaluator.remove_callback(PrinterCallback)

    def run() -> Answer:
        found = evaluator.evaluate()
        return Answer(ce=found["eval_loss"], entropy=found.get("eval_entropy"))

    return run


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """Copy the modules, not the weights."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})


def _harness(subject: Subject) -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        raise Missing("not installed: pip install lm-eval")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=twin(subject.model),
        tokenizer=copy.deepcopy(subject.tokenizer),
        batch_size=subject.batch_size,
        add_bos_token=False,
    )


def _again(harness: Any, subject: Subject, example: Example) -> list[int]:
    """The prompt as the harness tokenises its text."""
    ids_1T, _ = harness.tok_batch_encode([subject.tokenizer.decode(example.prompt_ids)])
    return list(ids_1T[0].tolist())


def _instance() -> Any:
    from lm_eval.api.instance import Instance

    return Instance


def _arguments(subject: Subject) -> dict[str, Any]:
    return {
        "output_dir": str(subject.scratch),
        "per_device_eval_batch_size": subject.batch_size,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": subject.model.device.type == "cpu",
        "dataloader_pin_memory": False,
        "log_level": "error",
    }


def _rows(subject: Subject) -> list[dict[str, list[int]]]:
    return [
        {
            "input_ids": list(e.prompt_ids + e.response_ids),
            "labels": [-100] * len(e.prompt_ids) + list(e.response_ids),
        }
        for e in subject.examples
    ]


def _collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    ids_BT, mask_BT = right_padded([row["input_ids"] for row in rows])
    labels_BT, _ = right_padded([row["labels"] for row in rows])
    labels_BT[mask_BT == 0] = -100
    return {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT}
