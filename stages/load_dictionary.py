"""Stage load_dictionary: the token dictionary, checked, as data/dictionary.json."""

from pathlib import Path

from goldrm import course, dictionary
from goldrm.checkpoint import write_whole
from goldrm.config import Params, load_params
from goldrm.paths import DICTIONARY
from goldrm.stage import run_stage


def load_dictionary(params: Params, _work: Path) -> None:
    """`dictionary.source`, JSON or the course's .pt → data/dictionary.json."""
    source = Path(params.dictionary.source)
    tokens = (
        dictionary.read_tokens(source)
        if source.suffix == ".json"
        else course.read_dictionary_tokens(source)
    )
    loaded = dictionary.from_tokens(tokens, params.task.max_value, str(source))
    write_whole(DICTIONARY, loaded.to_json().encode())


if __name__ == "__main__":
    run_stage(load_params, load_dictionary)
