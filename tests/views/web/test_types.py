"""The front end's types are those of the records."""

from pathlib import Path

from heldout.views.web.types import typescript

GENERATED = Path(__file__).parents[3] / "web" / "src" / "records.ts"


def test_the_generated_types_are_current() -> None:
    message = "run: python -m heldout.views.web.types > web/src/records.ts"
    assert GENERATED.read_text("utf-8") == typescript(), message


def test_every_record_is_a_member_of_the_union_with_its_tag() -> None:
    text = typescript()
    for name in ("Run", "Sample", "EvalResult", "Verdict", "Note"):
        assert f"  | {name}" in text
        assert f'  type: "{name.lower()}";' in text


def test_a_float_may_be_one_of_the_strings_that_stand_for_non_finite_numbers() -> None:
    assert 'export type Float = number | "NaN" | "Infinity" | "-Infinity";' in typescript()
    assert "  em: Float;" in typescript()
    assert "  divergence: number | null;" in typescript()
