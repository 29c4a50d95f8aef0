"""How long to leave a bucket alone that does not answer.

Exponential backoff with full jitter: each wait is anywhere between nothing and a ceiling that
doubles, so robots that lost the network together do not come back in step
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_DOUBLINGS = 30


@dataclass(frozen=True)
class Patience:
    """attempts: in a row without any success before `--once` gives up. Ceilings in seconds."""

    attempts: int = 4
    first_s: float = 0.5
    longest_s: float = 300.0


@dataclass
class Backoff:
    patience: Patience = Patience()
    uniform: Callable[[float, float], float] = field(
        default_factory=lambda: random.SystemRandom().uniform)
    failures: int = 0

    def worked(self) -> None:
        self.failures = 0

    def failed(self, retry_after_s: float = 0.0) -> float:
        """Seconds to wait. What the server asks for comes first, the jitter comes on top.

        It asks every robot for the same: so the jitter is at least as long.
        """
        self.failures += 1
        doublings = min(self.failures, _MOST_DOUBLINGS)
        ceiling_s = min(self.patience.longest_s, self.patience.first_s * 2**doublings)
        return retry_after_s + self.uniform(0.0, max(ceiling_s, retry_after_s))
