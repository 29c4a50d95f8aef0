"""The on-board fallback: an ONNX file through onnxruntime, on a thread of its own.

Execution providers are taken in the order TensorRT, CUDA, CPU: the first whose libraries load.
"""

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.policies.base import Failure, PolicyUnavailable, Reply, Request, Split

PROVIDERS = ('TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider')
# What has to load for a provider; onnxruntime itself fails loudly, and only when it is used.
_LIBRARIES = {
    'TensorrtExecutionProvider': ('libcuda.so.1', 'libnvinfer.so.10'),
    'CUDAExecutionProvider': ('libcuda.so.1', 'libcudnn.so.9'),
    'CPUExecutionProvider': (),
}
_DATATYPES = {'tensor(uint8)': 'UINT8', 'tensor(int64)': 'INT64', 'tensor(float)': 'FP32',
              'tensor(string)': 'BYTES'}
_DTYPES = {'UINT8': np.uint8, 'INT64': np.int64, 'FP32': np.float32, 'BYTES': np.object_}


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def providers(available: Sequence[str], found: Callable[[str], bool] = loads) -> list[str]:
    """The execution providers to ask for, best first."""
    return [name for name in PROVIDERS
            if name in available and all(found(library) for library in _LIBRARIES[name])]


class OnnxPolicy:
    """One ONNX file. The file is read at the handshake; inferences run one after the other."""

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        self._path = Path(path)
        self._threads = threads
        self._session: Any = None
        self._outputs: list[str] = []
        self._version = ''
        self._split: Split | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix='onnx')

    def handshake(self, timeout_s: float) -> ModelDescription:
        import onnxruntime
        if not self._path.is_file():
            raise PolicyUnavailable(f'there is no file {self._path}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would take the cores of whatever else runs on the robot.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            session = onnxruntime.InferenceSession(
                str(self._path), options,
                providers=providers(onnxruntime.get_available_providers()))
            inputs = tuple(_spec(tensor) for tensor in session.get_inputs())
            outputs = tuple(_spec(tensor) for tensor in session.get_outputs())
            session.run(None, {tensor.name: np.zeros([max(1, size) for size in tensor.shape],
                                                     _DTYPES.get(tensor.datatype, np.float32))
                               for tensor in inputs})  # the first run is the slow one
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise PolicyUnavailable(f'{self._path}: {_sentence(error)}') from error
        self._outputs = [tensor.name for tensor in outputs]
        meta = session.get_modelmeta()
        parameters = dict(meta.custom_metadata_map)
        self._version = parameters.get('version', self._path.parent.name)
        self._session = session
        return ModelDescription(self._path.name, self._version, inputs, outputs, parameters,
                                session.get_providers()[0])

    def infer(self, request: Request) -> 'Future[Reply]':
        started = time.monotonic_ns()
        try:
            return self._worker.submit(self._run, request, started)
        except RuntimeError:  # closed
            future: Future[Reply] = Future()
            future.set_result(Reply(request.request_id, failure=Failure.CANCELLED, detail='closed'))
            return future

    def cancel(self, request_id: str) -> None:
        """An inference that runs cannot be stopped, and takes nothing from anybody else."""

    def split(self) -> Split | None:
        """Of the last inference: its wait for the one before, and the network itself."""
        return self._split

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _run(self, request: Request, started_ns: int) -> Reply:
        actions: dict[str, Any] = {}
        failure, detail = None, ''
        begun = time.monotonic_ns()
        try:
            if self._session is None:
                raise RuntimeError('the file was not read yet')
            actions = dict(zip(self._outputs, self._session.run(self._outputs, request.inputs),
                               strict=True))
        except Exception as error:  # onnxruntime's exceptions have no common base
            failure, detail = Failure.MODEL_ERROR, _sentence(error)
        elapsed = time.monotonic_ns() - started_ns
        waited = begun - started_ns
        self._split = Split(0.0, waited / 1e6, (elapsed - waited) / 1e6)
        if failure is None and elapsed > request.timeout_ns:
            actions, failure, detail = {}, Failure.DEADLINE, f'took {elapsed / 1e6:.1f} ms'
        return Reply(request.request_id, actions, failure, detail, self._version, elapsed)


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    return TensorSpec(tensor.name, _DATATYPES.get(tensor.type, tensor.type), shape)


def _sentence(error: Exception) -> str:
    return ' '.join(str(error).split())[:300]
