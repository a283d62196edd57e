"""The demo's data: reproducible, true, disjoint, and starved of 'reasoning' and nothing else."""

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ("train.jsonl", "fixed_eval.jsonl")
PATTERNS = {"factual", "reasoning", "creative", "coding", "math"}
KEYWORDS = {
    "factual": r"\b(what|which|who|where|when|capital|continent|symbol|atomic|element)\b",
    "reasoning": r"\b(deduce|in what order|(old|young|tall|short|fast|slow|heavi|light)(est|er))\b",
    "creative": r"\bwrite an? .*\b(poem|rhyme|story|chant|verse)\b",
    "coding": r"\b(python|code|function|print)\b",
    "math": r"\b(compute|calculate|sum|product)\b|\d\s+[-+*/]\s+\d",
}


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def prompt(row: dict[str, Any]) -> str:
    return str(row["messages"][-2]["content"])


def response(row: dict[str, Any]) -> str:
    return str(row["messages"][-1]["content"])


@pytest.fixture(scope="module")
def train() -> list[dict[str, Any]]:
    return load(EXAMPLES / "train.jsonl")


@pytest.fixture(scope="module")
def held_out() -> list[dict[str, Any]]:
    return load(EXAMPLES / "fixed_eval.jsonl")


@pytest.fixture(scope="module")
def both(train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return train + held_out


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", EXAMPLES / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_data"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def generate(directory: Path, *arguments: str) -> None:
    command = [sys.executable, str(EXAMPLES / "make_data.py"), "--directory", str(directory)]
    subprocess.run([*command, *arguments], check=True)


def five_grams(text: str) -> frozenset[str]:
    return frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4)))


def normalised(row: dict[str, Any]) -> str:
    return " ".join(prompt(row).casefold().split())


def near_duplicates(
    rows: list[dict[str, Any]], others: list[dict[str, Any]]
) -> list[tuple[str, str]]:
    """Pairs of prompts with the same words in any order, or a 5-gram Jaccard of 0.9 and more."""

    def key(row: dict[str, Any]) -> tuple[str, str, tuple[str, ...], frozenset[str]]:
        text = normalised(row)
        return row["id"], text, tuple(sorted(re.findall(r"\w+", text))), five_grams(text)

    def alike(grams: frozenset[str], others: frozenset[str]) -> bool:
        few, many = sorted((len(grams), len(others)))
        if few < 0.9 * many:  # then so few of them are shared that there is no need to look
            return False
        shared = len(grams & others)
        return shared >= 0.9 * (few + many - shared)

    keyed_others = [key(other) for other in others]
    return [
        (text, other_text)
        for row_id, text, words, grams in map(key, rows)
        for other_id, other_text, other_words, other_grams in keyed_others
        if row_id != other_id and (words == other_words or alike(grams, other_grams))
    ]


def test_the_generator_writes_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    generate(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_more_reasoning_rows_leave_the_evaluation_set_and_the_disjointness_alone(
    tmp_path: Path, held_out: list[dict[str, Any]]
) -> None:
    generate(tmp_path, "--reasoning-rows", "300")
    assert (tmp_path / FILES[1]).read_bytes() == (EXAMPLES / FILES[1]).read_bytes()
    fed = load(tmp_path / FILES[0])
    assert Counter(row["pattern"] for row in fed)["reasoning"] == 300
    assert near_duplicates(fed, held_out) == []


def test_every_row_is_a_chat_of_system_user_and_assistant(both: list[dict[str, Any]]) -> None:
    for row in both:
        assert list(row) == ["id", "pattern", "messages"]
        assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
        assert all(m["content"] == m["content"].strip() != "" for m in row["messages"])


def test_ids_are_unique_over_both_files(both: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in both}) == len(both)


def test_each_file_holds_the_five_patterns(
    train: list[dict[str, Any]], held_out: list[dict[str, Any]]
) -> None:
    for rows in (train, held_out):
        assert {row["pattern"] for row in rows} == PATTERNS


def test_reasoning_is_starved_in_training_and_not_in_evaluation(
    train: list[dict[str, Any]], held_out: list[dict[str, Any]]
) -> None:
    trained = Counter(row["pattern"] for row in train)
    asked = Counter(row["pattern"] for row in held_out)
    assert trained["reasoning"] < 0.03 * len(train)
    assert all(trained[p] > 0.15 * len(train) for p in PATTERNS - {"reasoning"})
    assert all(asked[p] >= 40 for p in PATTERNS)


def test_no_training_prompt_repeats_an_evaluation_prompt(
    train: list[dict[str, Any]], held_out: list[dict[str, Any]]
) -> None:
    assert {normalised(row) for row in train}.isdisjoint(normalised(row) for row in held_out)


def test_no_training_prompt_is_a_near_duplicate_of_an_evaluation_prompt(
    train: list[dict[str, Any]], held_out: list[dict[str, Any]]
) -> None:
    assert near_duplicates(train, held_out) == []


def test_no_two_evaluation_prompts_are_near_duplicates(held_out: list[dict[str, Any]]) -> None:
    assert near_duplicates(held_out, held_out) == []


def test_no_training_prompt_occurs_twice(train: list[dict[str, Any]]) -> None:
    assert [text for text, n in Counter(map(normalised, train)).items() if n > 1] == []


def test_the_near_duplicate_check_sees_a_swapped_sum_and_a_changed_letter() -> None:
    def row(row_id: str, text: str) -> dict[str, Any]:
        return {"id": row_id, "messages": [{"content": text}, {"content": "-"}]}

    long = "Write a counting rhyme about three silver frogs on the sunny beach by the old harbor"
    assert near_duplicates([row("a", "Compute 3 + 14.")], [row("b", "compute 14  + 3.")])
    assert near_duplicates([row("a", long + ".")], [row("b", long + "!")])
    assert not near_duplicates([row("a", "Compute 3 + 14.")], [row("b", "Compute 3 + 15.")])


@pytest.mark.parametrize("slot", ["countries", "elements", "animals", "words", "name_trios"])
def test_training_and_evaluation_draw_from_different_values(
    generator: ModuleType, slot: str
) -> None:
    train_slots, eval_slots = generator.split_slots(generator.Random(f"{generator.SEED} split"))
    ours, theirs = getattr(train_slots, slot), getattr(eval_slots, slot)
    assert len(ours) > len(theirs) > 0
    assert set(ours).isdisjoint(theirs)


def test_no_evaluation_country_or_element_is_named_in_a_factual_training_row(
    generator: ModuleType, train: list[dict[str, Any]]
) -> None:
    _, eval_slots = generator.split_slots(generator.Random(f"{generator.SEED} split"))
    text = "\n".join(
        f"{prompt(row)} {response(row)}" for row in train if row["pattern"] == "factual"
    )
    for name in [x.name for x in (*eval_slots.countries, *eval_slots.elements)]:
        assert not re.search(rf"\b{name}\b", text, re.IGNORECASE), name


def test_the_fact_tables_are_unique_and_complete(generator: ModuleType) -> None:
    countries, elements = generator.countries(), generator.elements()
    for values in (
        [c.name for c in countries],
        [c.capital for c in countries],
        [e.name for e in elements],
        [e.symbol for e in elements],
    ):
        assert [v for v, n in Counter(values).items() if n > 1] == []
    assert [e.number for e in elements] == list(range(1, 93))
    spot_checks = {"gold": ("Au", 79), "iron": ("Fe", 26), "uranium": ("U", 92), "tin": ("Sn", 50)}
    by_name = {e.name: (e.symbol, e.number) for e in elements}
    assert {name: by_name[name] for name in spot_checks} == spot_checks


def test_every_factual_answer_is_in_the_tables(
    generator: ModuleType, both: list[dict[str, Any]]
) -> None:
    truth = {}
    for c in generator.countries():
        truth[f"What is the capital of {c.name}?"] = c.capital
        truth[f"Which continent is {c.name} on?"] = c.continent
    for e in generator.elements():
        truth[f"What is the chemical symbol of {e.name}?"] = e.symbol
        truth[f"What is the atomic number of {e.name}?"] = str(e.number)
        truth[f"Which element has the symbol {e.symbol}?"] = e.name.capitalize()
    factual = [row for row in both if row["pattern"] == "factual"]
    assert [(prompt(r), response(r)) for r in factual if truth[prompt(r)] != response(r)] == []


def answer(question: str) -> str:
    """Work a math prompt out from its text alone."""
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    if "sums from" in question:
        first, low, _, high = numbers
        return "\n".join(f"{first} + {n} = {first + n}" for n in range(low, high + 1))
    if "every number" in question:
        first, last, step = numbers
        assert (last - first) % step == 0
        return " ".join(str(n) for n in range(first, last + 1, step))
    a, b = numbers
    if "product" in question:
        return f"{a} * {b} = {a * b}"
    return f"{a} + {b} = {a + b}" if "+" in question else f"{a} - {b} = {a - b}"


def test_every_math_answer_is_right(both: list[dict[str, Any]]) -> None:
    math = [row for row in both if row["pattern"] == "math"]
    assert [prompt(row) for row in math if answer(prompt(row)) != response(row)] == []


def test_every_coding_answer_is_what_python_prints(
    both: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for row in both:
        if row["pattern"] == "coding":
            exec(prompt(row).split("\n", 1)[1], {})
            assert capsys.readouterr().out == response(row) + "\n"


def test_every_puzzle_has_one_solution_and_it_is_the_response(both: list[dict[str, Any]]) -> None:
    most = {"taller", "older", "faster", "heavier"}
    for row in both:
        if row["pattern"] != "reasoning":
            continue
        clues = [
            (a, b) if word in most else (b, a)
            for a, word, b in re.findall(r"(\w+) is (\w+) than (\w+)\.", prompt(row))
        ]
        names = {name for clue in clues for name in clue}
        orders = [
            order
            for order in permutations(names)
            if all(order.index(a) < order.index(b) for a, b in clues)
        ]
        assert [" > ".join(order) for order in orders] == [response(row)]


def test_every_counting_rhyme_counts_down_to_none(both: list[dict[str, Any]]) -> None:
    for row in both:
        if "counting rhyme" in prompt(row):
            [start] = map(int, re.findall(r"\d+", prompt(row)))
            lines = response(row).splitlines()
            assert [int(line.split()[0]) for line in lines[0::4]] == list(range(start, 0, -1))
            assert lines[-1].startswith("there will be no ")


def test_every_prompt_carries_the_words_of_its_own_pattern_only(
    both: list[dict[str, Any]],
) -> None:
    for row in both:
        hits = {p for p, regex in KEYWORDS.items() if re.search(regex, prompt(row), re.IGNORECASE)}
        assert hits == {row["pattern"]}, prompt(row)


def test_three_length_bins_hold_ten_evaluation_rows_each(
    held_out: list[dict[str, Any]], smollm2: tuple[Any, Any]
) -> None:
    """Counted with the demo model's own tokenizer, end of turn included."""
    tokenizer = smollm2[1]
    counts: Counter[tuple[str, int]] = Counter()
    for row in held_out:
        num_tokens = len(tokenizer(response(row))["input_ids"]) + 1
        bin_name = next(b for b in (100, 300, 500) if num_tokens <= b)
        counts[row["pattern"], bin_name] += 1
    assert all(counts[pattern, 100] >= 10 for pattern in PATTERNS)
    assert all(counts[pattern, 300] >= 10 for pattern in ("coding", "creative", "math"))
    assert counts["creative", 500] >= 10
