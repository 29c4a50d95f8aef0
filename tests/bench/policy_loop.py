"""Time for the policy benches: what is due runs in order, on a virtual clock or in real time."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

Act = Callable[[], None]
MS = 1_000_000


class Loop(Protocol):
    """One caller at a time runs what is due; `post` may be called from any thread."""

    @property
    def now_ns(self) -> int: ...

    def at(self, time_ns: int, act: Act) -> None: ...

    def post(self, act: Act) -> None: ...

    def work(self, function: Callable[..., Any], *arguments: Any) -> 'Future[Any]':
        """What may wait for a network, beside the loop."""
        ...

    def run_until(self, time_ns: int) -> None: ...


class VirtualLoop:
    """Time is the time of what is next; nothing waits and nothing takes any."""

    def __init__(self) -> None:
        self._now_ns = 1_000_000 * MS
        self._due: list[tuple[int, int, Act]] = []
        self._order = itertools.count()

    @property
    def now_ns(self) -> int:
        return self._now_ns

    def at(self, time_ns: int, act: Act) -> None:
        heapq.heappush(self._due, (max(time_ns, self._now_ns), next(self._order), act))

    def post(self, act: Act) -> None:
        self.at(self._now_ns, act)

    def work(self, function: Callable[..., Any], *arguments: Any) -> 'Future[Any]':
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # as a thread would hand it on
            future.set_exception(error)
        return future

    def run_until(self, time_ns: int) -> None:
        while self._due and self._due[0][0] <= time_ns:
            self._now_ns, _, act = heapq.heappop(self._due)
            act()
        self._now_ns = time_ns


class RealLoop:
    """The machine's steady clock, on the caller's thread."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Act]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._hands = ThreadPoolExecutor(4, thread_name_prefix='handshake')

    @property
    def now_ns(self) -> int:
        return time.monotonic_ns()

    def at(self, time_ns: int, act: Act) -> None:
        with self._changed:
            heapq.heappush(self._due, (time_ns, next(self._order), act))
            self._changed.notify()

    def post(self, act: Act) -> None:
        self.at(self.now_ns, act)

    def work(self, function: Callable[..., Any], *arguments: Any) -> 'Future[Any]':
        return self._hands.submit(function, *arguments)

    def run_until(self, time_ns: int) -> None:
        while True:
            with self._changed:
                now = self.now_ns
                due = self._due[0][0] if self._due else time_ns
                if min(due, time_ns) > now:
                    self._changed.wait((min(due, time_ns) - now) / 1e9)
                    continue
                if due > now:
                    return
                act = heapq.heappop(self._due)[2]
            act()
            if self.now_ns > time_ns:
                return

    def close(self) -> None:
        self._hands.shutdown(wait=False, cancel_futures=True)
