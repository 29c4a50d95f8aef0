"""How long a route takes to answer: a quantile of its latest replies, warm-up left out."""

from collections import deque

# Twenty seconds at ten a second: in fewer the slow replies of a window vary so much that its p95 is
# at times one of them.
_WINDOW = 200
_ENOUGH = 8
# The first inferences after a handshake load kernels, caches and connections.
_WARM_UP = 3


class Delay:
    """Delays of one route's replies. A mean would trust the fast ones: plans need a quantile."""

    def __init__(self) -> None:
        self._found: deque[int] = deque(maxlen=_WINDOW)
        self._skip = _WARM_UP

    def restart(self) -> None:
        """A new connection or another model: what was measured does not count any more."""
        self._found.clear()
        self._skip = _WARM_UP

    def add(self, delay_ns: int) -> None:
        if self._skip:
            self._skip -= 1
        else:
            self._found.append(delay_ns)

    def quantile(self, share: float) -> int | None:
        """Nanoseconds that a share of the replies stay within; None until enough were seen."""
        if len(self._found) < _ENOUGH:
            return None
        found = sorted(self._found)  # much quicker than numpy for so few
        return found[min(len(found) - 1, int(share * len(found)))]


class HedgeBudget:
    """Second requests may be at most a share of the first ones, ever, with a small burst."""

    def __init__(self, share: float, burst: float = 3.0) -> None:
        self._share, self._burst = share, burst
        self._saved = 0.0

    def asked(self) -> None:
        """A first request went out."""
        self._saved = min(self._saved + self._share, self._burst)

    def take(self) -> bool:
        """Whether a second request may go out now; it is counted."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
