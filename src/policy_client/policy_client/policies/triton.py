"""A policy behind Triton's gRPC: deadlines that count, errors told apart, nothing that waits.

The client's deadline is what ends a request; Triton's own `timeout` covers its queue only, and is
sent along so that a request nobody waits for any more is not computed.

infer returns at once. What may take time is on two threads of the policy's own: JPEG encoding, and
the upkeep of shared memory.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.images import ImageError
from policy_client.policies import triton_wire as wire
from policy_client.policies.base import Failure, PolicyUnavailable, Reply, Request
from policy_client.policies.triton_channel import Connection, classify
from policy_client.policies.triton_endpoint import parse
from policy_client.policies.triton_jpeg import as_pictures, encoded
from policy_client.policies.triton_memory import Region, SharedMemory
from policy_client.policies.triton_regions import TritonRegions

__all__ = ['TritonPolicy', 'address', 'classify']

# A deadline that gRPC sees 3 ms earlier returns to the caller in time.
_RESERVE_NS = 3_000_000
_SHORTEST_S = 0.005  # shorter deadlines have crashed servers (triton 7368)
_UPKEEP_S = 0.5
_UPKEEP_AGAIN_NS = 1_000_000_000  # after a refusal
_CLOSE_S = 0.5
_BYTES = {'BOOL': 1, 'UINT8': 1, 'INT8': 1, 'UINT16': 2, 'INT16': 2, 'FP16': 2, 'BF16': 2,
          'UINT32': 4, 'INT32': 4, 'FP32': 4, 'UINT64': 8, 'INT64': 8, 'FP64': 8}


def address(url: str) -> str:
    """host:port of an endpoint's URL; raises ValueError."""
    return parse(url).address


@dataclass
class _Call:
    """A request on its way; `region` is what the server reads it from."""
    request: Request
    inputs: Mapping[str, NDArray[Any]]
    future: 'Future[Reply]'
    started_ns: int
    region: Region | None = None
    rpc: Any = None


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
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix='jpeg')
        self._memory = (SharedMemory(TritonRegions(self._connection))
                        if self._endpoint.shared_memory else None)
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix='shared_memory')
        self._upkeep_due = threading.Event()
        self._upkeep_after_ns = 0
        self._calls: dict[str, _Call] = {}
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
        specs = tuple(_spec(tensor) for tensor in metadata.inputs)
        inputs, self._jpeg = as_pictures(specs, parameters, self._endpoint.jpeg_quality)
        runs_on = self._endpoint.shown
        if self._memory:
            size = wire.placement(_sizes(specs)).size
            ready = not size or self._memory.prepare(size, left())
            runs_on += ', shared memory' if ready else f', {self._memory.refusal}'
        return ModelDescription(
            metadata.name,
            # Without a pin Triton answers with the newest of the versions that it lists.
            self._version or max(metadata.versions, key=int, default=''),
            inputs, tuple(_spec(tensor) for tensor in metadata.outputs), parameters, runs_on)

    def infer(self, request: Request) -> 'Future[Reply]':
        call = _Call(request, request.inputs, Future(), time.monotonic_ns())
        try:
            if self._jpeg:
                self._encoding.submit(self._encode_and_send, call)
            else:
                self._send(call)
        except RuntimeError:  # the thread has ended
            self._end(call, Failure.CANCELLED, 'closed')
        return call.future

    def cancel(self, request_id: str) -> None:
        """Give a request up that was sent: its future brings CANCELLED, unless it was done."""
        call = self._calls.get(request_id)
        if call and call.rpc:
            call.rpc.cancel()

    def close(self) -> None:
        self._closed = True
        # gRPC waits for its calls without a limit.
        closing = threading.Thread(target=self._end_all, daemon=True)
        closing.start()
        closing.join(2 * _CLOSE_S)

    # Sending

    def _encode_and_send(self, call: _Call) -> None:
        try:
            call.inputs = encoded(call.inputs, self._jpeg, self._endpoint.jpeg_quality)
        except ImageError as error:
            self._end(call, Failure.INVALID, str(error))
            return
        self._send(call)

    def _send(self, call: _Call, *, plain: bool = False) -> None:
        """Ask the server; every way out of here ends in the call's reply."""
        request = call.request
        try:
            if self._closed:
                self._end(call, Failure.CANCELLED, 'closed')
                return
            region = None if plain or not self._memory else self._placed(call, self._memory)
            used = call.started_ns + request.timeout_ns - _RESERVE_NS - time.monotonic_ns()
            timeout_s = used / 1e9
            if timeout_s < _SHORTEST_S:
                self._end(call, Failure.DEADLINE, f'{timeout_s * 1e3:.1f} ms are left, too short '
                                                  'to ask a server')
                return
            message = wire.serialised(self._model, self._version, request.request_id,
                                      round(timeout_s * 1e6), call.inputs, region)
            call.rpc = self._connection.send(wire.INFER, message, timeout_s)
        except PolicyUnavailable as error:
            self._end(call, Failure.UNREACHABLE, str(error))
        except ValueError as error:  # a type without a name in Triton; a channel that was closed
            self._end(call, Failure.CANCELLED if self._closed else Failure.INVALID,
                      self._connection.token.hidden(str(error)))
        else:
            self._calls[request.request_id] = call
            call.rpc.add_done_callback(functools.partial(self._done, call))

    def _placed(self, call: _Call, memory: SharedMemory) -> tuple[str, wire.Placement] | None:
        """Write the large inputs into a region; None when there is none to write to now."""
        placement = wire.placement(wire.sizes(call.inputs))
        if not placement.size:
            return None
        region = memory.take(placement.size)
        if region is None:
            self._keep_up(placement.size)
            return None
        call.region = region
        for name, offset in placement.offsets.items():
            data = wire.flat(call.inputs[name])
            region.bytes[offset:offset + data.size] = data
        return region.name, placement

    # Replies, on gRPC's thread

    def _done(self, call: _Call, rpc: Any) -> None:
        self._calls.pop(call.request.request_id, None)
        if rpc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._connection.given_up()
        else:
            self._connection.answered()
        if rpc.code() is not grpc.StatusCode.OK:
            details = str(rpc.details() or '')
            if call.region and self._memory and call.region.name in details and (
                    rpc.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)):
                # 'Unable to find shared memory region': the server was restarted, and read nothing.
                self._give_back(call, answered=True)
                self._memory.forget()
                self._send(call, plain=True)
                return
            self._end(call, classify(str(rpc.code()), details), self._connection.sentence(rpc))
            return
        try:
            actions, version = wire.parsed(rpc.result(), self._model, call.request.request_id)
        except wire.BadReply as error:
            self._end(call, Failure.BAD_REPLY, self._connection.token.hidden(str(error)))
            return
        self._give_back(call, answered=True)
        call.future.set_result(Reply(
            call.request.request_id, actions, version=version,
            elapsed_ns=time.monotonic_ns() - call.started_ns))

    def _end(self, call: _Call, failure: Failure, detail: str) -> None:
        # A call that was never sent has no reader; of any other it is not known.
        self._give_back(call, answered=call.rpc is None)
        call.future.set_result(Reply(
            call.request.request_id, failure=failure, detail=detail,
            elapsed_ns=time.monotonic_ns() - call.started_ns))

    def _give_back(self, call: _Call, *, answered: bool) -> None:
        region, call.region = call.region, None
        if region and self._memory:
            if answered:
                self._memory.free(region)
            else:
                self._memory.lose(region)
                self._keep_up(region.size)

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

    def _end_all(self) -> None:
        for pool in (self._encoding, self._upkeep):
            pool.shutdown(wait=False)
        for request_id in list(self._calls):
            self.cancel(request_id)
        if self._memory:
            self._memory.close(_CLOSE_S if self._connection.opened else 0.0)
        self._connection.close()


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tuple(int(size) for size in tensor.shape))


def _sizes(specs: tuple[TensorSpec, ...]) -> dict[str, int]:
    """name -> bytes of the tensors whose size is fixed."""
    found = {}
    for spec in specs:
        if spec.datatype in _BYTES and all(size > 0 for size in spec.shape):
            count = 1
            for size in spec.shape:
                count *= size
            found[spec.name] = count * _BYTES[spec.datatype]
    return found
