"""Checks annotations while tests run, in what is imported after this module.

jaxtyping takes a tenth of a millisecond for each call of a function, so it checks the modules that
have shapes only; beartype alone checks the others.
"""

from pathlib import Path

from beartype import BeartypeConf, beartype
from beartype.claw import beartype_package
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"
# An int will do where a float is asked for (PEP 484); variables aren't checked.
CONF = BeartypeConf(is_pep484_tower=True, claw_is_pep526=False)
check = beartype(conf=CONF)


def _modules_with_shapes() -> list[str]:
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in SOURCE.rglob("*.py")
        if "import jaxtyping" in path.read_text() or "from jaxtyping" in path.read_text()
    ]


beartype_package("goldrm", conf=CONF)
install_import_hook(_modules_with_shapes(), "annotations.check")
