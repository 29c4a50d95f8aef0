"""The control plane over real TLS sockets, with the robots' own client; and what it refuses."""

import base64
import json
import threading
from dataclasses import replace

import pytest
import urllib3
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fleet_rig import LIFE, SMALL, DeskRobot, database
from hypothesis import given
from hypothesis import strategies as st
from releases import Maker, key_pair

from flywheel.agent.agent import Agent
from flywheel.agent.cloud import AwayError, RefusedError
from flywheel.agent.https import HttpsCloud
from flywheel.control_plane import desk_tls
from flywheel.control_plane.app import Settings
from flywheel.control_plane.server import Server, wall_clock_ms
from flywheel.control_plane.tokens import CHALLENGE_MS, SESSION_MS, TokenError, Tokens
from flywheel.release.repository import Repository
from flywheel.release.store import FolderStore
from flywheel.rollout import fleet, rows
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.reports import Counter, Report

ROBOTS = [f'robot-{number}' for number in range(10)]


class Site:
    """A control plane with its database, model repository, two releases and ten robots."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = Maker(folder / 'made')
        self.cert, self.key = desk_tls.make(folder / 'tls')
        self.store = FolderStore(folder / 'repository')
        self.database = database(f'sqlite:///{folder}/fleet.db')
        self.robot_keys = {name: key_pair() for name in ROBOTS}
        self.releases = []
        for version in (1, 2):
            release, files, gate = self.maker.release(version)
            Repository(self.store, self.maker.keys).publish(
                release, files, gate, self.maker.gate_public_key)
            self.releases.append(release)
        with self.database.begin() as connection:
            for each in self.releases:
                fleet.add_release(connection, fleet.Release(
                    each.digest, 'amr', each.manifest.version, each.manifest.targets,
                    each.envelope), who='Ada', now_ms=wall_clock_ms())
            fleet.enrol(connection, [
                fleet.Robot(name, 'orin_nano', pair[1].decode())
                for name, pair in self.robot_keys.items()], self.releases[0].digest,
                now_ms=wall_clock_ms())
        self.secret = bytes(range(32))

    def server(self, port=0, **changes):
        return Server(Settings(self.database, Tokens(self.secret), wall_clock_ms, self.store,
                               self.maker.keys, **changes), self.cert, self.key, port=port)

    def cloud(self, server, name='robot-0', key=None, ca=None):
        return HttpsCloud(server.url, name, key or self.robot_keys[name][0],
                          ca_file=ca or self.cert, timeout_s=5.0)

    def report(self, name='robot-0', sequence=1, **changes):
        return replace(Report(name, LIFE, sequence, 1, self.releases[0].digest), **changes)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp('site'))


@pytest.fixture(scope='module')
def server(site):
    with site.server() as running:
        yield running


def raw(site, server, method, path, body=None, token='', headers=None):
    with urllib3.PoolManager(ca_certs=str(site.cert), retries=False) as pool:
        reply = pool.request(method, server.url + path, body=body, headers={
            **({'Authorization': f'Bearer {token}'} if token else {}), **(headers or {})})
        return reply.status, reply.data


def token_of(site, name='robot-0'):
    tokens = Tokens(site.secret)
    now_ms = wall_clock_ms()
    challenge = tokens.challenge(name, now_ms)
    key = load_pem_private_key(site.robot_keys[name][0], None)
    signature = base64.b64encode(
        key.sign(f'spinal robot session\n{name}\n{challenge}'.encode())).decode()
    return tokens.session(name, challenge, signature, site.robot_keys[name][1].decode(), now_ms)


def test_a_robot_asks_reports_and_asks_again(site, server):
    cloud = site.cloud(server)
    found = cloud.desired(0)
    assert (found.release, found.assignment) == (site.releases[0].digest, 'fleet')
    assert cloud.desired(found.revision) is None
    first = site.report(sequence=11)
    answers = [cloud.post([first])[0] for _ in range(2)]
    assert [each.outcome for each in answers] == ['accepted', 'duplicate']
    assert answers[0].revision == found.revision
    batch = cloud.post([site.report(sequence=number) for number in range(12, 112)])
    assert {each.outcome for each in batch} == {'accepted'}


def test_only_who_holds_the_robots_key_is_that_robot(site, server):
    with pytest.raises(RefusedError, match='not signed'):
        site.cloud(server, key=site.robot_keys['robot-1'][0]).desired(0)
    with pytest.raises(RefusedError, match='not signed'):
        site.cloud(server, 'robot-99', key=site.robot_keys['robot-1'][0]).desired(0)
    with pytest.raises(AwayError, match=r'SSL|certificate'):
        site.cloud(server, ca=desk_tls.make(site.folder / 'other_tls')[0]).desired(0)


def test_a_robot_reports_for_itself_alone(site, server):
    with pytest.raises(RefusedError, match='for itself alone'):
        site.cloud(server).post([site.report('robot-1')])


def test_a_retired_robot_is_heard_no_more(site, server):
    cloud = site.cloud(server, 'robot-9')
    assert cloud.post([site.report('robot-9')])[0].outcome == 'accepted'
    with site.database.begin() as connection:
        fleet.retire(connection, 'robot-9', now_ms=wall_clock_ms())
    assert cloud.post([site.report('robot-9', 2)])[0].outcome == 'refused'
    with pytest.raises(RefusedError, match='not enrolled'):
        cloud.desired(0)
    with pytest.raises(RefusedError, match='not signed'):
        site.cloud(server, 'robot-9').desired(0)


@pytest.mark.parametrize(('method', 'path', 'body', 'status'), [
    ('POST', '/v1/reports', b'', 400), ('POST', '/v1/reports', b'[]', 400),
    ('POST', '/v1/reports', b'{"reports": []}', 400),
    ('POST', '/v1/reports', b'{"reports": [{}]}', 400),
    ('POST', '/v1/reports', b'{"reports": [' + b'{},' * 100 + b'{}]}', 400),
    ('POST', '/v1/reports', b'[' * 50_000, 400),
    ('POST', '/v1/reports', b'x' * 262_145, 413),
    ('POST', '/v1/challenge', b'x' * 5000, 413),
    ('POST', '/v1/challenge', b'{"robot_id": "../x"}', 400),
    ('POST', '/v1/session', b'{"robot_id": "robot-0", "challenge": 1, "signature": 2}', 400),
    ('POST', '/v1/session', b'{"robot_id": "robot-0", "challenge": "x", "signature": "y"}', 401),
    ('GET', '/v1/desired?wait_s=soon', None, 400), ('GET', '/v1/desired?wait_s=nan', None, 200),
    ('GET', '/v1/releases/abc', None, 404), ('GET', '/v1/releases/' + '0' * 64, None, 404),
    ('GET', '/v1/nothing', None, 404), ('DELETE', '/v1/desired', None, 405)],
    ids=lambda value: str(value)[:40])
def test_odd_requests_are_refused_and_the_service_lives(site, server, method, path, body, status):
    found, content = raw(site, server, method, path, body, token_of(site))
    assert found == status, content
    assert raw(site, server, 'GET', '/healthz')[0] == 200


def test_a_head_without_end_is_refused(site, server):
    with pytest.raises((urllib3.exceptions.HTTPError, AssertionError)):
        assert raw(site, server, 'GET', '/healthz', headers={'x': 'y' * 100_000})[0] == 200


@pytest.mark.parametrize('path', ['../../2/model.py', '..%2f..%2f2%2fmodel.py', '/etc/passwd',
                                  'release.dsse.json', 'orin/../model.py', 'model.onnx%00'])
def test_only_files_that_the_manifest_names_are_served(site, server, path):
    status, content = raw(site, server, 'GET',
                          f'/v1/releases/{site.releases[0].digest}/files/{path}',
                          token=token_of(site))
    assert status in (404, 200)
    assert b'version 2' not in content
    assert b'root:' not in content
    assert status == 404 or content == b'# version 1\n'


def test_files_come_whole_and_in_parts(site, server, tmp_path):
    cloud, digest = site.cloud(server), site.releases[0].digest
    assert cloud.release(digest) == site.releases[0].envelope
    (tmp_path / 'engine').write_bytes(b'engine 1' * 400)
    cloud.download(digest, 'orin/engine.plan', tmp_path / 'engine', 8000)
    assert (tmp_path / 'engine').read_bytes() == b'engine 1' * 1000
    with pytest.raises(RefusedError, match='longer than'):
        cloud.download(digest, 'orin/engine.plan', tmp_path / 'short', 100)
    with pytest.raises(RefusedError, match='no such file'):
        cloud.download(digest, 'other', tmp_path / 'x', 100)


def test_nobody_without_a_token_is_told_anything(site, server):
    for path in ('/v1/desired', f'/v1/releases/{site.releases[0].digest}'):
        assert raw(site, server, 'GET', path)[0] == 401
        assert raw(site, server, 'GET', path, token='v1.x')[0] == 401


def test_a_long_poll_ends_when_the_desired_state_changes(site, server):
    cloud = site.cloud(server, 'robot-3')
    known = cloud.desired(0).revision
    engine = Rollouts(site.database)
    found = []
    waiting = threading.Thread(target=lambda: found.append(cloud.desired(known, wait_s=4)))
    waiting.start()
    number = engine.plan(site.releases[1].digest, replace(SMALL, stages=SMALL.stages[1:]),
                         who='Ada', why='better in the aisle', now_ms=wall_clock_ms())
    engine.start(number, who='Ada', why='now', now_ms=wall_clock_ms())
    waiting.join()
    engine.rollback(number, who='Ada', why='done', now_ms=wall_clock_ms())
    assert found[0].revision > known
    assert found[0].assignment in (f'r{number}.t', f'r{number}.c')


def test_an_impossible_exposure_is_refused_and_counts_nothing(site, server):
    counter = Counter('fleet', site.releases[0].digest, 10 ** 12, 0, 0)
    answer = site.cloud(server, 'robot-4').post([site.report('robot-4', counters=(counter,))])[0]
    assert answer.outcome == 'refused'
    assert 'longer than' in answer.reason


def test_the_agent_gets_a_release_through_it_and_survives_its_restart(site, tmp_path):
    robot = DeskRobot()
    with site.server() as first:
        port = first.port
        agent = Agent('robot-5', 'orin_nano', robot, site.cloud(first, 'robot-5'), tmp_path,
                      site.maker.keys)
        for now_s in range(0, 60, 11):
            agent.step(now_s)
        assert robot.leads == site.releases[0].digest
    robot.drive(1234)
    agent.step(100.0)
    assert 'localhost' in agent.trouble
    with site.server(port):
        robot.drive(1000)
        agent.step(120.0)
        assert agent.trouble == ''
    with site.database.begin() as connection:
        row = connection.exec_driver_sql(
            "SELECT SUM(exposure_ms) FROM counters WHERE robot_id = 'robot-5'").scalar()
    assert row == 2234


def test_a_rollout_is_judged_by_the_service_itself(site):
    engine = Rollouts(site.database)
    plan = replace(SMALL, stages=SMALL.stages[1:], min_failed=1)
    number = engine.plan(site.releases[1].digest, plan, who='Ada', why='try',
                         now_ms=wall_clock_ms())
    engine.start(number, who='Ada', why='now', now_ms=wall_clock_ms())
    with site.server(evaluate_period_s=0.05) as running:
        for name in ROBOTS[:9]:
            cloud = site.cloud(running, name)
            if cloud.desired(0).release == site.releases[1].digest:
                cloud.post([site.report(name, 500, failed_release=site.releases[1].digest,
                                        phase='failed', failure='out of memory')])
        # A robot outside of it waits for the end of the comparison.
        known = cloud.desired(0)
        while known.assignment != 'fleet':
            known = cloud.desired(known.revision, wait_s=4) or known
        assert known.release == site.releases[0].digest
    with site.database.begin() as connection:
        assert rows.read(connection, number).state == 'rolled_back'


TOKENS = Tokens(bytes(32))


def test_a_token_is_for_one_purpose_one_robot_and_a_while():
    private, public = key_pair()
    challenge = TOKENS.challenge('robot-1', 0)
    signature = base64.b64encode(load_pem_private_key(private, None).sign(
        f'spinal robot session\nrobot-1\n{challenge}'.encode())).decode()
    token = TOKENS.session('robot-1', challenge, signature, public.decode(), CHALLENGE_MS)
    assert TOKENS.robot(token, CHALLENGE_MS + SESSION_MS)[0] == 'robot-1'
    with pytest.raises(TokenError, match='run out'):
        TOKENS.robot(token, CHALLENGE_MS + SESSION_MS + 1)
    with pytest.raises(TokenError, match='for a challenge'):
        TOKENS.robot(challenge, 0)
    with pytest.raises(TokenError, match='none of ours'):
        Tokens(bytes([1]) * 32).robot(token, 0)
    with pytest.raises(TokenError, match='another robot'):
        TOKENS.session('robot-2', challenge, signature, public.decode(), 0)
    with pytest.raises(TokenError, match='run out'):
        TOKENS.session('robot-1', challenge, signature, public.decode(), CHALLENGE_MS + 1)


@given(st.data())
def test_no_changed_token_is_ours(data):
    token = TOKENS.challenge('robot-1', 0)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec='ascii').filter(lambda char: char != token[at]))
    changed = token[:at] + other + token[at + 1:]
    try:
        found, _ = TOKENS._read('challenge', changed, 0)
    except TokenError:
        return
    # The last character of base64 may differ in bits that stand for nothing.
    assert found == 'robot-1'
    assert base64.urlsafe_b64decode(changed.split('.')[0]) == base64.urlsafe_b64decode(
        token.split('.')[0])


def test_replies_that_make_no_sense_are_refused_by_the_robot(site, server, monkeypatch):
    cloud = site.cloud(server)
    cloud.desired(0)
    for content in ({}, {'revision': 'x', 'release': 'a', 'assignment': 'b'},
                    {'revision': 3, 'release': '../x', 'assignment': 'fleet'}):
        body = json.dumps(content).encode()
        monkeypatch.setattr(cloud, '_ask', lambda *_, body=body: (200, body))
        with pytest.raises(RefusedError):
            cloud.desired(0)
