"""What a file is that isn't of the kind that its name says, in words and with a remedy.

It is told by first bytes and, of an archive, by the names of its parts; nothing is opened.
"""

import codecs
import zipfile
from pathlib import Path

HEAD_BYTES = 512
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
TORCHS_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save's before PyTorch 1.6
WEB_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}


def kind_of_other(path: Path, suffix: str) -> str | None:
    """What a file is, and what to do, where it can't be of the kind that its suffix says.

    Args:
        path: the file.
        suffix: .safetensors, or one of torch.save's files.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return "it is empty. Get it again."
    if head.startswith(b"version https://git-lfs"):
        return "it is Git LFS's pointer to the file. Run `git lfs pull` where it comes from."
    if head.lstrip().lower().startswith(WEB_PAGES):
        return "it is a web page. Download the file itself, not the page that shows it."
    for start, program in COMPRESSED.items():
        if head.startswith(start):
            return f"it is compressed ({program}). Unpack it."
    if head.startswith((ZIP, PICKLE)):
        is_other, kind = suffix == ".safetensors", "a file of torch.save's. Let it end in .pkl"
    elif head[8:9] == b"{" and head[7] == 0:  # behind the length of this header
        is_other, kind = suffix != ".safetensors", "a .safetensors file. Let it end so"
    else:
        is_other, kind = _is_text(head), f"a text, {_beginning(head)!r}. Get the right file"
    return f"it is {kind}." if is_other else None


def kind_of_archive(path: Path) -> str | None:
    """What a zip file or pickle is, and what to do, where torch.save didn't write it."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(PICKLE) and not head.startswith(TORCHS_PICKLE):
        return "it is a pickle that torch.save didn't write. Save it by torch.save."
    if not head.startswith(ZIP):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a program that torch.jit.save wrote. Save the model's state_dict instead."
    if not any(name.endswith("/data.pkl") for name in names):
        return f"it is an archive of other files, {names[:1]} first. Unpack it."
    return None


def _beginning(head: bytes) -> str:
    """The first words of a text."""
    return " ".join(head.decode(errors="ignore").split())[:30]


def _is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 and printable, but for a character that is cut at their end."""
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(head)
    return "\ufffd" not in text and "".join(text.split()).isprintable()
