"""Completions of given prompts are a function of seed and prompt, whatever else is sampled."""

from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

from goldrm.commands.params import Params
from goldrm.common.workers import ALONE
from goldrm.generation.chunks import sample_of_prompts
from goldrm.lm.model import Backbone
from goldrm.task.task import Task


def test_completions_of_a_prompt_do_not_depend_on_the_other_prompts(
    backbone: Backbone, task: Task, params: Params, tmp_path: Path
):
    """Nor on which of them were sampled before a kill."""
    sampling = params.sampling.model_copy(update={"max_new_tokens": 6})
    work = tmp_path / "together"
    together = list(sample_of_prompts([7, 400, 9], 3, backbone, task, sampling, 0, work, ALONE))
    assert [set(rows["group"]) for rows in together] == [{0}, {1}, {2}]
    assert [rows["prompt_id"].tolist() for rows in together] == [[7] * 3, [400] * 3, [9] * 3]
    (alone,) = sample_of_prompts([400], 3, backbone, task, sampling, 0, tmp_path / "alone", ALONE)
    assert_frame_equal(alone.assign(group=1), together[1])

    content = {file: file.read_bytes() for file in sorted(work.iterdir())}
    list(content)[1].unlink()
    again = sample_of_prompts([7, 400, 9], 3, backbone, task, sampling, 0, work, ALONE)
    assert_frame_equal(pd.concat(again), pd.concat(together))
    assert {file: file.read_bytes() for file in sorted(work.iterdir())} == content
