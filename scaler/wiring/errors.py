"""The one error that commands meet."""


class UserError(Exception):
    """What was asked cannot be done; each line names a thing, the limit and what to do."""
