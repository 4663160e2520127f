"""docs/data.md: its example is read as it says."""

import re
from pathlib import Path

from small_models import ROOT

from goldrm.generation.params import ALL_PAIRS
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import read_source
from goldrm.generation.source_dataset import SourceDataset
from goldrm.task.task import Task


def test_example_is_read_as_the_page_says(tmp_path: Path, task: Task):
    text = (ROOT / "docs/data.md").read_text()
    (example,) = re.findall(r"```csv\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mine.csv").write_text(example)
    dataset = SourceDataset(PreferenceDataset("train", ALL_PAIRS, task), task)
    dataset.collect(read_source(tmp_path, task), "data/source/pairs")
    assert f"```\ndata/source/pairs: {dataset.summary()}\n```" in text
