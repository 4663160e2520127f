"""Takes the settings of a user and a machine out of a process, for tests and what they start.

Git's (signed commits, hooks, a missing name), DVC's, matplotlib's, the language, the time zone.
"""

import os
from pathlib import Path

HOME = Path(__file__).parent.parent / ".work/home"
GIT = "[user]\n\tname = test\n\temail = test@localhost\n[safe]\n\tdirectory = *\n"


def settle() -> None:
    """Set the environment up as tests expect it."""
    HOME.mkdir(parents=True, exist_ok=True)
    part = HOME / f".gitconfig.{os.getpid()}"  # other processes read it meanwhile
    part.write_text(GIT)
    part.replace(HOME / ".gitconfig")
    for name in list(os.environ):
        if name.startswith(("DVC_", "GIT_", "LC_", "MPL", "PYTHON", "XDG_")):
            del os.environ[name]
    os.environ |= {
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(HOME),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": "UTC",
    }
    os.environ.setdefault("USER", str(os.getuid()))  # a container's user may have no name
    os.umask(0o022)
