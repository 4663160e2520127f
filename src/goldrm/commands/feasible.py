"""Whether a run with these parameters can begin at all, as far as can be told at its start.

What couldn't would otherwise end in a sentence all the same, but after hours of sampling.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.course.files import read_dictionary_tokens
from goldrm.generation.decoding import refuse_longer
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import read_source
from goldrm.generation.source_dataset import SourceDataset
from goldrm.lm.sizes import BackboneSizes
from goldrm.pipeline import paths
from goldrm.reward_model.build import refuse_missing_layers
from goldrm.sft.source import fetch_sft
from goldrm.task import dictionary
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import TASKS
from goldrm.task.splits import SPLITS
from goldrm.task.task import Task
from goldrm.training.params import refuse_unranked

# What stages write, and DVC removes before they do.
OUTPUTS = (
    paths.DICTIONARY,
    paths.SFT,
    paths.PAIRS,
    paths.COMPLETIONS,
    paths.EXAMPLES,
    paths.MODELS,
    paths.EVALUATION,
    paths.POLICIES,
)


def refuse_infeasible(params: Params) -> None:
    """Refuse parameters and files with which some stage can't work.

    Raises:
        GoldrmError: names the parameter, or both that don't go together.
    """
    _refuse_outputs(params)
    tokens = _dictionary(params)
    task = Task(tokens, params.task, params.gold_reward)
    _refuse_unfilled_splits(task)
    if params.pairs.source is not None:
        labelled = PreferenceDataset("train", params.pairs.num_wanted("train"), task)
        pairs = read_source(Path(params.pairs.source), task)
        source = SourceDataset(labelled, task)
        source.collect(pairs, params.pairs.source)
        if len(source.preferences):
            for name, recipe in params.models.items():
                refuse_unranked(recipe.training, f"models.{name}.training.")
    if "://" not in params.sft.source:
        _refuse_other_sizes(params, _local_sizes(params, tokens), task)


def _refuse_outputs(params: Params) -> None:
    for name, source in (("dictionary", params.dictionary.source), ("sft", params.sft.source)):
        path = Path(source).absolute()
        if any(path.is_relative_to(own.absolute()) for own in OUTPUTS):
            raise GoldrmError(
                f"{name}.source is {source}, which `dvc repro` removes and makes again. Copy it to "
                "another folder, and name that."
            )


def _dictionary(params: Params) -> Dictionary:
    source = Path(params.dictionary.source)
    is_json = source.suffix == ".json"
    tokens = (dictionary.read_tokens if is_json else read_dictionary_tokens)(source)
    words = TASKS[params.task.name].words
    return dictionary.from_tokens(tokens, params.task.max_value, str(source), words)


def _refuse_unfilled_splits(task: Task) -> None:
    for split in SPLITS:
        if not any(split == "test" or not task.is_held_out(i) for i in task.ids_in(split)):
            raise GoldrmError(
                f"task.{task.params.name}.holdout names all prompts of the {split} split, so that "
                "none is left to train on. Shorten it."
            )


def _local_sizes(params: Params, tokens: Dictionary) -> BackboneSizes:
    with TemporaryDirectory() as folder:
        return fetch_sft(params.sft, tokens, params.task, Path(folder) / "fetched").sizes


def _refuse_other_sizes(params: Params, sizes: BackboneSizes, task: Task) -> None:
    """Refuse what doesn't go with a language model of such sizes."""
    for name, recipe in params.models.items():
        refuse_missing_layers(recipe.readout, sizes, f"models.{name}.")
    if params.sampling.decoder == "kv_cache":
        width = sizes.context_length - params.sampling.max_new_tokens + 1
        refuse_longer(task.space.longest, width, sizes, params.sampling.max_new_tokens)
