"""How a server is laid and run, without one; what it does is in test_triton.py."""

from pathlib import Path

import pytest

from policy_client import desk_triton
from policy_client.desk_triton import DeskTriton, DeskTritonError, Ports, lay, plan


def test_the_plan_is_a_bare_server_on_loopback(tmp_path):
    environment = tmp_path / 'env'
    recipe = plan(environment, Path('/python/lib'), tmp_path / 'desk', tmp_path / 'repository',
                  ['amr', 'other'], Ports(1, 2, 3), base_env={'PATH': '/bin', 'PYTHONPATH': '/ros',
                                                               'LD_LIBRARY_PATH': '/ros/lib'})
    backend = tmp_path / 'desk/backends/python'
    assert set(recipe.links) == {backend / 'libtriton_python.so',
                                 backend / 'triton_python_backend_utils.py',
                                 backend / 'triton_python_backend_stub'}
    assert recipe.argv[0].endswith('pytriton/tritonserver/bin/tritonserver')
    for argument in ('--grpc-port=1', '--http-port=2', '--metrics-port=3', '--load-model=other',
                     '--grpc-address=127.0.0.1', '--http-address=127.0.0.1',
                     '--model-control-mode=explicit', f'--model-repository={tmp_path}/repository',
                     f'--backend-directory={tmp_path}/desk/backends'):
        assert argument in recipe.argv
    # ROS's own libraries and packages must not reach the server's Python.
    assert set(recipe.env) <= {'PATH', 'LD_LIBRARY_PATH', 'OMP_NUM_THREADS'}
    assert recipe.env['PATH'] == f'{environment}/bin:/bin'
    assert recipe.env['LD_LIBRARY_PATH'].endswith('nvidia_pytriton.libs:/python/lib')
    assert not (tmp_path / 'desk').exists()


def test_links_are_laid_again_and_a_missing_part_is_named(tmp_path):
    target = tmp_path / 'part'
    target.touch()
    links = {tmp_path / 'a/b/link': target}
    lay(links)
    lay(links)
    assert (tmp_path / 'a/b/link').resolve() == target
    with pytest.raises(DeskTritonError, match='nothing is missing'):
        lay({tmp_path / 'link': tmp_path / 'nothing'})


def test_without_an_environment_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.delenv(desk_triton.ENVIRONMENT_VARIABLE, raising=False)
    with pytest.raises(DeskTritonError, match='SPINAL_TRITON_ENV is not set; start this through'):
        DeskTriton('repository')
    assert desk_triton.main(['--repository', 'repository']) == 1
    assert 'SPINAL_TRITON_ENV' in capsys.readouterr().err


def test_free_ports_are_three():
    ports = Ports.free()
    assert len({ports.grpc, ports.http, ports.metrics}) == 3
