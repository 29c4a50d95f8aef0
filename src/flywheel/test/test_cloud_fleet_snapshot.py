"""The fleet's present state in the lake, out of the control plane's real database."""

import json

import pytest

from flywheel.cloud.fleet_snapshot import main, rows
from flywheel.cloud.telemetry import read
from flywheel.rollout.database import Database
from flywheel.rollout.tables import counters, presence, releases, robots

NOW_MS = 1_795_500_000_000
DIGEST = 'a' * 64


@pytest.fixture
def url(tmp_path):
    found = f'sqlite:///{tmp_path}/fleet.db'
    database = Database(found)
    database.migrate()
    with database.engine.begin() as connection:
        connection.execute(releases.insert(), {
            'digest': DIGEST, 'name': 'amr', 'version': 7, 'targets': '["thor"]',
            'envelope': b'x', 'added_ms': 0, 'added_by': 'a person'})
        for k, (phase, seen_ms, failure) in enumerate([
                ('ready', NOW_MS - 5_000, ''), ('failed', NOW_MS - 5_000, 'disk full'),
                ('ready', NOW_MS - 86_400_000, ''), ('loading', NOW_MS + 5_000, '')]):
            name = f'amr-{k}'
            connection.execute(robots.insert(), {
                'robot_id': name, 'target': 'thor', 'public_key': 'x', 'enrolled_ms': 0,
                'retired_ms': None, 'desired_release': DIGEST, 'assignment': 'fleet',
                'revision': 1})
            connection.execute(presence.insert(), {
                'robot_id': name, 'life': '0' * 32, 'sequence': 1, 'seen_ms': seen_ms,
                'revision': 1, 'actual_release': DIGEST, 'fallback_release': '', 'phase': phase,
                'failed_release': '', 'failure': failure, 'held_by': ''})
        for assignment in ('fleet', 'r1.t'):
            connection.execute(counters.insert(), {
                'robot_id': 'amr-0', 'life': '0' * 32, 'assignment': assignment,
                'release': DIGEST, 'exposure_ms': 3_600_000, 'e_stops': 2, 'interventions': 1})
        connection.execute(robots.insert(), {
            'robot_id': 'retired', 'target': 'thor', 'public_key': 'x', 'enrolled_ms': 0,
            'retired_ms': 1, 'desired_release': DIGEST, 'assignment': 'fleet', 'revision': 1})
    yield found
    database.engine.dispose()


def test_a_row_says_state_and_totals_and_offline_is_not_failed(url):
    with Database(url).engine.connect() as connection:
        found = {each['robot_id']: each for each in rows(connection, NOW_MS)}
    assert {name: each['level'] for name, each in found.items()} == {
        'amr-0': 0, 'amr-1': 2, 'amr-2': 3, 'amr-3': 1}
    assert found['amr-1']['message'] == 'disk full'
    assert found['amr-2']['message'] == 'offline'
    assert found['amr-0']['values']['exposure_ms'] == '7200000'
    assert found['amr-0']['values']['e_stops'] == '4'
    assert found['amr-1']['values']['e_stops'] == '0'
    assert found['amr-3']['values']['silent_ms'] == '0'      # a clock that was set back
    assert found['amr-0']['release'] == DIGEST


def test_the_command_writes_one_object_and_changes_nothing(url, tmp_path, capsys):
    before = (tmp_path / 'fleet.db').read_bytes()
    assert main(['--database', url, '--to', f'file://{tmp_path}/lake']) == 0
    assert json.loads(capsys.readouterr().out) == {'robots': 4, 'objects': 1}
    [path] = (tmp_path / 'lake').rglob('*.jsonl.gz')
    assert sorted(each['robot_id'] for each in read(path.read_bytes())) == [
        'amr-0', 'amr-1', 'amr-2', 'amr-3']
    assert (tmp_path / 'fleet.db').read_bytes() == before


def test_a_missing_database_is_one_sentence(tmp_path, capsys):
    assert main(['--database', 'mysql://x/y', '--to', f'file://{tmp_path}']) == 2
    assert capsys.readouterr().err.startswith('fleet snapshot: ')
