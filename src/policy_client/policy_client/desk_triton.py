"""A real Triton server on a desk without Docker and without a GPU, for tests, demo and bench.

The server is the one that the `nvidia-pytriton` wheel carries: NVIDIA's tritonserver with its
Python backend. It is run as a plain binary over a model repository. On a robot and in a data
centre Triton comes in NVIDIA's container instead; what a client sees is the same.

    ./dev triton [--embodiment config/embodiments/so100.yaml]

This module needs the standard library only (`--embodiment` reads YAML).
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ENVIRONMENT_VARIABLE = 'SPINAL_TRITON_ENV'
LIBPYTHON_VARIABLE = 'SPINAL_LIBPYTHON'
REPOSITORY = Path('docker/triton/model_repository')
_SITE = Path('lib/python3.12/site-packages')
_BACKEND_FILES = ('libtriton_python.so', 'triton_python_backend_utils.py')
# Dies with its parent: SIGKILL to the server when the process that started it is gone.
_LEASHED = ('import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); '
            'os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])')


class DeskTritonError(RuntimeError):
    """Triton could not be started, loaded or stopped; the message says why and where its log is."""


@dataclass(frozen=True)
class Ports:
    grpc: int = 8001
    http: int = 8000
    metrics: int = 8002

    @classmethod
    def free(cls) -> Self:
        """Three ports that nobody listens on now."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(('127.0.0.1', 0))
            return cls(*(each.getsockname()[1] for each in sockets))


@dataclass(frozen=True)
class Plan:
    """How to run the server: links to lay (link -> target), then argv under env."""
    links: Mapping[Path, Path]
    argv: tuple[str, ...]
    env: Mapping[str, str]
    shm_prefix: str


def plan(environment: Path, libpython: Path, folder: Path, repository: Path,
         models: Sequence[str], ports: Ports, *, base_env: Mapping[str, str],
         shm_prefix: str = 'spinal_triton') -> Plan:
    """What runs tritonserver from the virtual environment with nvidia-pytriton; touches nothing.

    Args:
        environment: the virtual environment with nvidia-pytriton, numpy 1.26 and onnxruntime.
        libpython: the folder of libpython3.12.so.1.0, which the Python stub links to.
        folder: an own, writable folder; `backends/python` is laid in it.
        repository: the model repository; the server only reads it.
        models: what is loaded at start; everything else by an explicit load.
    """
    site = environment.resolve() / _SITE
    triton = site / 'pytriton' / 'tritonserver'
    backend = folder.resolve() / 'backends' / 'python'
    links = {backend / name: triton / 'backends' / 'python' / name for name in _BACKEND_FILES}
    links[backend / 'triton_python_backend_stub'] = (
        triton / 'python_backend_stubs' / '3.12' / 'triton_python_backend_stub')
    argv = [str(triton / 'bin' / 'tritonserver'), f'--model-repository={repository.resolve()}',
            f'--backend-directory={backend.parent}', '--model-control-mode=explicit',
            '--http-address=127.0.0.1', '--grpc-address=127.0.0.1',
            f'--http-port={ports.http}', f'--grpc-port={ports.grpc}',
            f'--metrics-port={ports.metrics}', '--exit-timeout-secs=5',
            f'--backend-config=python,shm-region-prefix-name={shm_prefix}']
    env = {name: base_env[name] for name in ('HOME', 'TMPDIR', 'LANG') if name in base_env}
    # The stub embeds Python and takes for its own the environment of the python3 it finds first;
    # PYTHONPATH has no effect on it. Another environment's numpy 2 makes every reply empty.
    env['PATH'] = f'{environment.resolve() / "bin"}:{base_env.get("PATH", os.defpath)}'
    env['LD_LIBRARY_PATH'] = f'{site / "nvidia_pytriton.libs"}:{libpython}'
    env['OMP_NUM_THREADS'] = '1'
    return Plan(links, (*argv, *(f'--load-model={name}' for name in models)), env, shm_prefix)


def lay(links: Mapping[Path, Path]) -> None:
    """Make the links; raises DeskTritonError naming the first target that is missing."""
    for link, target in links.items():
        if not target.exists():
            raise DeskTritonError(f'{target} is missing; is the environment complete? '
                                  f'({ENVIRONMENT_VARIABLE} points to it)')
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


class DeskTriton:
    """One tritonserver in a process group of its own, on loopback.

    Use it as a context manager, and start it from the thread that lives longest: the kernel's
    parent-death signal follows the thread that forked, not the process.
    """

    def __init__(self, repository: Path | str, *, models: Sequence[str] = ('amr',),
                 environment: Path | str | None = None, libpython: Path | str | None = None,
                 ports: Ports | None = None, folder: Path | str | None = None,
                 ready_timeout_s: float = 60.0) -> None:
        """Raises DeskTritonError when neither the arguments nor the variables say where Triton is.

        folder keeps the links and `triton.log`; without one a temporary folder is used and removed.
        """
        self.ports = ports or Ports.free()
        self.repository = Path(repository)
        self._models = tuple(models)
        self._ready_timeout_s = ready_timeout_s
        self._environment = Path(environment or _variable(ENVIRONMENT_VARIABLE))
        self._libpython = Path(libpython or _variable(LIBPYTHON_VARIABLE))
        self._own_folder = folder is None
        self.folder = Path(folder) if folder else Path(tempfile.mkdtemp(prefix='desk_triton_'))
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._shm_prefix = ''
        self.version = ''  # Triton's own, known once it was ready

    @property
    def endpoint(self) -> str:
        return f'grpc://127.0.0.1:{self.ports.grpc}'

    @property
    def log(self) -> Path:
        return self.folder / 'triton.log'

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, *, wait: bool = True) -> Self:
        """Start the server; with wait, return when every model is ready (about 3 s)."""
        if self.pid is not None:
            return self
        self._starts += 1
        self._shm_prefix = f'spinal_triton_{os.getpid()}_{self.ports.grpc}_{self._starts}'
        recipe = plan(self._environment, self._libpython, self.folder, self.repository,
                      self._models, self.ports, base_env=os.environ, shm_prefix=self._shm_prefix)
        lay(recipe.links)
        with open(self.log, 'ab') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-I', '-S', '-c', _LEASHED, str(os.getpid()), *recipe.argv],
                env=dict(recipe.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until server and models are ready; raises DeskTritonError with the reason."""
        limit = time.monotonic() + self._ready_timeout_s
        paths = ['/v2/health/ready', *(f'/v2/models/{name}/ready' for name in self._models)]
        while not all(self._get_status(path) == 200 for path in paths):
            if self._process is None or self._process.poll() is not None:
                raise DeskTritonError(f'tritonserver ended at start: {self._last_error()}')
            if time.monotonic() > limit:
                self.kill()
                raise DeskTritonError(f'tritonserver was not ready after {self._ready_timeout_s:g}'
                                      f' s: {self._last_error()}')
            time.sleep(0.05)
        self.version = str(json.loads(self._request('GET', '/v2'))['version'])

    def stop(self) -> None:
        """End it as an operator would; kill what stays after 8 s."""
        if self.pid is not None:
            assert self._process is not None
            self.resume()
            self._signal(signal.SIGTERM, whole_group=False)  # the stub ends with its server
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(8.0)
        self.kill()

    def kill(self) -> None:
        """kill -9 of the whole group, as a crash or a power cut looks to a client."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._sweep_shared_memory()

    def pause(self) -> None:
        """Hang it: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self, model: str = 'amr', **parameters: str) -> None:
        """Load the model again with parameters overridden, `drill='nan'` say (about 1.5 s).

        What was overridden stays so until it is overridden again or the server is restarted.
        Raises DeskTritonError with Triton's own words when the load is refused; the model that
        was loaded before stays in service then.
        """
        config = json.loads(self._request('GET', f'/v2/models/{model}/config'))
        for name, value in parameters.items():
            config['parameters'][name] = {'string_value': value}
        body = {'parameters': {'config': json.dumps(config)}}
        self._request('POST', f'/v2/repository/models/{model}/load', json.dumps(body))

    def parameters(self, model: str = 'amr') -> dict[str, str]:
        """The parameters that the model is loaded with."""
        config = json.loads(self._request('GET', f'/v2/models/{model}/config'))
        return {name: value['string_value'] for name, value in config['parameters'].items()}

    def close(self) -> None:
        """End it for good, at once: an orderly stop takes 3 s and would save nothing."""
        self.kill()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _signal(self, number: int, *, whole_group: bool = True) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(self._process.pid, number)

    def _sweep_shared_memory(self) -> None:
        # A killed server leaves the regions that it shared with its stub.
        if self._shm_prefix:
            for region in Path('/dev/shm').glob(f'{self._shm_prefix}*'):
                region.unlink(missing_ok=True)

    def _get_status(self, path: str) -> int:
        try:
            with contextlib.closing(self._connection(2.0)) as connection:
                connection.request('GET', path)
                return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0

    def _request(self, method: str, path: str, body: str | None = None) -> str:
        try:
            with contextlib.closing(self._connection(self._ready_timeout_s)) as connection:
                connection.request(method, path, body)
                response = connection.getresponse()
                text = response.read().decode(errors='replace')
        except (OSError, http.client.HTTPException) as error:
            raise DeskTritonError(f'{method} {path}: no answer ({error})') from error
        if response.status != 200:
            raise DeskTritonError(f'{method} {path}: {text.strip()}')
        return text

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection('127.0.0.1', self.ports.http, timeout=timeout_s)

    def _last_error(self) -> str:
        lines = self.log.read_text(errors='replace').splitlines() if self.log.exists() else []
        errors = [line for line in lines if line.startswith(('E', 'error', 'Traceback'))
                  or 'error' in line.lower()]
        reason = (errors or lines or ['it wrote nothing'])[-1].strip()
        return reason if self._own_folder else f'{reason} (log: {self.log})'


def standin_for(file: Path) -> dict[str, str]:
    """The parameters of `groot` that make its stand-in a model for an embodiment's file.

    Raises EmbodimentError for a file that breaks a rule.
    """
    from policy_client import embodiment_file
    from policy_client.vocabulary import Vocabulary
    robot = embodiment_file.load(file)
    vocabulary = Vocabulary.load(file.parent / 'vocabulary.txt')
    return {'embodiment': robot.name, 'embodiment_tag': robot.name,
            'action_period_ms': str(robot.action_period_ms),
            'modality_sha256': robot.modality_sha256(vocabulary.sha256)}


def available(environ: Mapping[str, str]) -> bool:
    """Whether the variables name a Triton environment."""
    return bool(environ.get(ENVIRONMENT_VARIABLE)) and bool(environ.get(LIBPYTHON_VARIABLE))


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise DeskTritonError(f'{name} is not set; start this through ./dev, or say where it is')
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve in the foreground until interrupted; 1 with one sentence when it cannot."""
    parser = argparse.ArgumentParser(prog='python -m policy_client.desk_triton',
                                     description='A real Triton server on loopback, on the CPU.')
    parser.add_argument('--repository', type=Path, default=REPOSITORY,
                        help=f'the model repository (default: {REPOSITORY})')
    parser.add_argument('--model', action='append', help='what to load (default: amr)')
    parser.add_argument('--embodiment', type=Path, metavar='FILE', help='load the model `groot`, '
                        'with its stand-in for this robot (config/embodiments/)')
    parser.add_argument('--grpc-port', type=int, default=Ports.grpc)
    parser.add_argument('--http-port', type=int, default=Ports.http)
    parser.add_argument('--metrics-port', type=int, default=Ports.metrics)
    parser.add_argument('--folder', type=Path, help='keeps the links and triton.log')
    options = parser.parse_args(arguments)
    ports = Ports(options.grpc_port, options.http_port, options.metrics_port)
    # A supervisor's SIGTERM ends the server too, not only a Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        models = options.model or ['groot' if options.embodiment else 'amr']
        with DeskTriton(options.repository, models=models, ports=ports,
                        folder=options.folder) as server:
            if options.embodiment:
                server.reload('groot', **standin_for(options.embodiment))
            print(f'ready: {server.endpoint}', flush=True)
            assert server._process is not None
            status = server._process.wait()
            print(f'tritonserver ended with status {status}: {server._last_error()}',
                  file=sys.stderr)
            return 1
    except (DeskTritonError, ValueError) as error:
        print(f'desk_triton: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
