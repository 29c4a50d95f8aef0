"""Reports become objects of the lake: checked, one a day, the same twice, only ever created."""

import gzip
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cloud import telemetry
from flywheel.cloud.telemetry import ReportError, objects, read, row, write

ROOT = Path(__file__).resolve().parents[3]
REPORT = {'robot_id': 'amr-0001', 'stamp': '2026-11-24T10:00:00+01:00', 'name': 'safety_reflex',
          'level': 2, 'message': 'stopped', 'release': 'amr-7', 'model_version': '7',
          'values': {'state': 'STOPPED', 'trip_count': 3}}


def test_a_report_becomes_a_row_in_utc():
    found = row(REPORT)
    assert found['stamp'] == '2026-11-24T09:00:00.000Z'
    assert found['values'] == {'state': 'STOPPED', 'trip_count': '3'}
    assert found['schema_version'] == 1


@pytest.mark.parametrize(('change', 'word'), [
    ({'robot_id': ''}, 'robot_id'), ({'robot_id': 7}, 'robot_id'), ({'name': None}, 'name'),
    ({'level': 4}, 'level'), ({'level': True}, 'level'), ({'level': '2'}, 'level'),
    ({'stamp': 'now'}, 'RFC 3339'), ({'stamp': '2026-11-24T10:00:00'}, 'no zone'),
    ({'stamp': None}, 'RFC 3339'), ({'values': []}, 'values'), ({'values': {'a': {}}}, 'values'),
    ({'message': 5}, 'message'), ({'schema_version': 2}, 'schema_version'),
    ({'password': 'x'}, "'password'")])
def test_a_bad_report_is_named(change, word):
    with pytest.raises(ReportError, match=word):
        row(REPORT | change)


reports = st.fixed_dictionaries({
    'robot_id': st.sampled_from(['a', 'b', 'c']), 'name': st.just('policy_client'),
    'level': st.integers(0, 3), 'message': st.text(max_size=20),
    'stamp': st.datetimes().map(lambda m: m.replace(year=2026).isoformat() + 'Z'),
    'values': st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)})


@given(st.lists(reports, max_size=20), st.randoms())
def test_a_batch_is_the_same_in_any_order_and_with_repetitions(batch, random):
    rows = [row(each) for each in batch]
    again = rows + rows[:3]
    random.shuffle(again)
    assert objects(again) == objects(rows)
    back = [each for found in objects(rows) for each in read(found.content)]
    assert sorted(map(json.dumps, back)) == sorted({json.dumps(r, sort_keys=True) for r in rows})
    for found in objects(rows):
        day = re.fullmatch(r'status/date=(\d{4}-\d\d-\d\d)/[0-9a-f]{64}\.jsonl\.gz', found.name)
        assert day
        assert all(each['stamp'].startswith(day[1]) for each in read(found.content))


def test_objects_in_a_folder_are_created_once(tmp_path):
    batch = objects([row(REPORT), row(REPORT | {'stamp': '2026-11-25T00:00:00Z'})])
    assert write(batch, f'file://{tmp_path}/lake') == 2
    assert write(batch, f'file://{tmp_path}/lake') == 0
    files = sorted(p.relative_to(tmp_path / 'lake') for p in tmp_path.rglob('*.gz'))
    assert [str(p.parent) for p in files] == ['status/date=2026-11-24', 'status/date=2026-11-25']
    assert not list(tmp_path.rglob('.*'))


def test_a_wrong_destination_is_one_sentence():
    with pytest.raises(ReportError, match='gs://bucket/prefix'):
        write(objects([row(REPORT)]), 's3://lake')


def test_the_command_takes_lines_and_counts_what_it_refuses(tmp_path, monkeypatch, capsys):
    lines = [json.dumps(REPORT), '{', json.dumps(REPORT | {'level': 9}),
             json.dumps(REPORT | {'robot_id': 'amr-0002'})]
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'.join(lines)))
    assert telemetry.main(['--to', f'file://{tmp_path}', '--batch', '1']) == 1
    out = capsys.readouterr()
    assert json.loads(out.out) == {'reports': 2, 'refused': 2, 'objects': 2}
    assert 'line 2: ' in out.err
    assert 'line 3: level is 9' in out.err


def test_a_report_takes_no_more_room_than_the_capacity_says():
    from flywheel.capacity.model import Assumptions
    values = {'state': 'RUNNING', 'reasons': '', 'source': 'base_scan', 'beam': '211',
              'distance_m': '3.42', 'zone': 'none', 'scan_age_ms': '12.4', 'reflex_us': '850',
              'trip_count': '4', 'round_trip_ms': '48.1', 'staleness_ms': '92.0', 'queue': '11'}
    many = [row(REPORT | {'robot_id': f'amr-{k % 2000:04d}', 'stamp':
                          f'2026-11-24T10:{k // 400 % 60:02d}:{k % 60:02d}.{k % 997:03d}Z',
                          'values': values | {'distance_m': f'{k % 613 / 61:.3f}',
                                              'scan_age_ms': f'{k % 251 / 10:.1f}',
                                              'staleness_ms': f'{k % 1471 / 10:.1f}'}})
            for k in range(20_000)]
    [batch] = objects(many)
    assert batch.reports == 20_000
    assert len(batch.content) / batch.reports <= Assumptions().status_bytes_stored


def test_columns_of_the_table_are_the_fields_of_a_row():
    ddl = (ROOT / 'config/cloud/lake/tables.sql').read_text()
    table = ddl[ddl.index('robot_status'):]
    body = table[table.index('(') + 1:table.index(')\nWITH')]
    columns = dict(line.strip().rstrip(',').replace('`', '').split() for line in
                   body.strip().splitlines())
    assert list(columns) == ['schema_version', 'robot_id', 'stamp', 'name', 'level', 'message',
                             'release', 'model_version', 'values']
    assert set(columns) == set(row(REPORT))
    assert {columns[k] for k in ('schema_version', 'level')} == {'INT64'}
    assert columns['stamp'] == 'TIMESTAMP'
    assert columns['values'] == 'JSON'
    assert "format = 'JSON'" in table
    assert "telemetry/status'" in table       # the partition's prefix is above date=


def test_a_real_object_store_takes_each_object_once(tmp_path, monkeypatch):
    desk_bucket = pytest.importorskip('edge_case_recorder.desk_bucket')
    with desk_bucket.DeskBucket(tmp_path / 'store', bucket='lake') as bucket:
        for key, value in bucket.environment.items():
            monkeypatch.setenv(key, value)
        batch = objects([row(REPORT)])
        assert write(batch, 'gs://lake/telemetry') == 1
        assert write(batch, 'gs://lake/telemetry') == 0
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
        client = storage.Client(project='desk', credentials=AnonymousCredentials())
        [found] = client.list_blobs('lake')
        assert found.name == 'telemetry/' + batch[0].name
        assert gzip.decompress(found.download_as_bytes(raw_download=True)).decode() == (
            json.dumps(row(REPORT), sort_keys=True, separators=(',', ':')) + '\n')
