"""The exported code works in a process that has PyTorch, and nothing of this project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from exported_models import PAIRED

from goldrm.huggingface.standalone import standalone_files
from goldrm.reward_model.model import RewardModel

# Loads the folder's code as a package, without transformers, and prints rewards.
SCORE = """
import json, sys
from types import SimpleNamespace
for absent in ("goldrm", "jaxtyping", "pydantic", "transformers"):
    sys.modules[absent] = None
from safetensors.torch import load_file
import torch
sys.path.insert(0, sys.argv[1])
kind = sys.argv[2]
rewards = __import__(f"{kind}.huggingface_rewards").huggingface_rewards
sizes = __import__(f"{kind}.lm_sizes").lm_sizes
config = json.load(open(f"{sys.argv[1]}/{kind}/config.json"))
readout, ensemble = (SimpleNamespace(**config[name]) for name in ("readout", "ensemble"))
model = rewards.Rewards(
    sizes.BackboneSizes(**config["sizes"]),
    readout,
    ensemble,
    config["tokens"],
    config["prompt_patterns"],
)
state = load_file(f"{sys.argv[1]}/{kind}/model.safetensors")
model.load_state_dict({name.removeprefix("rewards."): state[name] for name in state})
ids = {token: number for number, token in enumerate(config["tokens"])}
texts = json.loads(sys.argv[3])
rows = [torch.tensor([[ids[word] for word in text.split()]]) for text in texts]
print(json.dumps([model(row, None).item() for row in rows]))
"""


@pytest.mark.parametrize("kind", ["token_damage", "last_token"])
def test_the_folder_scores_alone(
    exported: Path, reward_models: dict[str, RewardModel], kind: str, tmp_path: Path
):
    texts = json.dumps([f"{prompt} {completion}" for prompt, completion in PAIRED])
    done = subprocess.run(
        [sys.executable, "-IB", "-c", SCORE, str(exported), kind, texts],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = reward_models[kind].score(*map(list, zip(*PAIRED, strict=True)))
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-5)


def test_no_file_names_the_package_in_an_import():
    for name, text in standalone_files("goldrm.huggingface.modeling").items():
        lines = [line.strip() for line in text.splitlines()]
        assert not [line for line in lines if line.startswith(("from goldrm", "import goldrm"))], (
            name
        )


def test_what_only_annotations_need_is_not_imported():
    files = standalone_files("goldrm.reward_model.ensemble")
    assert list(files) == ["reward_model_ensemble.py"]
    lines = files["reward_model_ensemble.py"].splitlines()
    assert (
        lines[0] == "# goldrm/reward_model/ensemble.py of goldrm, made to work without the package."
    )
    assert [line for line in lines if "import" in line][0] == "from __future__ import annotations"
    assert not [line for line in lines if line.startswith("from goldrm") or "jaxtyping" in line]
