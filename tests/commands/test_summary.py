"""The closing summary names every stage's metrics, the figures and what to do next."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_models import ROOT

from goldrm.commands.summary import report

# Every metrics file of the pipeline, in the order of its stages.
STAGES = [
    Path(path).stem
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    for entry in stage.get("metrics", [])
    for path in entry
]


def test_report_has_a_line_for_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics/plots").mkdir(parents=True)
    for number, name in enumerate(STAGES):
        (tmp_path / f"metrics/{name}.json").write_text(json.dumps({"a": number, "b": 0.5}))
    for name in ("probes.png", "compared.png", "probes.csv"):
        (tmp_path / "metrics/plots" / name).touch()
    lines = report().splitlines()
    expected = [[name, "a", str(number), "b", "0.5"] for number, name in enumerate(STAGES)]
    assert [line.split() for line in lines[: len(STAGES)]] == expected
    assert lines[len(STAGES)].split(maxsplit=1) == [
        *("look", "metrics/plots/compared.png, metrics/plots/probes.png")
    ]
    assert lines[len(STAGES) + 1].split() == ["metrics/plots/probes.csv"]
    assert "dvc plots show" in lines[len(STAGES) + 2]


def test_report_is_quick_to_import():
    code = "import sys, goldrm.report; print({'torch', 'pandas', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"
