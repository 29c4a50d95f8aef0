"""The Deployment's own arguments start the real control plane, and the image's check finds it."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
for package in ('uvicorn', 'starlette', 'sqlalchemy', 'alembic'):
    pytest.importorskip(package)

MODULE = 'flywheel.control_plane.server'


def deployment_container() -> dict:
    path = ROOT / 'config/cloud/base/control-plane/deployment.yaml'
    [container] = yaml.safe_load(path.read_text())['spec']['template']['spec']['containers']
    return container


def compose_command() -> list[str]:
    document = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())
    return document['services']['control-plane']['command']


@pytest.mark.parametrize('command', [deployment_container()['args'], compose_command()],
                         ids=['deployment', 'compose'])
def test_every_option_is_one_that_the_server_knows(command):
    assert command[:3] == ['python', '-m', MODULE]
    text = subprocess.run([sys.executable, '-m', MODULE, '--help'], capture_output=True, text=True,
                          check=True).stdout
    known = set(re.findall(r'--[a-z-]+', text))
    assert {argument.partition('=')[0] for argument in command[3:]} <= known


def test_it_serves_and_the_health_check_of_its_image_says_so(tmp_path):
    desk_tls = pytest.importorskip('flywheel.control_plane.desk_tls')
    cert, key = desk_tls.make(tmp_path / 'tls')
    (tmp_path / 'session_secret').write_bytes(os.urandom(32))
    (tmp_path / 'release.pem').write_bytes(b'')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    (tmp_path / 'models').mkdir()
    values = {'--host': '127.0.0.1', '--port': str(port), '--cert': str(cert), '--key': str(key),
              '--database': f'sqlite:///{tmp_path}/fleet.db',
              '--secret': str(tmp_path / 'session_secret'),
              '--release-key': f'release={tmp_path}/release.pem',
              '--repository': str(tmp_path / 'models')}
    names = [argument.partition('=')[0] for argument in deployment_container()['args'][3:]]
    assert set(names) == set(values)
    arguments = [f'{name}={values[name]}' for name in names]
    with open(tmp_path / 'log', 'wb') as log:
        process = subprocess.Popen([sys.executable, '-m', MODULE, *arguments], stdout=log,
                                   stderr=log, start_new_session=True)
    check = [sys.executable, '-I', str(ROOT / 'docker/healthcheck.py'), '--url',
             f'https://127.0.0.1:{port}/healthz']
    try:
        for _ in range(200):
            done = subprocess.run(check, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                break
        assert done.returncode == 0, done.stdout + (tmp_path / 'log').read_text()
    finally:
        process.terminate()
        process.wait(20)
    assert subprocess.run(check, capture_output=True, check=False).returncode == 1
