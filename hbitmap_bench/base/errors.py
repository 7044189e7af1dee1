"""The one error that a user can mend."""


class UserError(Exception):
    """Bad input or a missing part: its text states the rule, the value and the remedy.

    The command line prints it as one line and exits with code 2.
    """
