"""Who sees an observation's bytes: a tap on a ZMQ connection, a Triton model, an ONNX network."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx_file
import zmq
from gr00t_server import unpack

_POLL_MS = 50
TRITON_MODEL = 'checksums'
CHECKSUMS = 'crc32'  # its output: one of each input, in the order of INPUTS
INPUTS = tuple(onnx_file.INPUTS)


class Tap:
    """A forwarder between a client and GR00T's server that keeps the questions as they passed."""

    def __init__(self, server_port: int, encoding: str) -> None:
        self._encoding = encoding
        self._messages: list[bytes] = []
        self._context = zmq.Context()
        self._front, self._back = (self._context.socket(kind) for kind in (zmq.ROUTER, zmq.DEALER))
        self.port = self._front.bind_to_random_port('tcp://127.0.0.1')
        self._back.connect(f'tcp://127.0.0.1:{server_port}')
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._forward)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()
        self._context.destroy(0)

    def observation(self) -> dict[str, np.ndarray]:
        """The newest one that passed, under flat tensor names; the text as the client holds it."""
        asked = [unpack(message, self._encoding) for message in self._messages]
        found = [question['data']['observation'] for question in asked
                 if question['endpoint'] == 'get_action'][-1]
        if 'video' in found:
            flat = {f'{modality}.{key}': value for modality in ('video', 'state')
                    for key, value in found[modality].items()}
            found = flat | {key: text[0] for key, text in found['language'].items()}
        return {key: value if isinstance(value, np.ndarray)
                else np.array([[value[0].encode()]], np.object_) for key, value in found.items()}

    def _forward(self) -> None:
        poller = zmq.Poller()
        for socket in (self._front, self._back):
            poller.register(socket, zmq.POLLIN)
        while not self._ending.is_set():
            ready: dict[Any, int] = dict(poller.poll(_POLL_MS))
            if self._front in ready:
                frames = self._front.recv_multipart()
                self._messages.append(frames[-1])
                self._back.send_multipart(frames)
            if self._back in ready:
                self._front.send_multipart(self._back.recv_multipart())


# Answers with the CRC-32 of each input's bytes as they reached it, after as long as it is told.
_MODEL = '''
import json, time, zlib
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._names = [each['name'] for each in json.loads(args['model_config'])['input']]

    def execute(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        wait = pb_utils.get_input_tensor_by_name(request, 'wait_s')
        if wait is not None:
            time.sleep(float(wait.as_numpy()[0]))
        found = [zlib.crc32(np.ascontiguousarray(
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()))
            for name in self._names if name != 'wait_s']
        return pb_utils.InferenceResponse([pb_utils.Tensor('crc32', np.array(found, np.int64))])
'''
_TYPES = {onnx_file.FLOAT: 'TYPE_FP32', onnx_file.UINT8: 'TYPE_UINT8',
          onnx_file.INT64: 'TYPE_INT64'}
ECHO = 'echo.'


def lay_triton(folder: Path) -> Path:
    """A model repository with TRITON_MODEL, which takes the AMR's inputs."""
    version = folder / TRITON_MODEL / '1'
    version.mkdir(parents=True)
    (version / 'model.py').write_text(_MODEL)
    inputs = [f'{{ name: "{name}", data_type: {_TYPES[kind]}, dims: {list(shape)} }}'
              for name, (kind, shape) in onnx_file.INPUTS.items()]
    inputs.append('{ name: "wait_s", data_type: TYPE_FP32, dims: [ 1 ], optional: true }')
    (folder / TRITON_MODEL / 'config.pbtxt').write_text(f'''
name: "{TRITON_MODEL}"
backend: "python"
max_batch_size: 0
input [ {', '.join(inputs)} ]
output [ {{ name: "{CHECKSUMS}", data_type: TYPE_INT64, dims: [ {len(inputs) - 1} ] }} ]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
''')
    return folder


def lay_onnx(path: Path) -> Path:
    """An ONNX network with the AMR's inputs that answers with them: `echo.` + name."""
    wire = onnx_file
    graph = b''.join(wire._bytes(1, wire._node('Identity', [name], ECHO + name))
                     for name in wire.INPUTS) + wire._bytes(2, 'echo')
    for field, prefix in ((11, ''), (12, ECHO)):
        graph += b''.join(wire._bytes(field, wire._value_info(prefix + name, kind, shape))
                          for name, (kind, shape) in wire.INPUTS.items())
    path.write_bytes(wire._number(1, 8) + wire._bytes(7, graph)
                     + wire._bytes(8, wire._bytes(1, '') + wire._number(2, 17)))
    return path
