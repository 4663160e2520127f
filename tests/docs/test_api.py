"""docs/api.md: its examples do what they show."""

import doctest
from pathlib import Path

import pytest
from small_models import ROOT
from small_project import write_small_project


def test_examples_do_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With small models of random weights, which happen to rank the two completions right."""
    write_small_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("GOLDRM_MODEL", "")
    text = (ROOT / "docs/api.md").read_text().replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {}, "api.md", "docs/api.md", 0)
    assert len(examples.examples) > 10
    said: list[str] = []
    doctest.DocTestRunner().run(examples, out=said.append)
    assert "".join(said) == ""
