"""What an operator is told when an order cannot be carried out: one sentence."""


class RolloutError(ValueError):
    """A plan, an order or a database does not allow it; the message says why and what to do."""
