"""Progress as a terminal shows it, and as a log does."""

import io
import os
import pty
import subprocess
import sys
import termios

import pytest

from goldrm.common import progress
from goldrm.common.progress import progress_bar


def test_log_gets_whole_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    monkeypatch.setattr(progress, "SECONDS", 0)
    with progress_bar(total=3, desc="sample train pairs", unit="pair") as bar:
        for _ in range(3):
            bar.set_postfix({"train_loss": "0.250"}, refresh=False)
            bar.update()
    lines = log.getvalue().split("\n")
    assert lines[0] == "sample train pairs: 0 of 3 pair, 00:00 gone, ? to go"
    assert lines[1].startswith("sample train pairs: 1 of 3 pair, 00:00 gone, 00:00 to go")
    assert lines[1].endswith(", train_loss=0.250")
    assert lines[-1] == ""
    assert "\r" not in log.getvalue()
    assert "" not in lines[:-1]
    assert len(lines) == 5  # 0 to 3 of 3, and what follows the last line's end


def test_quick_work_leaves_no_line_in_a_log(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    assert list(progress_bar(range(1000), desc="quick")) == list(range(1000))
    assert log.getvalue() == ""


def test_what_is_disabled_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    monkeypatch.setattr(progress, "SECONDS", 0)
    assert list(progress_bar(range(3), disable=True)) == [0, 1, 2]
    assert log.getvalue() == ""


def test_terminal_has_a_bar():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    code = "from goldrm.common.progress import *; [*progress_bar(range(3), desc='train_rm')]"
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\rtrain_rm: 100%|" in shown
