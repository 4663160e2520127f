"""Runs a stage's script so that Ctrl-C is always quiet: `python -m goldrm.pipeline.run SCRIPT`.

Also while the script imports, which takes seconds: so nothing slow is imported here.
"""

import os
import runpy
import signal
import sys
from pathlib import Path


def main() -> None:
    """Run the script that the command line names."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of many processes: it ends at once, and the one that launched them says why.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever the user's shell shows them by
    del sys.argv[0]  # the script's are its own
    script = sys.argv[0]
    try:
        runpy.run_path(script, run_name="__main__")
    except KeyboardInterrupt:
        print(f"{Path(script).stem}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
