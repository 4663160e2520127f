"""`goldrm export`: models and pairs for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from goldrm.commands.options import Model, errors_as_sentences, recipe_names
from goldrm.common.errors import GoldrmError


def _policy_names(incomplete: str) -> list[str]:
    """The policies whose names begin so, for a shell to complete."""
    return [*recipe_names(incomplete), *(["gold"] if "gold".startswith(incomplete) else [])]


Policy = Annotated[
    str | None,
    typer.Option(
        help="Instead, the language model that was optimised against this recipe's reward, or "
        "against gold.",
        metavar="NAME",
        autocompletion=_policy_names,
    ),
]
export = typer.Typer(no_args_is_help=True, help="Write models and pairs for other programs.")


@export.command()
@errors_as_sentences
def course(
    path: Annotated[Path, typer.Argument(help="The .pkl to write.")],
    model: Model = None,
    policy: Policy = None,
) -> None:
    """Write a reward model as the course's step 3 saves it, for its step 4 to load.

    The course's SL_RM has a last_token readout of one member, as the recipe notebook; no other
    fits it. A policy is written as the course's step 2 saves a language model.
    """
    from goldrm.commands.export_course import write_policy, write_reward_model
    from goldrm.commands.own_scale import load_shown
    from goldrm.commands.params import load_params
    from goldrm.commands.policies import load_policy

    _refuse_both(model, policy)
    if policy is None:
        trained = load_shown(model)
        write_reward_model(path, trained, load_params().models[trained.folder.name].training)
    else:
        write_policy(path, load_policy(policy))
    typer.echo(f"wrote {path}", err=True)


@export.command()
@errors_as_sentences
def hf(
    folder: Annotated[Path, typer.Argument(help="The folder to write into.", metavar="DIR")],
    model: Model = None,
    policy: Policy = None,
) -> None:
    """Write a reward model and its language model as Hugging Face's transformers and TRL load them.

    DIR/language_model is a stock OPTForCausalLM with its tokenizer, DIR/reward_model an
    AutoModelForSequenceClassification with its own code. A policy goes into DIR/policy, as the
    language model does. docs/huggingface.md shows how to use them.
    """
    from goldrm.commands.export_hf import write_folders, write_policy
    from goldrm.commands.own_scale import load_shown
    from goldrm.commands.params import load_params
    from goldrm.commands.policies import load_policy

    _refuse_both(model, policy)
    seed = load_params().seed
    if policy is None:
        write_folders(folder, load_shown(model), seed)
        typer.echo(f"wrote {folder}/language_model and {folder}/reward_model", err=True)
    else:
        write_policy(folder, load_policy(policy), seed)
        typer.echo(f"wrote {folder}/policy", err=True)


@export.command()
@errors_as_sentences
def pairs(
    path: Annotated[Path, typer.Argument(help="The .jsonl or .parquet to write.", metavar="FILE")],
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Whose pairs.")
    ] = "train",
) -> None:
    """Write preference pairs as TRL's trainers read them: prompt, chosen, rejected."""
    from goldrm.commands.export_pairs import write_pairs

    typer.echo(f"wrote {write_pairs(path, split):,} pairs to {path}", err=True)


def _refuse_both(model: str | None, policy: str | None) -> None:
    if model is not None and policy is not None:
        raise GoldrmError("export takes --model or --policy, not both.")
