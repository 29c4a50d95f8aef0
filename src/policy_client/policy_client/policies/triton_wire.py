"""KServe v2 infer requests and replies as bytes.

tritonclient's own `infer` copies each tensor three times on its way to gRPC (tobytes, into the
message, serialised). Here the message is serialised without its tensors, and they are joined on
behind it: concatenated protobuf messages are one message
(https://protobuf.dev/programming-guides/encoding/#last-one-wins), so large tensors are copied once.
"""

import functools
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import np_to_triton_dtype

INFER = '/inference.GRPCInferenceService/ModelInfer'
_RAW_INPUT_CONTENTS = 7 << 3 | 2  # field 7 of ModelInferRequest, length-delimited
_LARGE = 64 * 1024  # below, a copy is cheaper than the server's look-up of a region
_ALIGNMENT = 64
# What chunks are made of; for the rest tritonclient is asked, which takes longer.
_DTYPES: dict[str, np.dtype[Any]] = {'FP32': np.dtype('<f4'), 'FP64': np.dtype('<f8'),
                                     'FP16': np.dtype('<f2')}


class BadReply(Exception):
    """Bytes that are not a reply to the request."""


@dataclass(frozen=True)
class Placement:
    """Where large tensors lie in a region: name -> offset in bytes, and the bytes in all."""
    offsets: Mapping[str, int]
    size: int


def placement(sizes: Mapping[str, int]) -> Placement:
    """Lay tensors (name -> bytes) out in a region; small ones stay in the message."""
    offsets, end = {}, 0
    for name, size in sizes.items():
        if size >= _LARGE:
            offsets[name] = end
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return Placement(offsets, end)


def sizes(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """name -> bytes of the tensors that may lie in a region: strings have no fixed size."""
    return {name: array.nbytes for name, array in tensors.items() if array.dtype.kind not in 'OSU'}


def serialised(model: str, version: str, request_id: str, timeout_us: int,
               tensors: Mapping[str, NDArray[Any]], region: tuple[str, Placement] | None = None,
               ) -> bytes:
    """A ModelInferRequest; `region` names what lies in shared memory, the rest is inside.

    Raises ValueError for a type that Triton does not have.
    """
    signature = tuple((name, array.dtype, array.shape) for name, array in tensors.items())
    offsets = region[1].offsets if region else {}
    head = _head(model, version, signature, region[0] if region else '', tuple(offsets.items()))
    request = service_pb2.ModelInferRequest(id=request_id)
    request.parameters['timeout'].int64_param = timeout_us
    contents: list[Any] = []
    for name, array in tensors.items():
        if name not in offsets:
            content = _strings(array) if array.dtype.kind in 'OSU' else flat(array).data
            contents += (_key(len(content)), content)
    return b''.join((head, request.SerializeToString(), *contents))


@functools.lru_cache(64)
def _head(model: str, version: str, signature: tuple[tuple[str, Any, tuple[int, ...]], ...],
          region: str, offsets: tuple[tuple[str, int], ...]) -> bytes:
    """What does not change from request to request: the model, its inputs and where they lie."""
    message = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    placed = dict(offsets)
    for name, dtype, shape in signature:
        datatype = np_to_triton_dtype(dtype)
        if datatype is None:
            raise ValueError(f'{name} is {dtype}, which Triton does not have')
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if name in placed:
            tensor.parameters['shared_memory_region'].string_param = region
            tensor.parameters['shared_memory_byte_size'].int64_param = (
                math.prod(shape) * dtype.itemsize)
            tensor.parameters['shared_memory_offset'].int64_param = placed[name]
    return message.SerializeToString()


def flat(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of an array, a view where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def parsed(data: bytes, model: str, request_id: str) -> tuple[dict[str, NDArray[Any]], str]:
    """(actions, version) of a ModelInferResponse; raises BadReply for anything else."""
    try:
        message = service_pb2.ModelInferResponse.FromString(data)
    except DecodeError:
        raise BadReply('the reply is not a message') from None
    if message.id != request_id:
        raise BadReply(f'the reply is for {message.id[:80]!r}')
    if message.model_name != model:
        raise BadReply(f'the reply is of the model {message.model_name[:80]!r}')
    contents = message.raw_output_contents
    plain = len(contents) == len(message.outputs)
    actions = {}
    for index, output in enumerate(message.outputs):
        name, shape = output.name, tuple(output.shape)
        if min(shape, default=0) < 0:  # numpy would take it for 'whatever is left'
            raise BadReply(f'{name[:80]} has the shape {list(shape)[:8]}')
        dtype = _DTYPES.get(output.datatype)
        try:
            actions[name] = (np.frombuffer(contents[index], dtype).reshape(shape)
                             if plain and dtype else InferResult(message).as_numpy(name))
        except Exception as fault:  # whatever bytes a server sends, the client goes on
            raise BadReply(f'{name[:80]}: {fault}') from None
        if actions[name] is None:
            raise BadReply(f'{name[:80]} has the shape {list(shape)[:8]}')
    return actions, message.model_version


def _key(length: int) -> bytes:
    """Tag and length of one element of raw_input_contents; the length is a varint."""
    encoded = bytearray([_RAW_INPUT_CONTENTS])
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _strings(array: NDArray[Any]) -> bytes:
    """Triton's BYTES: each element behind its length, 4 bytes little-endian."""
    parts = []
    for element in array.flat:
        text = element.encode() if isinstance(element, str) else bytes(element)
        parts += [struct.pack('<I', len(text)), text]
    return b''.join(parts)
