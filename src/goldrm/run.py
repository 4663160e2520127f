"""Runs a stage's script, `python -m goldrm.run stages/NAME.py`, so that Ctrl-C is always quiet.

Also while the script imports, which takes seconds: so this must not import what is slow.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script that the command line names."""
    script = sys.argv[1]
    try:
        runpy.run_path(script, run_name="__main__")
    except KeyboardInterrupt:
        print(f"{Path(script).stem}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
