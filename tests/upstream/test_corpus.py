"""A language model of somebody's own corpus: what is read of it, and what is refused."""

import json
from pathlib import Path

import pytest

from goldrm.common.errors import GoldrmError
from goldrm.task.dictionary import Dictionary
from upstream.sft_training import Sequence, corpus_sequences


@pytest.fixture
def words() -> Dictionary:
    return Dictionary(("<PAD>", "<EOS>", "<SEP>", "0", "1", "2", "sort", "up"), max_value=2)


def written(path: Path, *rows: object) -> Path:
    """A corpus with these rows, as JSON."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_prompts_and_completions_by_hand(tmp_path: Path, words: Dictionary):
    corpus = written(
        tmp_path / "corpus.jsonl",
        {"prompt": "sort 2 1 up", "completion": "1 2", "source": "me"},
        {"completion": "0", "prompt": "sort  0 up "},
        {"prompt": "sort up", "completion": ""},
    )
    assert corpus_sequences(corpus, words) == [
        Sequence([6, 5, 4, 7], [4, 5, 1]),  # the answer and the end
        Sequence([6, 3, 7], [3, 1]),
        Sequence([6, 7], [1]),
    ]


def test_sequences_of_a_corpus_are_all_alike(tmp_path: Path, words: Dictionary):
    """There is no telling whether one ends by a count, so none is drawn more often."""
    corpus = written(tmp_path / "corpus.jsonl", {"prompt": "sort up", "completion": "1"})
    assert all(sequence.counted for sequence in corpus_sequences(corpus, words))


def test_same_corpus_as_a_table(tmp_path: Path, words: Dictionary):
    rows = [{"prompt": "sort 2 1 up", "completion": "1 2"}, {"prompt": "up", "completion": "0"}]
    table = tmp_path / "corpus.csv"
    table.write_text("prompt,completion\nsort 2 1 up,1 2\nup,0\n")
    corpus = written(tmp_path / "corpus.jsonl", *rows)
    assert corpus_sequences(table, words) == corpus_sequences(corpus, words)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "sort 3 up", "completion": "1"}, "row 1 (counted from 0): '3' in 'sort 3 up'"),
        ({"prompt": "up", "completion": "1 down"}, "row 1 (counted from 0): 'down' in '1 down'"),
        ({"prompt": "up", "completion": ["1"]}, "row 1 (counted from 0) has"),
        ({"prompt": "", "completion": ""}, "row 1 (counted from 0) has neither a prompt nor"),
        (["up", "1"], "line 2 is"),
    ],
)
def test_rows_of_something_else_are_named(
    tmp_path: Path, words: Dictionary, row: object, sentence: str
):
    corpus = written(tmp_path / "corpus.jsonl", {"prompt": "up", "completion": "1"}, row)
    with pytest.raises(GoldrmError) as error:
        corpus_sequences(corpus, words)
    assert sentence in str(error.value)
    assert str(corpus) in str(error.value)


def test_corpus_without_a_column_or_a_row_is_refused(tmp_path: Path, words: Dictionary):
    corpus = written(tmp_path / "corpus.jsonl", {"prompt": "up", "answer": "1"})
    with pytest.raises(GoldrmError, match="has no column completion; found .prompt, answer"):
        corpus_sequences(corpus, words)
    with pytest.raises(GoldrmError, match=r"empty\.jsonl holds no pairs or completions"):
        corpus_sequences(written(tmp_path / "empty.jsonl"), words)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.jsonl", None, r"none\.jsonl doesn't exist"),
        ("corpus.jsonl", b"up 1\n", r"line 1 isn't JSON"),
        ("corpus.txt", b"up 1\n", r"corpus\.txt must end in \.jsonl"),
    ],
)
def test_unreadable_corpus_is_refused(
    tmp_path: Path, words: Dictionary, name: str, content: bytes | None, sentence: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(GoldrmError, match=sentence):
        corpus_sequences(tmp_path / name, words)
