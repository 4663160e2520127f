"""Writes the page on which `dvc plots show` draws, with its scripts inside: no network needed.

`make` runs it once; without it DVC's page loads the same scripts from the web.
"""

from pathlib import Path

import vl_convert

PAGE = Path(".dvc/tmp/plots.html")
TEMPLATE = """<!DOCTYPE html>
<html>
<head>{refresh_tag}<meta charset="utf-8"><title>goldrm</title><script>%s</script></head>
<body>{plot_divs}</body>
</html>
"""


def main() -> None:
    """Write `PAGE`, which .dvc/config.local names."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    PAGE.write_text(TEMPLATE % scripts, encoding="utf-8")


if __name__ == "__main__":
    main()
