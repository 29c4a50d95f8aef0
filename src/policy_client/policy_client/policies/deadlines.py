"""A request whose future brings one reply, and the thread that sees to it that it is not late.

The libraries underneath count deadlines coarsely: gRPC's come back up to 3 ms late, ZMQ polls in
whole milliseconds, and closing a connection takes its time. So a caller never waits for them: what
has no reply shortly before its deadline gets DEADLINE from here, and what the worker finds out
later goes nowhere.
"""

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

from numpy.typing import NDArray

from policy_client.policies.base import Failure, Reply, Request

# A wait on a condition ends about 0.1 ms late, and the caller has to be woken.
_RESERVE_NS = 1_000_000


class Pending:
    """A request that was taken. The first of its answers counts, from whichever thread."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.started_ns = time.monotonic_ns()
        self.future: Future[Reply] = Future()

    @property
    def due_ns(self) -> int:
        """When its caller must have the reply, as time.monotonic_ns."""
        return self.started_ns + self.request.timeout_ns

    def succeed(self, actions: Mapping[str, NDArray[Any]], version: str) -> None:
        elapsed = time.monotonic_ns() - self.started_ns
        if elapsed > self.request.timeout_ns:
            self.fail(Failure.DEADLINE, f'took {elapsed / 1e6:.1f} ms')
        else:
            self._settle(Reply(self.request.request_id, actions, version=version,
                               elapsed_ns=elapsed))

    def fail(self, failure: Failure, detail: str) -> None:
        self._settle(Reply(self.request.request_id, failure=failure, detail=detail,
                           elapsed_ns=time.monotonic_ns() - self.started_ns))

    def _settle(self, reply: Reply) -> None:
        with contextlib.suppress(InvalidStateError):  # it has one already
            self.future.set_result(reply)


class Deadlines:
    """One thread for all requests of a policy, started with the first; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Pending]] = []
        self._numbers = itertools.count()
        self._next_ns = 0  # what the thread waits for; 0 for something to wait for
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, pending: Pending) -> None:
        """Have it fail shortly before it is due, unless it has a reply by then."""
        due_ns = pending.due_ns - _RESERVE_NS
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._waiting, (due_ns, next(self._numbers), pending))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='deadlines', daemon=True)
                self._thread.start()
            elif not self._next_ns or due_ns < self._next_ns:
                self._changed.notify()

    def close(self) -> None:
        """End the thread; what has no reply by now is cancelled."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify()
        for _, _, pending in waiting:
            pending.fail(Failure.CANCELLED, 'closed')

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    self._next_ns = self._waiting[0][0] if self._waiting else 0
                    left_ns = self._next_ns - time.monotonic_ns()
                    if self._next_ns and left_ns <= 0:
                        break
                    self._changed.wait(left_ns / 1e9 if self._next_ns else None)
                if self._closed:
                    return
                pending = heapq.heappop(self._waiting)[2]
            if not pending.future.done():
                pending.fail(Failure.DEADLINE, 'no answer in time')
