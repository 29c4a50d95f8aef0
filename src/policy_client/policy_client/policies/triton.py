"""A policy behind Triton's gRPC: deadlines that count, errors told apart, nothing that waits.

The client's deadline is what ends a request; Triton's own `timeout` covers its queue only, and is
sent along so that a request nobody waits for any more is not computed.

infer returns at once: what a request takes (JPEG, the message, the wait) is on a thread of the
policy's own, one for each in flight. Only a copy into shared memory and the small message behind it
are made by the caller. docs/transport.md says what each way of doing this costs.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from policy_client.handshake import ModelDescription
from policy_client.images import ImageError
from policy_client.policies import triton_wire as wire
from policy_client.policies.base import Failure, PolicyUnavailable, Reply, Request, Split
from policy_client.policies.deadlines import Deadlines, Pending
from policy_client.policies.triton_channel import Connection, classify
from policy_client.policies.triton_endpoint import parse
from policy_client.policies.triton_jpeg import as_pictures, encoded
from policy_client.policies.triton_memory import Region, SharedMemory
from policy_client.policies.triton_metadata import sizes, spec
from policy_client.policies.triton_regions import TritonRegions
from policy_client.policies.triton_split import SplitMeter, counters

__all__ = ['TritonPolicy', 'address', 'classify']

# A deadline that gRPC sees 3 ms earlier returns to the caller in time.
_RESERVE_NS = 3_000_000
_SHORTEST_S = 0.005  # shorter deadlines have crashed servers (triton 7368)
_UPKEEP_S = 0.5
_UPKEEP_AGAIN_NS = 1_000_000_000  # after a refusal
_CLOSE_S = 0.5
_MAX_IN_FLIGHT = 16


def address(url: str) -> str:
    """host:port of an endpoint's URL; raises ValueError."""
    return parse(url).address


class _NotSent(Exception):
    """A request that there is no use in sending."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class _Call(Pending):
    """A request on its way; `region` is what the server reads it from."""
    region: Region | None = None
    rpc: Any = None
    cancelled: bool = False


class TritonPolicy:
    """One model on one Triton server. infer and close from one thread, handshake from another."""

    def __init__(self, url: str, model: str, version: str = '') -> None:
        """url as in triton_endpoint.py; version pins the model, empty takes the server's newest.

        Raises ValueError for a URL of another form. Nothing is read or connected yet.
        """
        self._endpoint = parse(url)
        self._model, self._version = model, version
        self._connection = Connection(self._endpoint)
        self._jpeg: frozenset[str] = frozenset()
        self._workers = ThreadPoolExecutor(_MAX_IN_FLIGHT, thread_name_prefix='triton')
        self._memory = (SharedMemory(TritonRegions(self._connection))
                        if self._endpoint.shared_memory else None)
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix='shared_memory')
        self._upkeep_due = threading.Event()
        self._upkeep_after_ns = 0
        self._calls: set[_Call] = set()
        self._deadlines = Deadlines()
        self._split = SplitMeter(functools.partial(counters, self._connection, model))
        self._closed = False

    def __repr__(self) -> str:
        return f'TritonPolicy({self._endpoint.shown}, {self._model}, {self._connection.token!r})'

    def handshake(self, timeout_s: float) -> ModelDescription:
        limit = time.monotonic() + timeout_s

        def left() -> float:
            return max(_SHORTEST_S, limit - time.monotonic())

        self._connection.renew()
        call = self._connection.call
        try:
            metadata = call('ModelMetadata', service_pb2.ModelMetadataRequest(
                name=self._model, version=self._version), left())
            config = call('ModelConfig', service_pb2.ModelConfigRequest(
                name=self._model, version=self._version), left()).config
        except grpc.RpcError as error:
            raise PolicyUnavailable(self._connection.sentence(error)) from None
        parameters = {name: value.string_value for name, value in config.parameters.items()}
        # Metadata does not say what may be left out, the configuration does.
        optional = {tensor.name for tensor in config.input if tensor.optional}
        specs = tuple(spec(tensor, optional=tensor.name in optional)
                      for tensor in metadata.inputs)
        inputs, self._jpeg = as_pictures(specs, parameters, self._endpoint.jpeg_quality)
        runs_on = self._endpoint.shown
        if self._memory:
            size = wire.placement(sizes(specs)).size
            ready = not size or self._memory.prepare(size, left())
            runs_on += ', shared memory' if ready else f', {self._memory.refusal}'
        return ModelDescription(
            metadata.name,
            # Without a pin Triton answers with the newest of the versions that it lists.
            self._version or max(metadata.versions, key=int, default=''),
            inputs, tuple(spec(tensor) for tensor in metadata.outputs), parameters, runs_on)

    def infer(self, request: Request) -> 'Future[Reply]':
        call = _Call(request)
        if len(self._calls) >= _MAX_IN_FLIGHT:
            call.fail(Failure.QUEUE_FULL, f'{_MAX_IN_FLIGHT} requests wait for this server already')
            return call.future
        self._calls.add(call)
        if self._memory and not self._jpeg:
            self._begin(call)
        self._deadlines.watch(call)
        try:
            self._workers.submit(self._run, call)
        except RuntimeError:  # the threads have ended
            self._calls.discard(call)
            self._cancel(call)
            self._lost(call, Failure.CANCELLED, 'closed')
        return call.future

    def cancel(self, request_id: str) -> None:
        """Give a request up that was sent: its future brings CANCELLED, unless it was done."""
        for call in list(self._calls):
            if call.request.request_id == request_id:
                self._cancel(call)

    def split(self) -> Split | None:
        """From Triton's own statistics, about once a second while requests are answered."""
        return self._split.split(time.monotonic_ns())

    def close(self) -> None:
        self._closed = True
        # gRPC waits for its calls without a limit.
        closing = threading.Thread(target=self._end_all, daemon=True)
        closing.start()
        closing.join(2 * _CLOSE_S)

    def _begin(self, call: _Call) -> None:
        """What lies in shared memory leaves a small message, which is sent at once: a thread less
        on the way. What goes wrong is left to `_run`, which meets it again."""
        inputs = call.request.inputs
        try:
            region = self._placed(call, inputs)
            if region:
                self._send(call, inputs, region)
        except (_NotSent, PolicyUnavailable, ValueError):
            self._give_back(call, answered=True)

    # A request, on its thread

    def _run(self, call: _Call) -> None:
        """Ask the server; every way out of here ends in the call's reply."""
        try:
            inputs = call.request.inputs
            if self._jpeg:
                inputs = encoded(inputs, self._jpeg, self._endpoint.jpeg_quality)
            if not self._ask(call, inputs, shared=self._memory is not None):
                self._ask(call, inputs, shared=False)
        except ImageError as error:
            self._lost(call, Failure.INVALID, str(error))
        except BaseException as fault:
            self._give_back(call, answered=call.rpc is None)
            call.future.set_exception(fault)
            raise
        finally:
            self._calls.discard(call)

    def _ask(self, call: _Call, inputs: Mapping[str, NDArray[Any]], *, shared: bool) -> bool:
        """False where the server does not know our region, and read nothing: ask again without."""
        connection = self._connection
        try:
            if call.rpc is None:
                region = self._placed(call, inputs) if shared else None
                self._send(call, inputs, region)
            if call.cancelled:  # it came between the look and the sending
                call.rpc.cancel()
            actions, version = wire.parsed(connection.received(call.rpc), self._model,
                                           call.request.request_id)
        except _NotSent as error:
            self._lost(call, error.failure, str(error))
        except PolicyUnavailable as error:
            self._lost(call, Failure.UNREACHABLE, str(error))
        except wire.BadReply as error:
            connection.answered()
            self._lost(call, Failure.BAD_REPLY, connection.token.hidden(str(error)))
        except ValueError as error:  # a type without a name in Triton; a channel that was closed
            self._lost(call, Failure.CANCELLED if self._closed else Failure.INVALID,
                       connection.token.hidden(str(error)))
        except grpc.RpcError as error:
            return self._refused(call, error)
        else:
            connection.answered()
            self._give_back(call, answered=True)
            call.succeed(actions, version)
            self._measure(call, version)
        return True

    def _send(self, call: _Call, inputs: Mapping[str, NDArray[Any]],
              region: tuple[str, wire.Placement] | None) -> None:
        if self._closed or call.cancelled:
            raise _NotSent(Failure.CANCELLED, 'closed' if self._closed else 'given up')
        left_ns = call.due_ns - _RESERVE_NS - time.monotonic_ns()
        if left_ns < _SHORTEST_S * 1e9:
            raise _NotSent(Failure.DEADLINE, f'{left_ns / 1e6:.1f} ms are left, too short to ask a '
                                             'server')
        message = wire.serialised(self._model, self._version, call.request.request_id,
                                  left_ns // 1000, inputs, region)
        call.rpc = self._connection.send(wire.INFER, message, left_ns / 1e9)

    def _refused(self, call: _Call, rpc: Any) -> bool:
        """What a call that failed means; False as in _ask."""
        code, details = rpc.code(), str(rpc.details() or '')
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._connection.given_up()
        else:
            self._connection.answered()
        if call.region and self._memory and call.region.name in details and (
                code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)):
            # 'Unable to find shared memory region': the server was restarted, and read nothing.
            self._give_back(call, answered=True)
            self._memory.forget()
            call.rpc = None
            return False
        failure = classify(str(code), details)
        if failure is Failure.CANCELLED and not (call.cancelled or self._closed):
            # Nobody wanted that: another request found the connection silent and had it made anew.
            failure = Failure.DEADLINE
        self._lost(call, failure, self._connection.sentence(rpc))
        return True

    def _placed(self, call: _Call,
                inputs: Mapping[str, NDArray[Any]]) -> tuple[str, wire.Placement] | None:
        """Write the large inputs into a region; None when there is none to write to now."""
        placement = wire.placement(wire.sizes(inputs))
        if not placement.size or self._memory is None:
            return None
        region = self._memory.take(placement.size)
        if region is None:
            self._keep_up(placement.size)
            return None
        call.region = region
        for name, offset in placement.offsets.items():
            data = wire.flat(inputs[name])
            region.bytes[offset:offset + data.size] = data
        return region.name, placement

    def _lost(self, call: _Call, failure: Failure, detail: str) -> None:
        # A call that was never sent has no reader; of any other it is not known.
        self._give_back(call, answered=call.rpc is None)
        call.fail(failure, detail)

    def _give_back(self, call: _Call, *, answered: bool) -> None:
        region, call.region = call.region, None
        if region and self._memory:
            if answered:
                self._memory.free(region)
            else:
                self._memory.lose(region)
                self._keep_up(region.size)

    @staticmethod
    def _cancel(call: _Call) -> None:
        call.cancelled = True
        if call.rpc:
            call.rpc.cancel()

    # Upkeep

    def _keep_up(self, size: int) -> None:
        """Have the regions seen to on their thread, once, and not again and again in vain."""
        memory = self._memory
        if memory is None or self._closed or self._upkeep_due.is_set() or (
                memory.refusal and time.monotonic_ns() < self._upkeep_after_ns):
            return
        self._upkeep_due.set()

        def work() -> None:
            self._upkeep_due.clear()
            self._upkeep_after_ns = time.monotonic_ns() + _UPKEEP_AGAIN_NS
            memory.prepare(size, _UPKEEP_S)

        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._upkeep.submit(work)

    def _measure(self, call: _Call, version: str) -> None:
        now_ns = time.monotonic_ns()
        if self._split.replied(version, now_ns - call.started_ns, now_ns):
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._upkeep.submit(lambda: self._split.look(time.monotonic_ns()))

    def _end_all(self) -> None:
        for pool in (self._workers, self._upkeep):
            pool.shutdown(wait=False)
        for call in list(self._calls):
            self._cancel(call)
        self._deadlines.close()
        if self._memory:
            self._memory.close(_CLOSE_S if self._connection.opened else 0.0)
        self._connection.close()
