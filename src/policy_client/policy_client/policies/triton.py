"""A policy behind Triton's gRPC: deadlines that count, errors told apart, no thread of our own.

`client_timeout` is what ends a request; Triton's own `timeout` covers its queue only, and is sent
along so that a request nobody waits for any more is not computed.
"""

import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.policies.base import Failure, PolicyUnavailable, Reply, Request

_URL = re.compile(r'grpc://(?P<address>[^/\s]+:\d{1,5})/?')
# A deadline that gRPC sees 3 ms earlier returns to the caller in time.
_RESERVE_S = 0.003
_SHORTEST_S = 0.005  # shorter deadlines have crashed servers (triton 7368)
_CLOSE_S = 0.5
_MAX_REPLY_BYTES = 16 * 1024 * 1024
_CHANNEL = [
    ('grpc.max_send_message_length', -1),
    ('grpc.max_receive_message_length', _MAX_REPLY_BYTES),
    # gRPC's own backoff grows to two minutes; a robot wants its server back within a second.
    ('grpc.initial_reconnect_backoff_ms', 100),
    ('grpc.min_reconnect_backoff_ms', 500),
    ('grpc.max_reconnect_backoff_ms', 1000),
    # Finds a half-open connection under a waiting call. Never without a call: servers end
    # connections that ping idly.
    ('grpc.keepalive_time_ms', 10_000),
    ('grpc.keepalive_timeout_ms', 2_000),
    ('grpc.keepalive_permit_without_calls', 0),
]


def address(url: str) -> str:
    """host:port of a `grpc://host:port` URL; raises ValueError."""
    match = _URL.fullmatch(url)
    if not match:
        raise ValueError(f'{url!r} is not of the form grpc://host:port')
    return match['address']


def classify(status: str, message: str) -> Failure:
    """Triton's gRPC errors told apart: one code stands for several causes (2.51, 2.73 read)."""
    code = status.removeprefix('StatusCode.')
    text = message.lower()
    if code == 'DEADLINE_EXCEEDED':
        return Failure.DEADLINE
    if code == 'CANCELLED' or 'cancelled' in code.lower():
        return Failure.CANCELLED
    if 'maximum queue size' in text:
        return Failure.QUEUE_FULL
    if 'request timeout expired' in text:
        return Failure.QUEUE_TIMEOUT
    if code == 'NOT_FOUND' or 'unknown model' in text or 'not ready' in text:
        return Failure.NOT_FOUND
    if code == 'UNAVAILABLE':
        return Failure.UNREACHABLE
    if code in ('INVALID_ARGUMENT', 'UNIMPLEMENTED'):
        return Failure.INVALID
    return Failure.MODEL_ERROR


class TritonPolicy:
    """One model on one Triton server. infer and close from one thread, handshake from another."""

    def __init__(self, url: str, model: str, version: str = '') -> None:
        """url is grpc://host:port; version pins the model, empty takes the server's newest.

        Raises ValueError for a URL of another form. Nothing is connected yet.
        """
        self._model, self._version = model, version
        self._client = grpcclient.InferenceServerClient(address(url), channel_args=_CHANNEL)
        self._url = url
        self._closed = False

    def handshake(self, timeout_s: float) -> ModelDescription:
        limit = time.monotonic() + timeout_s

        def left() -> float:
            return max(_SHORTEST_S, limit - time.monotonic())

        try:
            metadata = self._client.get_model_metadata(
                self._model, self._version, client_timeout=left())
            config = self._client.get_model_config(
                self._model, self._version, client_timeout=left()).config
        except InferenceServerException as error:
            raise PolicyUnavailable(_sentence(error)) from error
        return ModelDescription(
            metadata.name,
            # Without a pin Triton answers with the newest of the versions that it lists.
            self._version or max(metadata.versions, key=int, default=''),
            tuple(_spec(tensor) for tensor in metadata.inputs),
            tuple(_spec(tensor) for tensor in metadata.outputs),
            {name: value.string_value for name, value in config.parameters.items()},
            self._url)

    def infer(self, request: Request) -> 'Future[Reply]':
        future: Future[Reply] = Future()
        started = time.monotonic_ns()

        def done(result: Any, error: InferenceServerException | None) -> None:
            elapsed = time.monotonic_ns() - started
            future.set_result(_reply(request, result, error, elapsed))

        timeout_s = max(_SHORTEST_S, request.timeout_ns / 1e9 - _RESERVE_S)
        try:
            if self._closed:
                raise InferenceServerException('closed', 'CANCELLED')
            self._client.async_infer(
                self._model, _inputs(request.inputs), done, model_version=self._version,
                request_id=request.request_id, timeout=round(timeout_s * 1e6),
                client_timeout=timeout_s)
        except InferenceServerException as error:
            done(None, error)
        return future

    def close(self) -> None:
        self._closed = True
        # gRPC waits for its calls without a limit.
        closing = threading.Thread(target=self._client.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)


def _inputs(tensors: Mapping[str, NDArray[Any]]) -> list[Any]:
    inputs = []
    for name, array in tensors.items():
        tensor = grpcclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs


def _reply(request: Request, result: Any, error: InferenceServerException | None,
           elapsed_ns: int) -> Reply:
    if error is not None:
        return Reply(request.request_id, failure=classify(error.status() or '', error.message()),
                     detail=_sentence(error), elapsed_ns=elapsed_ns)
    try:
        response = result.get_response()
        if response.id != request.request_id:
            raise ValueError(f'the reply is for {response.id!r}')
        actions = {}
        for output in response.outputs:
            array = result.as_numpy(output.name)
            if array is None:
                raise ValueError(f'{output.name} came without data')
            actions[output.name] = array
        return Reply(request.request_id, actions, version=response.model_version,
                     elapsed_ns=elapsed_ns)
    except Exception as fault:  # whatever bytes a server sends, the client goes on
        return Reply(request.request_id, failure=Failure.BAD_REPLY, detail=str(fault),
                     elapsed_ns=elapsed_ns)


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tuple(int(size) for size in tensor.shape))


def _sentence(error: InferenceServerException) -> str:
    return ' '.join(str(error.message()).split())[:300]
