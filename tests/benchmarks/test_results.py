"""The page of results: a section a machine, of which a new run replaces its own only."""

import pytest
import torch
from results import Row, machine, section, with_section

PAGE = "# Speed\n\n## A, threads: 1\n\nold a\n\n## B\n\nold b\n\n## What profiles said\n\n- notes\n"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (
            "## B\n\nnew b\n\n",
            "# Speed\n\n## B\n\nnew b\n\n## A, threads: 1\n\nold a\n\n"
            "## What profiles said\n\n- notes\n",
        ),
        (
            "## A\n\nother\n\n",  # a name that another's begins with
            "# Speed\n\n## A\n\nother\n\n## A, threads: 1\n\nold a\n\n## B\n\nold b\n\n"
            "## What profiles said\n\n- notes\n",
        ),
    ],
)
def test_a_section_comes_first_and_replaces_its_machines(new: str, expected: str):
    assert with_section(PAGE, new) == expected
    assert with_section(with_section(PAGE, new), new) == expected


def test_a_section_holds_its_table():
    rows = [
        Row("sampling", "completions/s", 2.0, 50.0, 200.0),
        Row("reading", "texts/s", None, 3.0, None),
    ]
    written = section("A", "Measured.", rows)
    assert written.startswith("## A\n\nMeasured.\n\n| work | unit | notebook | goldrm | ")
    assert written.endswith(
        "| sampling | completions/s | 2 | 50 | 25.0× | 200 | 25% |\n"
        "| reading | texts/s |  | 3 |  |  |  |\n\n"
    )


def test_a_processor_is_named_by_what_it_computes_with():
    kind = torch.backends.cpu.get_cpu_capability()
    assert machine(torch.device("cpu"), 2, 1).endswith(f" ({kind}), processes: 2, threads: 1")
