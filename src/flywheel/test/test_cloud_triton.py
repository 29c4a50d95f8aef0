"""The Deployment's own arguments start a real Triton, which does what the manifests promise."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
KEY = 'a-key-for-a-test'
desk_triton = pytest.importorskip('policy_client.desk_triton')
grpc = pytest.importorskip('tritonclient.grpc')
pytestmark = pytest.mark.skipif(not desk_triton.available(os.environ),
                                reason='no Triton environment: start this through ./dev')


def deployment_arguments() -> list[str]:
    path = ROOT / 'config/cloud/base/triton/deployment.yaml'
    [container] = yaml.safe_load(path.read_text())['spec']['template']['spec']['containers']
    return container['args']


class Server:
    """tritonserver with the Deployment's arguments; loopback, ports and backend are the desk's."""

    def __init__(self, folder: Path) -> None:
        self.ports = desk_triton.Ports.free()
        recipe = desk_triton.plan(
            Path(os.environ[desk_triton.ENVIRONMENT_VARIABLE]),
            Path(os.environ[desk_triton.LIBPYTHON_VARIABLE]), folder, ROOT / desk_triton.REPOSITORY,
            (), self.ports, base_env=os.environ, shm_prefix=f'spinal_cloud_{os.getpid()}')
        desk_triton.lay(recipe.links)
        program, *arguments = deployment_arguments()
        assert program == 'tritonserver'
        arguments = [a.replace('$(MODEL_REPOSITORY)', str(ROOT / desk_triton.REPOSITORY))
                     .replace('$(TRITON_ADMIN_KEY)', KEY) for a in arguments]
        given = {a.partition('=')[0] for a in arguments}
        desk = [a for a in recipe.argv[1:] if a.partition('=')[0] not in given]
        self.log = folder / 'triton.log'
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen([recipe.argv[0], *arguments, *desk],
                                            env=dict(recipe.env), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None,
            port: int | None = None) -> tuple[int, str]:
        with contextlib.closing(http.client.HTTPConnection(
                '127.0.0.1', port or self.ports.http, timeout=20.0)) as connection:
            connection.request(method, path, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    def until_ready(self) -> None:
        """Wait for the server's own answer; its end, or a minute without one, is a failure."""
        for _ in range(600):
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask('GET', '/v2/health/ready')[0] == 200:
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
                break
        raise AssertionError(self.log.read_text()[-2000:])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for region in Path('/dev/shm').glob(f'spinal_cloud_{os.getpid()}*'):
            region.unlink(missing_ok=True)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    found = Server(tmp_path_factory.mktemp('triton'))
    try:
        found.until_ready()
        yield found
    finally:
        found.close()


def test_the_pod_is_ready_with_its_model(server):
    assert server.ask('GET', '/v2/health/live')[0] == 200
    assert server.ask('GET', '/v2/models/amr/ready')[0] == 200
    assert server.ask('GET', '/v2/models/amr/config')[0] == 200


def test_nobody_loads_or_maps_memory_over_http_without_the_key(server):
    for path in ('/v2/repository/models/amr/unload', '/v2/repository/models/amr/load',
                 '/v2/repository/index', '/v2/systemsharedmemory/region/x/register'):
        status, text = server.ask('POST', path)
        assert status == 403, (path, status, text)
        assert 'restricted' in text
    assert server.ask('POST', '/v2/repository/index', {'admin-key': 'guess'})[0] == 403
    status, text = server.ask('POST', '/v2/repository/index', {'admin-key': KEY})
    assert status == 200
    assert {m['name'] for m in json.loads(text)} >= {'amr', 'groot'}


def test_nobody_loads_over_grpc_without_the_key(server):
    with grpc.InferenceServerClient(f'127.0.0.1:{server.ports.grpc}') as client:
        assert client.is_model_ready('amr')
        assert client.get_model_config('amr', as_json=True)['config']['name'] == 'amr'
        for headers in ({}, {'admin-key': KEY}, {'triton-grpc-protocol-admin-key': 'guess'}):
            with pytest.raises(Exception, match='restricted'):
                client.unload_model('amr', headers=headers)
        assert client.is_model_ready('amr')
        client.load_model('amr', headers={'triton-grpc-protocol-admin-key': KEY})
        assert client.is_model_ready('amr')


def test_metrics_are_those_that_the_autoscaler_divides(server):
    text = server.ask('GET', '/metrics', port=server.ports.metrics)[1]
    adapter = ROOT / 'config/cloud/components/prometheus-adapter/adapter_rules.yaml'
    rules = yaml.safe_load(yaml.safe_load(adapter.read_text())['data']['config.yaml'])['rules']
    named = {name for rule in rules for name in re.findall(r'nv_\w+', rule['metricsQuery'])}
    assert len(named) == 3
    for name in named:
        assert re.search(rf'^{name}{{', text, re.M), name
    assert re.search(r'^nv_inference_request_failure{.*reason="REJECTED".*}', text, re.M)
