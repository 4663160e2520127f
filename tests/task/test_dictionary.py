"""The token dictionary: the notebook's 129 tokens, and what is refused."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import NUM_TEMPLATES, keep_integers, prompt_text
from small_models import ROOT

from goldrm.common.errors import GoldrmError
from goldrm.task.arithmetic_series import ArithmeticSeries
from goldrm.task.dictionary import (
    Dictionary,
    from_tokens,
    load,
    load_source,
    read_tokens,
)
from goldrm.task.params import TASKS, TaskName

NOTEBOOK = load_source(ROOT / "data/source/dictionary.json", max_value=100)
WORDS = {
    word
    for template in range(1, NUM_TEMPLATES + 1)
    for word in prompt_text(template, 1, 2, 3).split()
    if not word.isdigit()
}

# As the notebook prints them.
NOTEBOOK_TOKENS = """\
50 56 62 68 74 80 86 <SEP> 20 24 28 32 36 14 18 22 26 30 34 38 42 46 54 58 53 61 69 77 85 93 37
45 51 66 71 76 81 91 96 0 9 27 19 23 31 35 39 43 47 2 10 33 41 49 57 65 73 89 97 88 29 44 59 64
83 92 95 98 40 15 21 25 55 60 78 87 79 84 94 48 52 90 5 8 11 17 100 99 75 63 67 70 72 3 12 82 1
7 13 16 6 4 generate an arithmetic series with terms starting value and common difference Let be
the number of then write make a type which starts at elements <PAD> <EOS>
"""

token_lists = st.lists(st.sampled_from(NOTEBOOK.tokens), max_size=60)


def test_has_the_notebooks_129_tokens_in_order():
    assert list(NOTEBOOK.tokens) == NOTEBOOK_TOKENS.split()
    assert len(NOTEBOOK) == len(NOTEBOOK.tokens) == 129


@pytest.mark.parametrize(("token", "token_id"), [("50", 0), ("<SEP>", 7), ("<PAD>", 127)])
def test_token_has_its_id(token: str, token_id: int):
    assert NOTEBOOK.ids[token] == token_id
    assert NOTEBOOK.encode(token) == [token_id]
    assert NOTEBOOK.decode([token_id]) == token


def test_specials_have_their_ids():
    assert (NOTEBOOK.pad_id, NOTEBOOK.eos_id) == (127, 128)


def test_words_of_the_prompts_are_the_notebooks():
    assert set(ArithmeticSeries.words) == WORDS
    assert len(ArithmeticSeries.words) == len(WORDS) == 25


@given(token_lists)
def test_encode_inverts_decode(tokens: list[str]):
    token_ids = [NOTEBOOK.tokens.index(token) for token in tokens]
    assert NOTEBOOK.decode(token_ids) == " ".join(tokens)
    assert NOTEBOOK.encode(" ".join(tokens)) == token_ids


@given(token_lists)
def test_integers_are_kept_in_order(tokens: list[str]):
    expected = keep_integers(tokens, max_value=101)  # the notebook's own filter stops one below
    kept = NOTEBOOK.integers_in(NOTEBOOK.encode(" ".join(tokens)))
    assert kept == [int(token) for token in expected]


def test_max_value_is_an_integer_too():
    """The notebook's filter covers 0..99, so that a series up to 100 lost its last term."""
    token_ids = NOTEBOOK.encode("90 <SEP> 100 type 0 <EOS>")
    assert NOTEBOOK.integers_in(token_ids) == [90, 100, 0]


def test_any_white_space_separates_tokens():
    assert NOTEBOOK.encode("  50\t56\n<SEP> ") == [0, 1, 7]


@pytest.mark.parametrize("word", ["101", "-1", "07", "1.5", "Generate", "série", "<pad>", "50,"])
def test_unknown_word_is_named(word: str):
    with pytest.raises(GoldrmError) as error:
        NOTEBOOK.encode(f"50 {word} 89")
    assert f"'{word}'" in str(error.value)


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("arithmetic_series", "data/source/dictionary.json"),
        ("sorting", "upstream/sorting/dictionary.json"),
    ],
)
def test_committed_dictionary_holds_its_tasks_words(task: TaskName, path: str):
    words = TASKS[task].words
    assert load_source(ROOT / path, 100, words) == load_source(ROOT / path, 100)


def test_words_are_asked_for_by_the_task_alone():
    without = [token for token in NOTEBOOK.tokens if token != "elements"]
    assert from_tokens(without, 100, "course.pt").max_value == 100
    with pytest.raises(GoldrmError, match="lacks 'sort', 'numbers'"):
        NOTEBOOK.refuse_missing(["series", "sort", "7", "numbers"])


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"<PAD>"}, "'<PAD>'"),
        ({"<EOS>"}, "'<EOS>'"),
        ({"<SEP>"}, "'<SEP>'"),
        ({"0"}, "'0'"),
        ({"100"}, "'100'"),
        ({"57", "58"}, "'57', '58'"),
        ({"elements"}, "'elements'"),
        ({"Let"}, "'Let'"),
    ],
)
def test_missing_token_is_named(missing: set[str], named: str):
    tokens = [token for token in NOTEBOOK.tokens if token not in missing]
    with pytest.raises(GoldrmError) as error:
        from_tokens(tokens, 100, "course.pt", ArithmeticSeries.words)
    assert "course.pt" in str(error.value)
    assert f"lacks {named}" in str(error.value)


def test_missing_integers_follow_max_value():
    with pytest.raises(GoldrmError, match="'101'.*102"):
        from_tokens(list(NOTEBOOK.tokens), 102, "course.pt")
    without_100 = [token for token in NOTEBOOK.tokens if token != "100"]
    assert from_tokens(without_100, 99, "course.pt").max_value == 99


def test_long_lists_of_missing_tokens_are_cut():
    with pytest.raises(GoldrmError) as error:
        Dictionary(("<PAD>",), 100)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("token", ["50", "<PAD>", "series"])
def test_duplicate_is_named(token: str):
    with pytest.raises(GoldrmError, match=rf"course\.pt.*'{token}' more than once"):
        from_tokens([*NOTEBOOK.tokens, token], 100, "course.pt")


@pytest.mark.parametrize(
    "tokens",
    [
        None,
        "50 89",
        {"50": 0},
        50,
        list(range(129)),
        [*NOTEBOOK.tokens[:-1], None],
        [*NOTEBOOK.tokens[:-1], ["<EOS>"]],
    ],
    ids=["null", "text", "mapping", "number", "numbers", "one null", "one list"],
)
def test_not_a_list_of_texts_is_refused(tokens: object):
    with pytest.raises(GoldrmError, match=r"course\.pt: the tokens must be a list of strings"):
        from_tokens(tokens, 100, "course.pt")


def test_large_dictionary_is_checked_in_linear_time():
    """Counting each token in the whole list took 5 s for these, and hours for a hostile file."""
    tokens = [*NOTEBOOK.tokens, *(f"word{i}" for i in range(20_000))]
    start = time.process_time()
    assert len(from_tokens(tokens, 100, "large.json")) == 20_129
    assert time.process_time() - start < 1


def test_file_round_trip(tmp_path: Path):
    path = tmp_path / "dictionary.json"
    NOTEBOOK.save(path)
    assert load(path, max_value=100) == load_source(path, max_value=100) == NOTEBOOK
    assert json.loads(path.read_text())["tokens"] == list(NOTEBOOK.tokens)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'{"words": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"tokens": ["50", "89"',
    ],
    ids=lambda content: repr(content[:16]),
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "dictionary.json"
    path.write_bytes(content)
    with pytest.raises(GoldrmError, match=r"dictionary\.json is not a dictionary file"):
        read_tokens(path)


def test_missing_file_is_named(tmp_path: Path):
    for read in (load, load_source):
        with pytest.raises(GoldrmError, match=r"dictionary\.json doesn't exist"):
            read(tmp_path / "dictionary.json", max_value=100)


def test_folder_is_refused(tmp_path: Path):
    for read, sentence in ((load, "is damaged"), (load_source, "is not a dictionary file")):
        with pytest.raises(GoldrmError, match=sentence):
            read(tmp_path, max_value=100)


def test_endless_file_is_refused():
    with pytest.raises(GoldrmError, match="is not a dictionary file"):
        load_source(Path("/dev/zero"), max_value=100)
