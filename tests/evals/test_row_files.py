"""Files of every form are read, or refused in a sentence with the right remedy."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from heldout.errors import DataError
from heldout.evals.rows import Row, nothing_in, read, read_rows

ROWS = [{"prompt": f"Say {word}", "response": word} for word in ("oslo", "roma", "29")]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "prompt,response\nSay oslo,oslo\n\nSay roma,roma\nSay 29,29\n"
COLUMNS = {"prompt": [row["prompt"] for row in ROWS], "response": [row["response"] for row in ROWS]}


def said(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.prompt, row.response) for row in rows]


WANTED = [(row["prompt"], row["response"]) for row in ROWS]


def parquet() -> bytes:
    data = io.BytesIO()
    datasets.Dataset.from_list(ROWS).to_parquet(data)
    return data.getvalue()


READ: dict[str, str | bytes] = {
    "lines.jsonl": LINES,
    "lines.txt": LINES,
    "cr.jsonl": LINES.replace("\n", "\r"),
    "packed.jsonl.gz": gzip.compress(LINES.encode()),
    "array.json": json.dumps(ROWS),
    "indented.json": json.dumps(ROWS, indent=2),
    "array.jsonl": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "objects.json": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "data.json": json.dumps({"version": "1", "data": ROWS}),
    "split.json": json.dumps({"train": ROWS}, indent=2),
    "columns.json": json.dumps(COLUMNS),
    "table.csv": TABLE,
    "bom.csv": b"\xef\xbb\xbf" + TABLE.encode(),
    "semicolons.csv": TABLE.replace(",", ";"),
    "table.tsv": TABLE.replace(",", "\t"),
    "table.csv.gz": gzip.compress(TABLE.encode()),
    "table.parquet": parquet(),
}


def written(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_the_same_rows_are_read_from_every_form_of_file(tmp_path: Path) -> None:
    wrong = {}
    for name, data in READ.items():
        rows, left_out = read_rows(written(tmp_path, name, data))
        if left_out or said(rows) != WANTED:
            wrong[name] = (said(rows), left_out)
    assert wrong == {}


def test_rows_are_named_by_their_line_where_they_have_one(tmp_path: Path) -> None:
    def lines(name: str) -> list[int]:
        return [row.line for row in read_rows(written(tmp_path, name, READ[name]))[0]]

    assert lines("table.csv") == [2, 4, 5]
    assert lines("objects.json") == [1, 5, 9]
    assert lines("indented.json") == lines("table.parquet") == [1, 2, 3]


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "a.jsonl": (LINES.encode("utf-16-le"), "it is UTF-16. Save it as UTF-8. (iconv -f UTF-16LE"),
    "b.jsonl": (LINES.encode("utf-16-be"), "it is UTF-16. Save it as UTF-8. (iconv -f UTF-16BE"),
    "c.jsonl": (LINES.encode("utf-32"), "it is UTF-32. Save it as UTF-8."),
    "d.jsonl": ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7\n", "git lfs pull"),
    "e.jsonl": ("\n<!DOCTYPE html>\n<html><body>404</body></html>\n", "it is a web page or XML"),
    "f.csv": (b"PK\x03\x04rest", "an Excel sheet. Unpack it, or save it as CSV."),
    "g.jsonl.gz": (gzip.compress(LINES.encode())[:-12], "its gzip data is damaged"),
    "h.parquet": (b"PAR1 nothing", "cannot be read as Parquet"),
    "i.json": (
        json.dumps({"train": ROWS, "test": ROWS}),
        "it holds the splits train, test. Give one",
    ),
    "j.json": (json.dumps({**COLUMNS, "n": [1]}), "not of one length: prompt 3, response 3, n 1"),
    "k.csv": ("prompt,prompt\na,b\n", "two columns are called 'prompt'"),
    "l.csv": ("prompt,response\ncaf\u00e9,x\n".encode("latin-1"), "csv:2: not UTF-8."),
}


def test_files_that_hold_no_rows_are_refused_with_the_remedy(tmp_path: Path) -> None:
    wrong = {}
    for name, (data, wanted) in BROKEN.items():
        path = written(tmp_path, name, data)
        try:
            wrong[name] = str(read(path))
        except DataError as error:
            if wanted not in str(error) or not str(error).startswith(str(path)):
                wrong[name] = str(error)
    assert wrong == {}


GOOD = json.dumps(ROWS[0])
BAD_LINES: list[tuple[str, str]] = [
    ("# my set", "it is a comment, which JSON does not have. Remove it."),
    (GOOD + ",", "a comma stands behind the object. JSON Lines has none there: remove it."),
    (str(ROWS[0]), "it is a Python dict, not JSON. Write rows with json.dumps(row)."),
    (GOOD[:-1] + ",}", "Remove the comma before }."),
    ('{"prompt": "a\tb", "response": "c"}', "Write it as an escape, such as \\t or \\n."),
    (
        '{"prompt": "a", "response": "b", "response": "c"}',
        "'response' stands in it twice. Remove one.",
    ),
    ('{"prompt": "a", "response": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
]


def test_a_bad_line_is_named_with_its_remedy_and_the_others_count(tmp_path: Path) -> None:
    wrong = []
    for line, wanted in BAD_LINES:
        path = written(tmp_path, "set.jsonl", f"{GOOD}\n{line}\n{GOOD}\n")
        rows, left_out = read_rows(path)
        (sentence,) = left_out
        if len(rows) != 2 or f"{path}:2: " not in sentence or wanted not in sentence:
            wrong.append((line, left_out))
    assert wrong == []
    same = read_rows(written(tmp_path, "set.jsonl", GOOD[:-1] + ', "response": "oslo"}'))
    assert (said(same[0]), same[1]) == (WANTED[:1], [])


def test_a_broken_array_gives_the_rows_before_and_says_so(tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=2)
    rows, (sentence,) = read_rows(written(tmp_path, "a.json", text[: text.rindex("{") + 8]))
    assert said(rows) == WANTED[:2]
    assert ":3: not JSON" in sentence
    assert sentence.endswith("the rows from here on are not read")
    rows, (sentence,) = read_rows(written(tmp_path, "b.csv", TABLE + 'Say x,"x\n'))
    assert said(rows) == WANTED
    assert ":6: not CSV" in sentence
    _, (sentence,) = read_rows(written(tmp_path, "c.csv", "prompt,response\na,b,c\n"))
    assert sentence.endswith(":2: 3 cells under 2 columns")


def test_without_pyarrow_a_parquet_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "rows.parquet", READ["table.parquet"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="reading Parquet takes pyarrow: pip install pyarrow"):
        read(path)


def test_rows_in_memory_are_the_same_rows() -> None:
    table = datasets.Dataset.from_list(ROWS)
    wrong = {}
    for name, source in {
        "list": ROWS,
        "tuple": tuple(ROWS),
        "dataset": table,
        "columns": COLUMNS,
        "split": datasets.DatasetDict({"test": table}),
    }.items():
        found = read(source)
        if (found.name, said(found.rows), found.left_out) != ("", WANTED, []):
            wrong[name] = found
    assert wrong == {}
    assert [row.place for row in read(ROWS).rows] == ["row 1", "row 2", "row 3"]


def test_what_is_no_rows_in_memory_is_refused_with_what_would_do() -> None:
    table = datasets.Dataset.from_list(ROWS)
    refused: list[tuple[Any, str]] = [
        (datasets.DatasetDict({"train": table, "test": table}), "it holds the splits train, test"),
        (table.to_iterable_dataset(), r"a stream: take as many as you need, list\(stream.take"),
        (table.to_pandas(), r"from a DataFrame: give Dataset.from_pandas\(frame\)"),
        (7, "cannot be read from a int: give a path, a list of dicts"),
        ({"prompt": "a", "response": "b"}, "are one dict: give a path, a list of dicts"),
    ]
    for source, wanted in refused:
        with pytest.raises(DataError, match=wanted):
            read(source)


def test_a_file_of_one_row_is_no_table(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for row in (
        {"messages": turns},
        {"prompt": turns[:1], "completion": turns[1:]},
        {"prompt": "a", "response": ["b"]},
    ):
        (one,) = read_rows(written(tmp_path, "one.jsonl", json.dumps(row)))[0]
        assert (one.prompt, one.response) == ("a", "b")
    columns = json.dumps({"messages": [turns, turns]})
    assert len(read_rows(written(tmp_path, "columns.json", columns))[0]) == 2


def test_one_reason_is_told_once() -> None:
    reasons = ["f:1: its text is bad", "f:2: its text is bad", "f:3: other"]
    told = nothing_in("f", reasons)
    assert told == "f: no usable example.\nf:1 and 1 more rows: its text is bad\nf:3: other"
    assert nothing_in("f", []) == "f: no usable example. It is empty."
