"""A stand-in for GR00T's server with its wire interface, as a process of its own.

Its codec is written apart from the client's, with np.save, np.load and msgpack's own hooks, as the
real server does it. It checks observations as Isaac-GR00T does, answers each row of the action with
the first values of the state, and misbehaves on request (`drill`, an endpoint the real one lacks).
"""

import argparse
import contextlib
import io
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import zmq

NPY, MSGPACK_NUMPY = 'npy', 'msgpack_numpy'
HORIZON = 16
VIDEO, STATE = ('front',), {'velocity': 2, 'goal': 2}
LANGUAGE = 'annotation.human.task_description'
ACTION, ACTION_SIZE = 'base_velocity', 2
_READY_S = 20.0


def pack(value: Any, encoding: str) -> bytes:
    """What the real server's (and its client's) serialiser writes."""
    def npy(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        data = io.BytesIO()
        np.save(data, array, allow_pickle=False)
        return {'__ndarray_class__': True, 'as_npy': data.getvalue()}

    def msgpack_numpy(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        return {b'nd': True, b'type': array.dtype.str, b'kind': b'', b'shape': array.shape,
                b'data': array.tobytes()}

    return msgpack.packb(value, default=npy if encoding == NPY else msgpack_numpy)


def unpack(message: bytes, encoding: str) -> Any:
    """Like the real server: maps of the other encoding stay maps."""
    def npy(value: Any) -> Any:
        if '__ndarray_class__' in value:
            return np.load(io.BytesIO(value['as_npy']), allow_pickle=False)
        return value

    def msgpack_numpy(value: Any) -> Any:
        if value.get(b'nd') is True:
            return np.ndarray(buffer=value[b'data'], dtype=value[b'type'], shape=value[b'shape'])
        return value

    return msgpack.unpackb(message, object_hook=npy if encoding == NPY else msgpack_numpy)


class ObjectArray:
    """Makes a file when it is unpickled: nobody may."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, 'w')


def object_reply(encoding: str, path: str) -> bytes:
    """An action whose array is one of pickled objects."""
    array = np.array([[[ObjectArray(path)]]], dtype=object)
    if encoding == NPY:
        data = io.BytesIO()
        np.save(data, array, allow_pickle=True)
        value: Any = {'__ndarray_class__': True, 'as_npy': data.getvalue()}
    else:
        value = {b'nd': True, b'type': '|O', b'kind': b'O', b'shape': [1, 1, 1],
                 b'data': pickle.dumps(array)}
    return msgpack.packb([{ACTION: value}, {}])


class Server:
    """One REP socket; one request at a time, as the real one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seen: Counter[str] = Counter()
        self.drill = ('', '', 0)
        self.socket = zmq.Context().socket(zmq.REP)
        self.port = self.socket.bind_to_random_port('tcp://127.0.0.1') if not options.port else (
            self.socket.bind(f'tcp://127.0.0.1:{options.port}'), options.port)[1]

    def run(self) -> None:
        print(f'ready {self.port}', flush=True)
        while True:
            message = self.socket.recv()
            try:
                self.socket.send_multipart(self.handle(message))
            except Exception as error:  # as the real one
                self.socket.send(pack({'error': str(error)}, self.options.encoding))

    def handle(self, message: bytes) -> list[bytes]:
        request = unpack(message, self.options.encoding)
        endpoint = request.get('endpoint', 'get_action')
        if endpoint == 'drill':
            self.drill = tuple(request['data'].values())
            return [pack({}, self.options.encoding)]
        if endpoint == 'seen':
            return [pack(dict(self.seen), self.options.encoding)]
        self.seen[endpoint] += 1
        if self.options.token and request.get('api_token') != self.options.token:
            return [pack({'error': 'Unauthorized: Invalid API token'}, self.options.encoding)]
        if endpoint == 'ping':
            answer: Any = {'status': 'ok', 'message': 'Server is running'}
        elif endpoint == 'reset':
            answer = {}
        elif endpoint == 'get_modality_config':
            answer = self.modalities()
        elif endpoint == 'get_action':
            answer = [self.actions(**request['data']), {}]
            return self.rehearse(answer)
        else:
            raise ValueError(f'Unknown endpoint: {endpoint}')
        return [pack(answer, self.options.encoding)]

    def modalities(self) -> dict[str, Any]:
        def entry(keys: list[str], steps: int, **more: Any) -> dict[str, Any]:
            content = {'delta_indices': list(range(steps)), 'modality_keys': keys,
                       'sin_cos_embedding_keys': None, 'mean_std_embedding_keys': None,
                       'action_configs': None} | more
            marker = ('__ModalityConfig_class__' if self.options.encoding == NPY
                      else '__ModalityConfig__')
            return {marker: True, 'as_json': content}

        rep = {'rep': 'RELATIVE', 'type': 'NON_EEF', 'format': 'DEFAULT', 'state_key': None}
        return {'video': entry(list(VIDEO), self.options.frames), 'state': entry(list(STATE), 1),
                'action': entry([self.options.action], self.options.horizon, action_configs=[rep]),
                'language': entry([LANGUAGE], 1)}

    def actions(self, observation: dict[str, Any], options: Any = None) -> dict[str, Any]:
        assert options is None
        if self.options.layout == 'flat':
            assert 'video.front' in observation, "Video key 'video.front' must be in observation"
            video, text = observation['video.front'], observation[LANGUAGE]
            state = {key: observation[f'state.{key}'] for key in STATE}
        else:
            for modality in ('video', 'state', 'language'):
                assert modality in observation, f"Observation must contain a '{modality}' key"
            video, state = observation['video']['front'], observation['state']
            text = observation['language'][LANGUAGE][0]
        assert isinstance(video, np.ndarray), f"'front' must be a numpy array. Got {type(video)}"
        assert video.dtype == np.uint8, "Video key 'front' must be a numpy array of type np.uint8"
        assert video.ndim == 5, "Video key 'front' must be a numpy array of shape (B, T, H, W, C)"
        assert isinstance(text[0], str), 'Language batch item must be a string'
        for key, size in STATE.items():
            assert state[key].dtype == np.float32, f"State key '{key}' must be np.float32"
            if state[key].shape != (1, 1, size):
                raise RuntimeError(f'operands could not be broadcast together: {state[key].shape}')
        row = state['goal'][0, 0, :ACTION_SIZE]
        name = self.options.action
        return {name if self.options.layout == 'nested' else f'action.{name}':
                np.tile(row, (1, self.options.horizon, 1)).astype(np.float32)}

    def rehearse(self, answer: Any) -> list[bytes]:
        drill, argument, left = self.drill
        if left <= 0:
            return [pack(answer, self.options.encoding)]
        self.drill = (drill, argument, left - 1)
        name = next(iter(answer[0]))
        array = answer[0][name]
        match drill:
            case 'slow':
                time.sleep(float(argument))
            case 'die':
                os._exit(9)
            case 'garbage':
                return [b'\xc1\xff not msgpack']
            case 'legacy_error':
                return [b'ERROR']
            case 'parts':
                return [pack(answer, self.options.encoding)] * 2
            case 'huge':
                return [pack([answer[0], {'more': bytes(int(argument))}], self.options.encoding)]
            case 'objects':
                return [object_reply(self.options.encoding, argument)]
            case 'error':
                raise RuntimeError(argument)
            case 'other_key':
                answer[0]['action.gripper'] = array
            case 'columns':  # the memory order that a transposed tensor has
                answer[0][name] = np.asfortranarray(
                    np.arange(array.size, dtype=np.float32).reshape(array.shape))
        return [pack(answer, self.options.encoding)]


class Standin:
    """The server as a process: start it, hang it, kill it, ask it what it saw."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments, '--port', str(port)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _READY_S)
        words = self._process.stdout.readline().split() if ready else []
        if words[:1] != ['ready']:
            self.kill()
            raise RuntimeError(f'the stand-in did not start: {self._process.stderr.read()}')
        self.port = int(words[1])
        self.encoding = MSGPACK_NUMPY if MSGPACK_NUMPY in arguments else NPY

    @property
    def url(self) -> str:
        return f'zmq://127.0.0.1:{self.port}'

    def drill(self, name: str, argument: str = '', count: int = 1) -> None:
        """The next count answers to get_action misbehave."""
        self._ask('drill', name=name, argument=argument, count=count)

    def seen(self) -> Any:
        """How often each endpoint was asked."""
        return SimpleNamespace(**{'get_action': 0, 'get_modality_config': 0} | self._ask('seen'))

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _ask(self, endpoint: str, **data: Any) -> Any:
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.rcvtimeo = 20_000
            socket.connect(f'tcp://127.0.0.1:{self.port}')
            socket.send(msgpack.packb({'endpoint': endpoint, 'data': data}))
            return msgpack.unpackb(socket.recv())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--encoding', choices=(NPY, MSGPACK_NUMPY), default=NPY)
    parser.add_argument('--layout', choices=('nested', 'flat'), default='nested')
    parser.add_argument('--horizon', type=int, default=HORIZON)
    parser.add_argument('--frames', type=int, default=1)
    parser.add_argument('--action', default=ACTION)
    parser.add_argument('--token', default='')
    parser.add_argument('--port', type=int, default=0)
    Server(parser.parse_args()).run()


if __name__ == '__main__':
    main()
