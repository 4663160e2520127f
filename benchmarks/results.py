"""The page of what `make bench` measured: a section a machine, and what profiles said."""

import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from shared import markdown

HEADS = ["work", "unit", "notebook", "goldrm", "ratio", "limit", "of the limit"]


@dataclass(frozen=True)
class Row:
    """One line of a table: rates of the notebook's way, of ours, and the machine's limit."""

    work: str
    unit: str
    notebook: float | None
    ours: float
    limit: float | None

    def cells(self) -> list[str]:
        """The line's cells."""
        ratio = f"{self.ours / self.notebook:,.1f}×" if self.notebook else ""
        share = f"{self.ours / self.limit:.0%}" if self.limit else ""
        rates = [f"{rate:,.4g}" if rate else "" for rate in (self.notebook, self.ours, self.limit)]
        return [self.work, self.unit, rates[0], rates[1], ratio, rates[2], share]


def machine(device: torch.device, processes: int, threads: int) -> str:
    """A machine's name: the GPU's, or the kind of processor; and how it is made use of."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        kind = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
        name = f"{platform.machine()} ({kind})"
    return f"{name}, processes: {processes}, threads: {threads}"


def last_commit() -> str:
    """Its name, and whether files have changed since."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty= with changes"]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def section(machine: str, measured: str, rows: Sequence[Row]) -> str:
    """What was measured on a machine.

    Args:
        machine: its name, by which the section is found again.
        measured: a sentence on what was measured, and how.
        rows: of the table.
    """
    return f"## {machine}\n\n{measured}\n\n{markdown(HEADS, (row.cells() for row in rows))}\n"


def with_section(page: str, section: str) -> str:
    """A page whose first section is a new one; one that had the same heading is gone.

    Args:
        page: in Markdown, sections of the second level.
        section: begins with its heading, and ends with an empty line.
    """
    title, *others = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    heading = section.partition("\n")[0]
    kept = [other for other in others if other.partition("\n")[0] != heading]
    return "".join([title, section, *kept])
