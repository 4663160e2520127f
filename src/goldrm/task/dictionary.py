"""The vocabulary: tokens to ids and back, and its JSON file."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from goldrm.common.errors import GoldrmError
from goldrm.common.files import read_checked_json, read_text, write_checked_json

PAD, EOS, SEP = "<PAD>", "<EOS>", "<SEP>"
MAX_BYTES = 10_000_000  # of a dictionary file; the notebook's has 2,000


@dataclass(frozen=True)
class Dictionary:
    """The vocabulary: token i is `tokens[i]`. Source: the notebook's step 1.

    Attributes:
        tokens: every token once, in the order of its id (129 in the notebook's).
        max_value: the largest integer that a series may hold; 0..max_value are all tokens.
    """

    tokens: tuple[str, ...]
    max_value: int

    def __post_init__(self) -> None:
        """Refuse a vocabulary that no task can use.

        Raises:
            GoldrmError: for duplicates, or missing specials or integers.
        """
        duplicates = sorted(token for token, count in Counter(self.tokens).items() if count > 1)
        if duplicates:
            raise GoldrmError(f"the dictionary holds {_listed(duplicates)} more than once")
        self.refuse_missing([PAD, EOS, SEP, *map(str, range(self.max_value + 1))])

    def refuse_missing(self, words: Sequence[str]) -> None:
        """Refuse to go on without some words.

        Raises:
            GoldrmError: names those that the dictionary lacks.
        """
        missing = [word for word in words if word not in self.ids]
        if missing:
            raise GoldrmError(
                f"the dictionary lacks {_listed(missing)}, which the task's prompts or answers "
                f"(up to task.max_value, {self.max_value}) need"
            )

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token → id."""
        return {token: token_id for token_id, token in enumerate(self.tokens)}

    @property
    def pad_id(self) -> int:
        """Id of the padding token."""
        return self.ids[PAD]

    @property
    def eos_id(self) -> int:
        """Id of the token that ends a completion."""
        return self.ids[EOS]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's tokens, which white space separates.

        Raises:
            GoldrmError: when a word isn't in the dictionary.
        """
        try:
            return [self.ids[token] for token in text.split()]
        except KeyError as error:
            raise GoldrmError(
                f"{error.args[0]!r} in {text!r:.200} isn't one of the dictionary's "
                f"{len(self)} tokens; words and whole numbers up to {self.max_value} are "
                "separated by spaces"
            ) from None

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of some ids, tokens separated by one space."""
        return " ".join(self.tokens[token_id] for token_id in token_ids)

    @cached_property
    def _integers(self) -> dict[int, int]:
        """The value of each token that stands for an integer 0..max_value, by the token's id."""
        return {self.ids[str(value)]: value for value in range(self.max_value + 1)}

    def integers_in(self, token_ids: Iterable[int]) -> list[int]:
        """The integers among some tokens, in their order; other tokens are left out."""
        return [self._integers[token_id] for token_id in token_ids if token_id in self._integers]

    def save(self, path: Path) -> None:
        """Write a dictionary file for `load`; raises like `write_checked_json`."""
        write_checked_json(path, {"tokens": list(self.tokens)})


def read_tokens(path: Path) -> object:
    """The tokens of somebody's JSON dictionary file, `{"tokens": [strings]}`, unchecked.

    Raises:
        GoldrmError: when the file is missing or isn't such a file.
    """
    try:
        return json.loads(read_text(path, MAX_BYTES))["tokens"]
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. Correct the path.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise GoldrmError(
            f'{path} is not a dictionary file: expected JSON of the form {{"tokens": [...]}}. '
            "Restore it, or point dictionary.source at a good one."
        ) from None


def from_tokens(tokens: object, max_value: int, name: str, words: Sequence[str] = ()) -> Dictionary:
    """A dictionary of the tokens that a file holds, after checking them.

    Args:
        tokens: what stands in the file; it should be a list of strings.
        max_value: the task's largest integer.
        name: what to call the file in messages.
        words: of the task's prompts, which it must hold.

    Raises:
        GoldrmError: when they aren't a list of strings, or can't spell the task.
    """
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise GoldrmError(f"{name}: the tokens must be a list of strings.")
    try:
        dictionary = Dictionary(tuple(tokens), max_value)
        dictionary.refuse_missing(words)
    except GoldrmError as error:
        raise GoldrmError(f"{name}: {error}. Point dictionary.source at a good one.") from None
    return dictionary


def load(path: Path, max_value: int) -> Dictionary:
    """Read what `Dictionary.save` wrote; raises like `read_checked_json` and `from_tokens`."""
    return from_tokens(read_checked_json(path).get("tokens"), max_value, str(path))


def load_source(path: Path, max_value: int, words: Sequence[str] = ()) -> Dictionary:
    """Read somebody's JSON dictionary file; raises like `read_tokens` and `from_tokens`."""
    return from_tokens(read_tokens(path), max_value, str(path), words)


def _listed(tokens: Sequence[str]) -> str:
    shown = ", ".join(f"{token!r:.40}" for token in tokens[:8])
    return shown if len(tokens) <= 8 else f"{shown} and {len(tokens) - 8} more"
