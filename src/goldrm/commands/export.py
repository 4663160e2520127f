"""`goldrm export`: models and pairs for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from goldrm.commands.options import Model, errors_as_sentences
from goldrm.common.errors import GoldrmError

export = typer.Typer(no_args_is_help=True, help="Write models and pairs for other programs.")


@export.command()
@errors_as_sentences
def course(
    path: Annotated[Path, typer.Argument(help="The .pkl to write.")],
    model: Model = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Instead, the language model that was optimised against this recipe's reward, or "
            "against gold, as the course's step 2 saves it."
        ),
    ] = None,
) -> None:
    """Write a reward model as the course's step 3 saves it, for its step 4 to load.

    The course's SL_RM has a last_token readout of one member, as the recipe notebook; no other
    fits it.
    """
    from goldrm.commands.export_course import write_policy, write_reward_model
    from goldrm.commands.params import load_params
    from goldrm.commands.trained import load_trained

    if policy is not None:
        if model is not None:
            raise GoldrmError("export course takes --model or --policy, not both.")
        write_policy(path, policy)
        typer.echo(f"wrote {path}", err=True)
        return
    trained = load_trained(model)
    write_reward_model(path, trained, load_params().models[trained.folder.name].training)
    typer.echo(f"wrote {path}", err=True)


@export.command()
@errors_as_sentences
def hf(
    folder: Annotated[Path, typer.Argument(help="The folder to write into.", metavar="DIR")],
    model: Model = None,
) -> None:
    """Write a reward model and its language model as Hugging Face's transformers and TRL load them.

    DIR/language_model is a stock OPTForCausalLM with its tokenizer, DIR/reward_model an
    AutoModelForSequenceClassification with its own code. docs/huggingface.md shows how to use them.
    """
    from goldrm.commands.export_hf import write_folders
    from goldrm.commands.params import load_params
    from goldrm.commands.trained import load_trained

    write_folders(folder, load_trained(model), load_params().seed)
    typer.echo(f"wrote {folder}/language_model and {folder}/reward_model", err=True)


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
