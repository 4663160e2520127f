"""The pairs that users bring: one table, one result, whatever file it comes in."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.commands.pairs_file import Pairs, read_pairs
from goldrm.common.errors import GoldrmError

PAIRS = [
    {"prompt": "second prompt", "chosen": "7", "rejected": "1 2 3"},
    {"prompt": "first prompt", "chosen": "10 20", "rejected": "07"},
    {"prompt": "second prompt", "chosen": "7 8", "rejected": "0"},
]
FORMATS = ["jsonl", "csv", "parquet"]
Row = dict[str, Any]


def write_pairs(path: Path, rows: list[Row]) -> Path:
    """A user's file, written without our code; a CSV file has no other null than an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    else:
        columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
        pq.write_table(pa.table(columns), path)
    return path


def texts_of(rows: list[Row]) -> Pairs:
    """What should be read, where all is text."""
    return Pairs(*([row[name] for row in rows] for name in Pairs._fields))


def result_of(path: Path) -> Pairs | str:
    """The pairs of a file, or the sentence about it, without the words of its format."""
    try:
        return read_pairs(path)
    except GoldrmError as error:
        sentence = str(error).replace(str(path), "FILE")
    assert "FILE" in sentence
    assert "\n" not in sentence
    return sentence


@pytest.fixture(params=FORMATS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where to write pairs, in each of the three formats."""
    return tmp_path / f"pairs.{request.param}"


# One table, three formats

words = st.sampled_from(
    [
        *(
            "",
            " ",
            "7",
            "07",
            "1e2",
            "7.0",
            "-0",
            "NA",
            "NaN",
            "nan",
            "null",
            "None",
            "N/A",
            "true",
        ),
        *("3 7 11", 'a "quoted" word', "a, b", "'", '"', "a\nb", "a\r\nb", "a\tb", "\\", "#", "=1"),
        *("\ufeffa", "a\u2028b", "ä", "\U0001f600", "<PAD>", "[1, 2]", '{"a": 1}', "\x0b", "\x00"),
    ]
)
texts = st.one_of(words, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
rows_of_texts = st.fixed_dictionaries(
    {"prompt": texts, "chosen": st.one_of(texts, st.none()), "rejected": texts},
    optional={"note": texts, "prompt_id": st.text(max_size=0)},
)


@settings(max_examples=300)
@given(st.lists(rows_of_texts, min_size=1, max_size=4))
def test_one_table_gives_one_result_in_all_formats(rows: list[Row]):
    """The same texts or the same sentence; empty texts and nulls are what CSV can't tell apart."""
    with TemporaryDirectory() as folder:
        results = [result_of(write_pairs(Path(folder) / f"a.{end}", rows)) for end in FORMATS]
    assert results[0] == results[1] == results[2]
    if isinstance(results[0], Pairs):
        assert results[0] == texts_of([{**row, "chosen": row["chosen"] or ""} for row in rows])
    else:
        assert "neither a prompt nor a completion" in results[0]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), min_size=1, max_size=4))
def test_whole_numbers_are_texts_even_beside_nulls(numbers: list[int | None]):
    """A completion of one number, 7, stays "7": pandas makes 7.0 of it where another is missing."""
    rows = [{"prompt": "p", "chosen": number, "rejected": 3} for number in numbers]
    expected = ["" if number is None else str(number) for number in numbers]
    with TemporaryDirectory() as folder:
        for end in FORMATS:
            found = read_pairs(write_pairs(Path(folder) / f"a.{end}", rows))
            assert (found.chosen, found.rejected) == (expected, ["3"] * len(rows))


def test_pairs_keep_the_files_order(file: Path):
    assert read_pairs(write_pairs(file, PAIRS)) == texts_of(PAIRS)


def test_missing_file_is_named(file: Path):
    with pytest.raises(GoldrmError, match=f"{file.name} doesn't exist"):
        read_pairs(file)


def test_folder_is_refused(file: Path):
    file.mkdir()
    with pytest.raises(GoldrmError, match=file.name):
        read_pairs(file)


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
def test_missing_column_is_named(file: Path, column: str):
    rows = [{name: text for name, text in row.items() if name != column} for row in PAIRS]
    with pytest.raises(GoldrmError, match=rf"{file.name} has no column {column}; found 'prompt|ch"):
        read_pairs(write_pairs(file, rows))


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_empty_text_is_a_text(file: Path, column: str, value: str | None):
    found = read_pairs(write_pairs(file, [PAIRS[0], {**PAIRS[1], column: value}, PAIRS[2]]))
    assert getattr(found, column)[1] == (value or "")


def test_row_without_a_word_is_named(file: Path):
    rows = [PAIRS[0], {"prompt": "", "chosen": "7", "rejected": None}]
    with pytest.raises(GoldrmError, match=rf"{file.name}: row 1 .* neither a prompt nor"):
        read_pairs(write_pairs(file, rows))


@pytest.mark.parametrize("value", [[7], {"a": 7}, [], True], ids=str)
@pytest.mark.parametrize("end", ["jsonl", "parquet"])
def test_value_that_is_no_text_is_named(tmp_path: Path, end: str, value: Any):
    rows = [{**PAIRS[0], "chosen": value}]
    with pytest.raises(GoldrmError, match=r"row 0 .* as chosen, which is no text"):
        read_pairs(write_pairs(tmp_path / f"pairs.{end}", rows))


@pytest.mark.parametrize("end", FORMATS)
def test_file_without_rows_is_named(tmp_path: Path, end: str):
    path = tmp_path / f"pairs.{end}"
    if end == "parquet":
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in Pairs._fields}), path)
    else:
        path.write_text("prompt,chosen,rejected\n" if end == "csv" else "\n")
    with pytest.raises(GoldrmError, match="holds no pairs"):
        read_pairs(path)


# Columns that aren't used


@pytest.mark.parametrize(
    "other", [None, "", "x" * 300_000, "\x00", 0.5, 10**30, [[1], [2]], {"chosen": {"a": []}}, True]
)
def test_other_columns_cannot_refuse_a_file(file: Path, other: Any):
    if other == 10**30 and file.suffix == ".parquet":
        other = 10**18
    rows = [{"first": other, **row, "note": other} for row in PAIRS]
    assert read_pairs(write_pairs(file, rows)) == texts_of(PAIRS)


def test_number_of_other_columns_may_be_of_any_length(tmp_path: Path):
    """Python refuses to read whole numbers of more than 4300 digits."""
    line = json.dumps(PAIRS[0]).replace("{", '{"note": ' + "9" * 5000 + ", ", 1)
    (tmp_path / "pairs.jsonl").write_text(line)
    assert read_pairs(tmp_path / "pairs.jsonl") == texts_of(PAIRS[:1])


def test_other_columns_may_be_there_twice_and_be_no_utf_8(tmp_path: Path):
    names = ["note", *Pairs._fields, "note"]
    table = pa.table([pa.array(["x"])] * 5, names=names)
    pq.write_table(table, tmp_path / "pairs.parquet")
    (tmp_path / "pairs.csv").write_bytes((",".join(names) + "\n\xe4,x,x,x,\xe4\n").encode("latin1"))
    line = '{"note": "\xe4", "note": 1, "prompt": "x", "chosen": "x", "rejected": "x"}'
    (tmp_path / "pairs.jsonl").write_bytes(line.encode("latin1"))
    for end in FORMATS:
        assert read_pairs(tmp_path / f"pairs.{end}") == Pairs(["x"], ["x"], ["x"])


def test_pandas_index_is_another_column(file: Path):
    table = pd.DataFrame(PAIRS, index=pd.Index(["a", "b", "c"]))
    if file.suffix == ".jsonl":
        table.reset_index().to_json(file, orient="records", lines=True)
    else:
        write: Callable[[Path], object] = table.to_csv if "csv" in file.name else table.to_parquet
        write(file)
    assert read_pairs(file) == texts_of(PAIRS)


def test_column_that_is_there_twice_is_named(tmp_path: Path):
    names = ["prompt", "chosen", "chosen", "rejected"]
    pq.write_table(pa.table([pa.array(["x"])] * 4, names=names), tmp_path / "pairs.parquet")
    (tmp_path / "pairs.csv").write_text(",".join(names) + "\nx,x,x,x\n")
    (tmp_path / "pairs.jsonl").write_text(
        '{"prompt": "x", "chosen": "x", "chosen": "y", "rejected": "x"}'
    )
    for end, named in (("parquet", "several"), ("csv", "several"), ("jsonl", "twice")):
        with pytest.raises(GoldrmError, match=rf"{named}|chosen {named}"):
            read_pairs(tmp_path / f"pairs.{end}")


# What each format may look like


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_may_end_lines_in_any_way(tmp_path: Path, mark: str, end: str):
    lines = ["prompt,chosen,rejected", '"p, ""q""",7,', ""]
    text = mark + (end or "\n").join(lines[: 3 if end else 2])
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8", newline="")
    assert read_pairs(tmp_path / "pairs.csv") == Pairs(['p, "q"'], ["7"], [""])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\n \n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_jsonl_may_end_lines_in_any_way(tmp_path: Path, mark: str, end: str):
    text = mark + end.join([*map(json.dumps, PAIRS), ""])
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8", newline="")
    assert read_pairs(tmp_path / "pairs.jsonl") == texts_of(PAIRS)


def test_missing_keys_are_empty_texts(tmp_path: Path):
    rows = [PAIRS[0], {"prompt": "p", "chosen": "7"}]
    found = read_pairs(write_pairs(tmp_path / "pairs.jsonl", rows))
    assert found.rejected == ["1 2 3", ""]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_parquet_may_have_any_type_of_text(tmp_path: Path, kind: pa.DataType):
    values = pa.array(["7", None, "7", "1 2"]).cast(
        kind if kind != pa.string_view() else pa.string()
    )
    table = pa.table({"prompt": pa.array(["p"] * 4), "chosen": values, "rejected": values})
    pq.write_table(table, tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path / "pairs.parquet").chosen == ["7", "", "7", "1 2"]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.null(), pa.decimal128(20, 0)], ids=str)
def test_parquet_may_have_any_type_of_whole_number(tmp_path: Path, kind: pa.DataType):
    values = pa.array([None, None if kind == pa.null() else 7]).cast(kind)
    table = pa.table({"prompt": ["p", "p"], "chosen": values, "rejected": values})
    pq.write_table(table, tmp_path / "pairs.parquet")
    expected = ["", "" if kind == pa.null() else "7"]
    assert read_pairs(tmp_path / "pairs.parquet").chosen == expected


@pytest.mark.parametrize("name", ["pairs.txt", "pairs", "pairs.json", "pairs.CSV", "pairs.csv.gz"])
def test_unknown_suffix_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_text("prompt,chosen,rejected\n")
    with pytest.raises(GoldrmError, match=r"must end in \.jsonl, \.csv, \.parquet"):
        read_pairs(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("pairs.jsonl", b"", "no pairs"),
        ("pairs.jsonl", b"{", "line 1 isn't JSON"),
        ("pairs.jsonl", b'{"prompt": "a"}\n{"prompt"', "line 2 isn't JSON"),
        ("pairs.jsonl", b"1\n2\n", "line 1 is '1'; write an object a line"),
        ("pairs.jsonl", b'[{"prompt": "a"}]', "line 1 is "),
        ("pairs.jsonl", b"\xff\xfe", "UTF-16"),
        ("pairs.jsonl", b"[" * 100_000, "line 1 isn't JSON"),
        ("pairs.csv", b"", "no pairs"),
        ("pairs.csv", b"\xff\xfe", "UTF-16"),
        ("pairs.csv", b'prompt,chosen,rejected\n"a', "can't be read"),
        ("pairs.csv", b"prompt,chosen,rejected\na,b,c\na,b,c,d\n", "row 1, .* 4 values"),
        ("pairs.csv", b"prompt;chosen;rejected\na;b;c\n", "found 'prompt;chosen;rejected'"),
        ("pairs.parquet", b"", "can't be read"),
        ("pairs.parquet", b"PAR1PAR1", "can't be read"),
        ("pairs.parquet", b"prompt,chosen,rejected\n", "can't be read"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_damaged_pairs_are_named(tmp_path: Path, name: str, content: bytes, named: str):
    (tmp_path / name).write_bytes(content)
    assert re.search(named, str(result_of(tmp_path / name)))
