"""Shared memory, TLS, tokens and JPEG against a real Triton; what needs none is at the end."""

import contextlib
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import transport_models as models
from transport_certificates import Authority

from policy_client import desk_triton, images
from policy_client.desk_triton import DeskTriton
from policy_client.policies import triton_memory
from policy_client.policies.base import Failure, PolicyUnavailable, Request
from policy_client.policies.triton import TritonPolicy

MS = 1_000_000
TOKEN = 'v3ry-s3cret-token'
HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def log(tmp_path_factory):
    return tmp_path_factory.mktemp('seen') / 'log'


@pytest.fixture(scope='module')
def running_server(triton_environment, tmp_path_factory, log):
    repository = models.lay(tmp_path_factory.mktemp('models'), log)
    with DeskTriton(repository, models=(models.PICTURES, models.JPEG),
                    folder=tmp_path_factory.mktemp('desk')) as server:
        yield server


@pytest.fixture
def server(running_server):
    return running_server.start()  # nothing to do, unless a test before this one ended it


@pytest.fixture
def shared(server):
    policy = TritonPolicy(f'{server.endpoint}?shared_memory=true', models.PICTURES)
    assert policy.handshake(5.0).runs_on == f'{server.endpoint}, shared memory'
    yield policy
    policy.close()
    assert regions() == []


def regions():
    return [name for name in os.listdir('/dev/shm')
            if name.startswith('spinal_policy_')]


def inputs(seed=0, wait_s=0.0):
    random = np.random.default_rng(seed)
    cameras = {name: random.integers(0, 256, (1, 1, models.SIDE, models.SIDE, 3), np.uint8)
               for name in models.CAMERAS}
    return cameras | {'state.wait_s': np.array([wait_s], np.float32)}


def digests(tensors):
    return [hashlib.sha256(tensors[name].tobytes()).digest() for name in models.CAMERAS]


def ask(policy, tensors, *, timeout_ms=2000, request_id='1'):
    return policy.infer(Request(request_id, tensors, timeout_ms * MS)).result(10.0)


def seen(reply):
    assert reply.failure is None, reply
    return [row.tobytes() for row in reply.actions['digests']]


def wait_until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def counted(monkeypatch):
    """How each request travelled from here on: the bytes of its message."""
    from policy_client.policies import triton
    messages = []

    def serialised(*arguments, **named):
        messages.append(original(*arguments, **named))
        return messages[-1]

    original = triton.wire.serialised
    monkeypatch.setattr(triton.wire, 'serialised', serialised)
    return messages


# Shared memory

def test_shared_memory_brings_the_same_bytes_as_a_message(server, shared, monkeypatch):
    plain = TritonPolicy(server.endpoint, models.PICTURES)
    messages = counted(monkeypatch)
    for seed in range(20):
        tensors = inputs(seed)
        # A view with strides of its own, as a cropped camera is.
        tensors['video.image'] = tensors['video.image'][:, :, ::-1]
        assert seen(ask(shared, tensors)) == seen(ask(plain, tensors)) == digests(tensors)
    assert max(map(len, messages[::2])) < 2000
    assert min(map(len, messages[1::2])) > 2 * models.SIDE ** 2 * 3
    plain.close()


def test_a_server_that_restarts_is_served_at_once_and_gets_its_regions_again(
        server, shared, monkeypatch):
    server.restart()
    messages = counted(monkeypatch)
    tensors = inputs(1)

    def answered():
        return ask(shared, tensors).failure is None  # the connection comes back in its own time

    wait_until(answered)
    assert seen(ask(shared, inputs(2))) == digests(inputs(2))

    def small():
        return seen(ask(shared, inputs(3))) == digests(inputs(3)) and len(messages[-1]) < 2000

    wait_until(small)


def test_a_region_that_the_server_dropped_costs_no_reply(server, shared, monkeypatch):
    assert seen(ask(shared, inputs(1))) == digests(inputs(1))
    subprocess.run([sys.executable, '-c', (
        'import sys, tritonclient.grpc as g; '
        'g.InferenceServerClient(sys.argv[1]).unregister_system_shared_memory()'),
        server.endpoint.removeprefix('grpc://')], check=True, timeout=30)
    messages = counted(monkeypatch)
    assert seen(ask(shared, inputs(2))) == digests(inputs(2))
    assert [len(message) > 2000 for message in messages] == [False, True]


def test_what_was_given_up_is_not_overwritten_while_it_may_be_read(server, shared, log):
    """triton 7532: a request that timed out waits in the server's queue, and is read later."""
    tensors = {number: inputs(100 + number, wait_s=0.4 if number < 3 else 0.0)
               for number in range(8)}
    for number in range(3):
        reply = ask(shared, tensors[number], timeout_ms=60, request_id=f'lost/{number}')
        assert reply.failure is Failure.DEADLINE
    for number in range(3, 8):
        reply = ask(shared, tensors[number], timeout_ms=5000, request_id=f'lost/{number}')
        assert seen(reply) == digests(tensors[number])
    found = dict(line.split() for line in log.read_text().splitlines() if 'lost/' in line)
    assert 'lost/0' in found  # it was read though nobody waited for it
    for name, digest in found.items():
        number = int(name.removeprefix('lost/'))
        assert digest == digests(tensors[number])[0].hex()


def test_a_hung_server_costs_one_deadline_and_gets_its_memory_back(server, shared):
    server.pause()
    started = time.monotonic()
    try:
        for _ in range(3):
            assert ask(shared, inputs(), timeout_ms=80).failure is Failure.DEADLINE
        # A bound for a loaded machine; the figure is the benchmark's.
        assert time.monotonic() - started < 3 * 0.3
    finally:
        server.resume()

    def settled():
        server.start()  # a resumed server may crash on requests that were cancelled: triton 7368
        reply = ask(shared, inputs(5))
        return reply.failure is None and seen(reply) == digests(inputs(5)) and len(regions()) <= 2

    wait_until(settled)


def test_a_client_that_was_killed_leaves_nothing_for_long(server):
    script = ('import sys; from policy_client.policies.triton import TritonPolicy\n'
              'policy = TritonPolicy(sys.argv[1], sys.argv[2]); policy.handshake(5.0)\n'
              'print("ready", flush=True); sys.stdin.read()')
    url = f'{server.endpoint}?shared_memory=true'
    process = subprocess.Popen([sys.executable, '-c', script, url, models.PICTURES],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'ready\n'
        left = set(regions())
        assert len(left) == 2
        assert not list(triton_memory.stale())  # its owner lives
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    policy = TritonPolicy(url, models.PICTURES)
    policy.handshake(5.0)
    assert not left & set(regions())
    policy.close()
    assert regions() == []


def test_a_server_that_refuses_shared_memory_is_spoken_to_without(server, monkeypatch):
    """A server in a container of its own has another /dev/shm: it cannot open our regions."""
    created, hidden = triton_memory._create, []

    def elsewhere():
        name, fd = created()
        hidden.append(triton_memory._FOLDER / f'moved_{name}')
        (triton_memory._FOLDER / name).rename(hidden[-1])
        return name, fd

    monkeypatch.setattr(triton_memory, '_create', elsewhere)
    policy = TritonPolicy(f'{server.endpoint}?shared_memory=true', models.PICTURES)
    try:
        runs_on = policy.handshake(5.0).runs_on
        assert seen(ask(policy, inputs())) == digests(inputs())
    finally:
        policy.close()
        for path in hidden:
            path.unlink()
    assert runs_on.startswith(f'{server.endpoint}, no shared memory: Unable to open')


# A connection whose other end is gone without a word

class HalfOpen:
    """A proxy whose connections so far can be made to swallow everything, as a lost NAT entry
    does."""

    def __init__(self, port):
        self._port, self._made, self._swallowed = port, 0, 0
        self._listening = socket.create_server(('127.0.0.1', 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self):
        self._swallowed = self._made

    def close(self):
        self._listening.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._listening.accept()[0]
                far = socket.create_connection(('127.0.0.1', self._port))
                self._made += 1
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(*ends, self._made),
                                     daemon=True).start()

    def _pump(self, source, sink, number):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if number > self._swallowed:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


def test_a_half_open_connection_is_made_anew(server):
    proxy = HalfOpen(server.ports.grpc)
    policy = TritonPolicy(f'grpc://127.0.0.1:{proxy.port}', models.PICTURES)
    assert seen(ask(policy, inputs())) == digests(inputs())
    proxy.swallow()
    failures = set()

    def back():
        failures.add(ask(policy, inputs(), timeout_ms=200).failure)
        return None in failures

    wait_until(back)
    assert failures == {Failure.DEADLINE, None}
    policy.close()
    proxy.close()


# TLS

@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('tls'), 'ca')


def tls_server(monkeypatch, authority, repository, folder, *, mutual=False, host='127.0.0.1'):
    cert, key = authority.sign('server', host)
    arguments = ['--grpc-use-ssl=true', f'--grpc-server-cert={cert}', f'--grpc-server-key={key}',
                 f'--grpc-root-cert={authority.pem}']
    if mutual:
        arguments.append('--grpc-use-ssl-mutual=true')
    plan = desk_triton.plan

    def with_tls(*positional, **named):
        recipe = plan(*positional, **named)
        return desk_triton.Plan(recipe.links, (*recipe.argv, *arguments), recipe.env,
                                recipe.shm_prefix)

    monkeypatch.setattr(desk_triton, 'plan', with_tls)
    return DeskTriton(repository, models=(models.PICTURES,), folder=folder)


def refusal(url):
    policy = TritonPolicy(url, models.PICTURES)
    started = time.monotonic()
    with pytest.raises(PolicyUnavailable) as error:
        policy.handshake(5.0)
    reply = ask(policy, inputs())
    assert reply.failure is Failure.UNREACHABLE
    assert time.monotonic() - started < 1.0
    policy.close()
    return str(error.value)


def test_tls_with_the_right_authority_and_no_other(server, authority, monkeypatch, tmp_path):
    other = Authority(tmp_path, 'other')
    with tls_server(monkeypatch, authority, server.repository, tmp_path) as secure:
        url = f'grpcs://127.0.0.1:{secure.ports.grpc}'
        policy = TritonPolicy(f'{url}?ca={authority.pem}&shared_memory=true', models.PICTURES)
        assert policy.handshake(5.0).runs_on == f'{url}, shared memory'
        assert seen(ask(policy, inputs())) == digests(inputs())
        policy.close()
        told = refusal(f'{url}?ca={other.pem}')
        assert told.startswith(f'TLS: the certificate of 127.0.0.1:{secure.ports.grpc} is not '
                               f'trusted by {other.pem} (')
        assert 'is for another name' in refusal(f'{url}?ca={authority.pem}&server_name=a.example')
        assert 'as does a TLS server' in refusal(f'grpc://127.0.0.1:{secure.ports.grpc}')
    assert 'does not speak TLS' in refusal(
        f'grpcs://127.0.0.1:{server.ports.grpc}?ca={authority.pem}')


def test_mutual_tls_and_a_certificate_that_is_renewed(server, authority, monkeypatch, tmp_path):
    with tls_server(monkeypatch, authority, server.repository, tmp_path, mutual=True,
                    host='triton.example') as secure:
        url = (f'grpcs://127.0.0.1:{secure.ports.grpc}?ca={authority.pem}'
               '&server_name=triton.example')
        assert 'a server that wants a client certificate' in refusal(url)
        cert, key = Authority(tmp_path, 'other').sign('robot')
        url += f'&cert={cert}&key={key}'
        assert 'another client certificate' in refusal(url)
        policy = TritonPolicy(url, models.PICTURES)
        with pytest.raises(PolicyUnavailable):
            policy.handshake(5.0)
        for made, used in zip(authority.sign('robot'), (cert, key), strict=True):
            made.replace(used)
        policy.handshake(5.0)
        assert seen(ask(policy, inputs())) == digests(inputs())
        policy.close()


@pytest.mark.parametrize(('options', 'told'), [
    ('ca={none}', 'ca {none} cannot be read: No such file or directory'),
    ('ca={text}', 'TLS: ca {text} holds no PEM certificate'),
    ('cert={none}&key={key}', 'cert {none} cannot be read: No such file or directory'),
    ('cert={key}&key={key}', 'TLS: cert {key} holds no PEM certificate'),
    ('cert={cert}&key={none}', 'key {none} cannot be read: No such file or directory'),
    ('cert={cert}&key={text}', 'TLS: key {text} holds no unencrypted PEM private key'),
    ('cert={cert}&key={other}', 'TLS: the key {other} does not belong to the certificate {cert}'),
    ('token_file={none}', 'token_file {none} cannot be read: No such file or directory'),
    ('token_file={empty}', 'token_file {empty} holds no token'),
    ('token_file={text}', 'token_file {text} does not hold one token'),
    ('token_env=SPINAL_NO_TOKEN', 'environment variable SPINAL_NO_TOKEN holds no token'),
])
def test_a_wrong_file_is_one_sentence_before_anything_is_sent(authority, tmp_path, options, told):
    cert, key = authority.sign('robot')
    other = authority.sign('other_robot')[1]
    (tmp_path / 'text').write_text('not a\ncertificate')
    (tmp_path / 'empty').touch()
    names = {'cert': cert, 'key': key, 'other': other, 'none': tmp_path / 'none',
             'text': tmp_path / 'text', 'empty': tmp_path / 'empty'}
    assert refusal(f'grpcs://127.0.0.1:1?{options.format(**names)}').startswith(
        told.format(**names))


# Tokens

@pytest.fixture
def gateway(server, tmp_path):
    """(URL of a gateway in its own process, the file of the token that it lets in)."""
    allowed = tmp_path / 'allowed'
    allowed.write_text(TOKEN)
    process = subprocess.Popen(
        [sys.executable, str(HERE / 'token_gateway.py'), server.endpoint.removeprefix('grpc://'),
         str(allowed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield f'grpc://127.0.0.1:{int(process.stdout.readline())}', allowed
    finally:
        process.stdin.close()
        process.wait(10)


def test_a_token_is_sent_and_never_shown(gateway, tmp_path, caplog, capfd, monkeypatch):
    url, allowed = gateway
    monkeypatch.setenv('SPINAL_TEST_TOKEN', TOKEN)
    file = tmp_path / 'token'
    file.write_text(f'{TOKEN}\n')
    caplog.set_level(logging.DEBUG)
    shown = []
    for option in (f'token_file={file}', 'token_env=SPINAL_TEST_TOKEN'):
        policy = TritonPolicy(f'{url}?{option}', models.PICTURES)
        shown += [repr(policy), str(policy.handshake(5.0))]
        assert seen(ask(policy, inputs())) == digests(inputs())
        allowed.write_text('renewed')
        reply = ask(policy, inputs())
        assert reply.failure is Failure.INVALID
        assert reply.failure.final
        assert 'refuses the token from' in reply.detail
        with pytest.raises(PolicyUnavailable, match='refuses the token from') as error:
            policy.handshake(5.0)
        shown += [repr(policy), repr(vars(policy)), repr(vars(policy._connection)), repr(reply),
                  repr(error.value), ''.join(traceback.format_exception(error.value))]
        policy.close()
        allowed.write_text(TOKEN)
    captured = capfd.readouterr()
    for text in (*shown, caplog.text, captured.out, captured.err):
        assert TOKEN not in text


def test_a_token_that_was_renewed_is_read_by_the_next_handshake(gateway, tmp_path):
    url, allowed = gateway
    file = tmp_path / 'token'
    file.write_text(TOKEN)
    policy = TritonPolicy(f'{url}?token_file={file}', models.PICTURES)
    policy.handshake(5.0)
    for changed in (allowed, file):
        changed.write_text('renewed')
    policy.handshake(5.0)
    assert seen(ask(policy, inputs())) == digests(inputs())
    policy.close()


def test_no_token_is_said_so(gateway):
    policy = TritonPolicy(gateway[0], models.PICTURES)
    with pytest.raises(PolicyUnavailable, match='wants a token'):
        policy.handshake(5.0)
    policy.close()


# JPEG

def test_a_model_that_takes_jpeg_gets_it_where_the_endpoint_allows_it(server):
    policy = TritonPolicy(f'{server.endpoint}?jpeg_quality=90', models.JPEG)
    (spec,) = policy.handshake(5.0).inputs
    assert (spec.name, spec.datatype, spec.shape) == (
        'video.front', 'UINT8', (1, 1, models.SIDE, models.SIDE, 3))
    ramp = np.linspace(0, 255, models.SIDE, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(40)), axis=-1)
    for sent in (picture, np.zeros_like(picture)):
        data = ask(policy, {'video.front': sent[None, None]}).actions['seen'][0, 0]
        assert len(data) < sent.nbytes / 10
        got = images.from_compressed(type('Message', (), {'data': data, 'format': 'jpeg'}))
        assert np.abs(got.astype(int) - sent).mean() < 2.0
    assert not got.any()  # all zero means masked, and must stay so
    policy.close()


def test_a_model_that_takes_jpeg_is_refused_where_it_is_not_allowed(server):
    policy = TritonPolicy(server.endpoint, models.JPEG)
    with pytest.raises(PolicyUnavailable, match=r'video\.front: the model takes JPEG only'):
        policy.handshake(5.0)
    policy.close()


# Deadlines, without a server

def test_a_deadline_too_short_for_a_server_is_not_sent():
    policy = TritonPolicy('grpc://127.0.0.1:1', models.PICTURES)
    reply = ask(policy, inputs(), timeout_ms=7)
    assert reply.failure is Failure.DEADLINE
    assert 'too short to ask a server' in reply.detail
    policy.close()
