"""What goes wrong with data sets."""


class DatasetError(ValueError):
    """A data set cannot be made or read; the message is one sentence that says why."""
