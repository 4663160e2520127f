"""The one exception for what a user can mend, and how its messages show what was found."""

import reprlib


class GoldrmError(Exception):
    """Something in the user's files or parameters is wrong, and the user can put it right.

    The message is one clear sentence (or two): what was looked at, what was found, what was
    expected and what to do. Stages and the command line print it without a traceback and
    exit with status 1.
    """


def shown(value: object, most: int = 80) -> str:
    """A value as a message shows it, in at most so many characters."""
    try:
        return f"{reprlib.repr(value):.{most}}"
    except ValueError:
        return "a number of thousands of digits"
