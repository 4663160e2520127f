"""A short version of `make chaos`: real kills, and the same bytes."""

from pathlib import Path

from chaos import Chaos


def test_killed_pipeline_ends_in_the_same_bytes(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=9, processes=1, up_to="train_rm@token_damage")
    chaos.round(("generate_pairs", "train_rm@token_damage"), kills=1)
    assert chaos.kills.total() == 2
