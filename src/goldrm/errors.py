"""The one exception for what a user can mend. It knows no other module."""


class GoldrmError(Exception):
    """Something in the user's files or parameters is wrong, and the user can put it right.

    The message is one clear sentence (or two): what was looked at, what was found, what was
    expected and what to do. Stages and the command line print it without a traceback and
    exit with status 1.
    """
