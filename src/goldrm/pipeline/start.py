"""Runs a stage's script in the archive that run.py made, where this file is `__main__.py`.

Ctrl-C is always quiet, also while the script imports, which takes seconds: so nothing slow is
imported here.
"""

import gc
import linecache
import os
import runpy
import signal
import sys
import traceback
import zipimport
from pathlib import Path


def main() -> None:
    """Run the script that the command line names, by its place in the archive."""
    archive, script = sys.path[0], Path(sys.argv[1])
    sys.path[:1] = [f"{archive}/src", archive]
    gc.disable()  # which takes a fifth of the time to import; run_stage enables it
    # Python's own hook can't show lines of an archive, and no hook finds a script's there.
    sys.excepthook = traceback.print_exception
    source = zipimport.zipimporter(archive).get_data(str(script)).decode()
    path = f"{archive}/{script}"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of many processes: it ends at once, and the one that launched them says why.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # run.py blocked it
        import goldrm  # noqa: PLC0415

        if goldrm.__file__ != f"{archive}/src/goldrm/__init__.py":
            sys.exit(
                f"{script.stem}: Python takes goldrm from {goldrm.__file__}, not from this "
                "project. Uninstall what puts it there (`pip list` shows it), or run `make setup` "
                "in a fresh .venv."
            )
        runpy.run_module(
            ".".join(script.with_suffix("").parts), run_name="__main__", alter_sys=True
        )
    except KeyboardInterrupt:
        print(f"{script.stem}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
