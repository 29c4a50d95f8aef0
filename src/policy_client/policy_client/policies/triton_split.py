"""Where the time of a round trip goes: the network, the server's queue, the model.

A Triton server counts, for each model and version, its requests and the nanoseconds they spent in
the queue and in the model
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md).
Two looks at those counters a second apart give the means in between, and what is left of our own
mean round trip is the network, gRPC and this client. Of a server that others use too, queue and
compute are the means over all of them. No model and no server has to be changed for it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from tritonclient.grpc import service_pb2

from policy_client.policies.base import PolicyUnavailable, Split
from policy_client.policies.triton_channel import Connection

_ASK_S = 0.5
PERIOD_NS = 1_000_000_000
_FRESH_NS = 5 * PERIOD_NS


@dataclass(frozen=True)
class Counters:
    """What a server has counted of one version of a model since that was loaded."""
    requests: int
    queue_ns: int
    compute_ns: int


def counters(connection: Connection, model: str, version: str) -> Counters | None:
    """What the server has counted so far; None when it does not say. Waits for at most 0.5 s."""
    message = service_pb2.ModelStatisticsRequest(name=model, version=version)
    try:
        found = connection.call('ModelStatistics', message, _ASK_S).model_stats
    except (grpc.RpcError, PolicyUnavailable, ValueError):
        return None  # its requests say what is wrong
    if len(found) != 1:
        return None
    times = found[0].inference_stats
    return Counters(times.success.count, times.queue.ns,
                    times.compute_input.ns + times.compute_infer.ns + times.compute_output.ns)


class SplitMeter:
    """`replied` and `split` never wait; `look` asks the server, and belongs on a worker thread."""

    def __init__(self, ask: Callable[[str], Counters | None]) -> None:
        """ask: version -> its counters now; None when the server did not say."""
        self._ask = ask
        self._lock = threading.Lock()
        self._due_ns = 0
        self._version = ''
        self._replies, self._sum_ns = 0, 0
        self._before: tuple[str, Counters] | None = None
        self._found: tuple[int, Split] | None = None

    def replied(self, version: str, elapsed_ns: int, now_ns: int) -> bool:
        """Count a good reply; whether it is time for `look`."""
        with self._lock:
            if version != self._version:
                self._version, self._before, self._found = version, None, None
            self._replies += 1
            self._sum_ns += elapsed_ns
            if now_ns < self._due_ns:
                return False
            self._due_ns = now_ns + PERIOD_NS
            return True

    def look(self, now_ns: int) -> None:
        with self._lock:
            version = self._version
        counters = self._ask(version)
        with self._lock:
            replies, sum_ns = self._replies, self._sum_ns
            self._replies, self._sum_ns = 0, 0
            before, self._before = self._before, (version, counters) if counters else None
            # Fewer than before: it was loaded again.
            if counters and before and before[0] == version and replies and (
                    counters.requests > before[1].requests):
                self._found = now_ns, _between(before[1], counters, sum_ns / replies)

    def split(self, now_ns: int) -> Split | None:
        """The means of the last second with requests; None without one in the last 5 s."""
        with self._lock:
            found = self._found
        return found[1] if found and now_ns - found[0] <= _FRESH_NS else None


def _between(before: Counters, after: Counters, round_trip_ns: float) -> Split:
    count = after.requests - before.requests
    queue_ms = (after.queue_ns - before.queue_ns) / count / 1e6
    compute_ms = (after.compute_ns - before.compute_ns) / count / 1e6
    # The two means are not of exactly the same requests.
    return Split(max(0.0, round_trip_ns / 1e6 - queue_ms - compute_ms), queue_ms, compute_ms)
