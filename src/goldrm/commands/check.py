"""`goldrm check`: what can be told before a run begins."""

import typer


def check() -> None:
    """Check params.yaml and the files it names, before `dvc repro` removes outputs to run a stage.

    Rename what DVC was ended at while it wrote it: dvc.lock, .dvc/tmp/rwlock. And say where
    dvc.lock comes from, if that isn't a machine like this one.
    """
    from goldrm.commands import dvc_files
    from goldrm.commands.feasible import refuse_infeasible
    from goldrm.commands.params import load_params
    from goldrm.pipeline.environment import difference

    refuse_infeasible(load_params())
    for note in dvc_files.put_damaged_aside():
        typer.echo(f"note: {note}", err=True)
    note = difference()
    if note is not None:
        typer.echo(f"note: {note}", err=True)
