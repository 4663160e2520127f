"""Stage load_dictionary: the token dictionary, checked, as data/dictionary.json."""

from pathlib import Path

from goldrm.common.params import Section
from goldrm.course import files as course
from goldrm.pipeline.paths import DICTIONARY
from goldrm.pipeline.stage import Run, run_stage
from goldrm.task import dictionary
from goldrm.task.params import TASKS, DictionaryParams, VocabularyParams


class Params(Section):
    """What the stage reads of params.yaml."""

    dictionary: DictionaryParams
    task: VocabularyParams


def load_dictionary(params: Params, _run: Run) -> None:
    """`dictionary.source`, JSON or the course's .pt → data/dictionary.json."""
    source = Path(params.dictionary.source)
    tokens = (
        dictionary.read_tokens(source)
        if source.suffix == ".json"
        else course.read_dictionary_tokens(source)
    )
    words = TASKS[params.task.name].words
    loaded = dictionary.from_tokens(tokens, params.task.max_value, str(source), words)
    loaded.save(DICTIONARY)


if __name__ == "__main__":
    run_stage(Params, load_dictionary)
