"""The catalogue against a folder and a real fake-gcs-server: ingest, index, search, DDL."""

import json
import random
from datetime import UTC, datetime

import pytest
from data_cases import NOON_NS, draft
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_case_recorder import manifest
from edge_case_recorder.desk_bucket import DeskBucket
from flywheel.catalogue import bigquery, synthetic
from flywheel.catalogue.errors import CatalogueError
from flywheel.catalogue.index import CASE_TABLE, REFUSED_TABLE, Index
from flywheel.catalogue.ingest import ingest
from flywheel.catalogue.objects import open_objects
from flywheel.catalogue.rows import row
from flywheel.catalogue.search import Query, Searcher


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with DeskBucket(tmp_path_factory.mktemp('bucket'), bucket='cases') as desk:
        yield desk


@pytest.fixture(params=['folder', 'bucket'])
def bucket(request, tmp_path, monkeypatch):
    """(objects, put): an empty bucket, and what writes an object to it."""
    if request.param == 'folder':
        root = tmp_path / 'objects'
        root.mkdir()

        def put(name, data):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return open_objects(root.as_uri()), put
    desk = request.getfixturevalue('server')
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', desk.endpoint)
    objects = open_objects(f'{desk.uri}/{tmp_path.name}')
    return objects, lambda name, data: objects._bucket.blob(
        f'{tmp_path.name}/{name}').upload_from_string(data)


def name_of(content):
    return f'{manifest.object_folder(content)}/manifest.json'


def put_all(put, contents):
    for content in contents:
        put(name_of(content), json.dumps(content).encode())


MANY = list(synthetic.manifests(30, robots=4, days=5, seed=3))


def ids(index):
    found = index.read(CASE_TABLE, ['case_id'])
    return sorted(found['case_id'].to_pylist()) if found else []


def test_synthetic_manifests_are_valid():
    for content in MANY:
        assert manifest.check(content, 'synthetic') is content


def test_what_is_new_is_added_once(bucket, tmp_path):
    objects, put = bucket
    index = Index(tmp_path / 'index')
    put_all(put, MANY[:20])
    first = ingest(objects, index)
    assert (first.added, first.known, first.refused) == (20, 0, {})
    files = {path: path.read_bytes() for path in index.files(CASE_TABLE)}
    put_all(put, MANY[20:])
    again = ingest(objects, index)
    assert (again.added, again.known) == (10, 20)
    assert all(path.read_bytes() == data for path, data in files.items()), 'never in place'
    assert ingest(objects, index).added == 0
    assert ids(index) == sorted(content['case_id'] for content in MANY)


def test_a_case_without_its_manifest_is_not_there_yet(bucket, tmp_path):
    objects, put = bucket
    put(name_of(MANY[0]).replace('manifest.json', 'a_0.mcap'), b'bag')
    assert ingest(objects, Index(tmp_path / 'index')).listed == 0


def test_since_looks_at_later_dates_only(bucket, tmp_path):
    objects, put = bucket
    put_all(put, MANY)
    dates = sorted({manifest.object_folder(each).split('/')[1] for each in MANY})
    index = Index(tmp_path / 'index')
    done = ingest(objects, index, since=dates[2])
    later = [each for each in MANY if manifest.object_folder(each).split('/')[1] >= dates[2]]
    assert done.listed == done.added == len(later) < len(MANY)
    assert ingest(objects, index).added == len(MANY) - len(later), 'out of order'


def altered(change):
    content = json.loads(json.dumps(MANY[0]))
    change(content)
    return json.dumps(content).encode()


HOSTILE = {
    'no JSON': (b'{', 'not JSON'),
    'no text': (b'\xff\xfe', 'not JSON'),
    'a list': (b'[]', 'is not of type'),
    'too deep': (b'[' * 100_000, 'not JSON'),
    'too long': (b' ' * (manifest.MAX_BYTES + 1), 'larger than'),
    'NaN': (altered(lambda c: c['topics'][0].update(rate_limit_hz=float('nan'))), 'is no JSON'),
    'unknown key': (altered(lambda c: c.update(evil=1)), 'evil'),
    'huge count': (altered(lambda c: c.update(messages=10 ** 30)), 'cannot be kept'),
    'a lone surrogate': (altered(lambda c: c['robot'].update(type='\ud800')), 'cannot be kept'),
    "another robot's id": (altered(lambda c: c['robot'].update(id='other')), 'case_id is not'),
    "another's cause": (altered(lambda c: c.update(cause='fine')), 'case_id is not'),
    'SQL in a robot': (altered(lambda c: c['robot'].update(id="x' OR 1=1")), 'robot.id'),
}


@pytest.mark.parametrize('which', HOSTILE)
def test_hostile_manifests_are_refused_and_named(bucket, tmp_path, which):
    objects, put = bucket
    data, sentence = HOSTILE[which]
    put(name_of(MANY[0]), data)
    put_all(put, MANY[1:3])
    index = Index(tmp_path / 'index')
    done = ingest(objects, index)
    folder = manifest.object_folder(MANY[0])
    assert done.added == 2, 'the others are not held up'
    assert list(done.refused) == [folder]
    assert sentence in done.refused[folder]
    assert folder in done.refused[folder]
    assert index.read(REFUSED_TABLE, ['folder']).num_rows == 1
    assert ingest(objects, index).refused == {}, 'not read again'
    put(name_of(MANY[0]), json.dumps(MANY[0]).encode())
    assert ingest(objects, index).added == 1, 'another object is looked at anew'


def test_a_manifest_in_anothers_place_is_refused(bucket, tmp_path):
    objects, put = bucket
    put(name_of(MANY[0]), json.dumps(MANY[1]).encode())
    done = ingest(objects, Index(tmp_path / 'index'))
    assert next(iter(done.refused.values())).endswith(f'is of {manifest.object_folder(MANY[1])}')


def test_a_case_is_not_replaced(bucket, tmp_path):
    objects, put = bucket
    put_all(put, MANY[:1])
    index = Index(tmp_path / 'index')
    ingest(objects, index)
    before = index.read(CASE_TABLE, ['manifest_sha256']).to_pylist()
    put(name_of(MANY[0]), json.dumps(MANY[0] | {'recovered': True}).encode())
    done = ingest(objects, index)
    assert 'was replaced by another object' in next(iter(done.refused.values()))
    assert index.read(CASE_TABLE, ['manifest_sha256']).to_pylist() == before


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / 'outside.json'
    outside.write_text(json.dumps(MANY[0]))
    place = tmp_path / 'objects' / manifest.object_folder(MANY[0])
    place.mkdir(parents=True)
    (place / 'manifest.json').symlink_to(outside)
    (tmp_path / 'objects/robot').symlink_to(tmp_path)
    assert ingest(open_objects((tmp_path / 'objects').as_uri()),
                  Index(tmp_path / 'index')).listed == 0


@pytest.mark.parametrize('url', ['s3://x', 'gs://', 'file://relative', 'nonsense'])
def test_a_url_that_is_none_is_refused_in_a_sentence(url):
    with pytest.raises(CatalogueError, match='must be gs://bucket/prefix or file:///folder'):
        open_objects(url)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match='No such file'):
        ingest(open_objects((tmp_path / 'none').as_uri()), Index(tmp_path / 'index'))


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(list(MANY[0])) | st.text(max_size=4), inner, max_size=5)).map(
            lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_row_or_a_sentence(data):
    with pytest.raises(CatalogueError, match=r'manifest\.json: '):
        row(data, 'robot/2026-11-23/case', '1')


@given(st.sampled_from(list(MANY[0])), st.data())
@settings(max_examples=60)
def test_a_manifest_with_one_part_changed_never_breaks_the_index(key, data):
    value = data.draw(st.none() | st.text(max_size=4) | st.integers() | st.just({}) | st.just([]))
    content = json.dumps(MANY[0] | {key: value}).encode()
    try:
        found = row(content, manifest.object_folder(MANY[0]), '1')
    except CatalogueError:
        return
    assert found['case_id'] == MANY[0]['case_id']


def test_compaction_keeps_every_row_and_survives_a_crash_before_the_end(tmp_path):
    index = Index(tmp_path / 'index')
    root = tmp_path / 'objects'
    random.Random(1).shuffle(parts := list(MANY))
    for content in parts:
        place = root / manifest.object_folder(content)
        place.mkdir(parents=True)
        (place / 'manifest.json').write_text(json.dumps(content))
        ingest(open_objects(root.as_uri()), index)
    assert len(index.files(CASE_TABLE)) == 30
    # A crash has left a whole file that nobody lists.
    orphan = index.root / 'cases/date=2026-01-01/99999999-abc.parquet'
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(index.files(CASE_TABLE)[0].read_bytes())
    assert len(ids(index)) == 30
    assert index.compact() > 0
    dates = {manifest.object_folder(each).split('/')[1] for each in MANY}
    assert len(index.files(CASE_TABLE)) == len(dates)
    assert not orphan.exists()
    assert ids(index) == sorted(content['case_id'] for content in MANY)
    assert sorted(index.files(CASE_TABLE)) == sorted((index.root / 'cases').rglob('*.parquet'))
    assert ingest(open_objects(root.as_uri()), index).added == 0


def test_one_writes_at_a_time(tmp_path):
    index = Index(tmp_path / 'index')
    with index.writing(), pytest.raises(CatalogueError, match='another process writes'), \
            Index(index.root).writing():
        pass


@pytest.fixture(scope='module')
def searcher(tmp_path_factory):
    root = tmp_path_factory.mktemp('search')
    synthetic.fill(root / 'objects', 300, robots=5, days=10, seed=9)
    index = Index(root / 'index')
    ingest(open_objects((root / 'objects').as_uri()), index)
    opened = Searcher(index)
    yield opened
    opened.close()


ALL = list(synthetic.manifests(300, robots=5, days=10, seed=9))
MOMENT = datetime(2026, 9, 25, 6, tzinfo=UTC)


def newest(contents):
    contents = sorted(contents, key=lambda each: (-each['trigger']['stamp_ns'], each['case_id']))
    return [each['case_id'] for each in contents]


@pytest.mark.parametrize(('query', 'fits'), [
    (Query(limit=1000), lambda c: True),
    (Query(cause='near_miss', limit=1000), lambda c: c['cause'] == 'near_miss'),
    (Query(cause='warning_field', limit=1000), lambda c: 'warning_field' in c['reasons']),
    (Query(robot='amr-0003', limit=1000), lambda c: c['robot']['id'] == 'amr-0003'),
    (Query(model='3', limit=1000), lambda c: c['versions']['models']['triton:amr'] == '3'),
    (Query(model='triton:amr', limit=1000), lambda c: True),
    (Query(model='triton:amr=4', limit=1000),
     lambda c: c['versions']['models']['triton:amr'] == '4'),
    (Query(since=MOMENT, limit=1000),
     lambda c: c['trigger']['stamp_ns'] >= MOMENT.timestamp() * 1e9),
    (Query(until=MOMENT, limit=1000),
     lambda c: c['trigger']['stamp_ns'] < MOMENT.timestamp() * 1e9),
    (Query(text='BEAM=12 estop', limit=1000), lambda c: c['cause'] == 'estop' and
     c['trigger']['values']['beam'].startswith('12')),
    (Query(robot="x' OR '1'='1", limit=1000), lambda c: False)])
def test_search_finds_what_a_loop_over_the_manifests_finds(searcher, query, fits):
    expected = newest([content for content in ALL if fits(content)])
    assert [found['case_id'] for found in searcher.search(query)] == expected


def test_counts(searcher):
    counts = dict(searcher.count_by('robot_id'))
    assert sum(counts.values()) == 300
    assert counts['amr-0002'] == sum(each['robot']['id'] == 'amr-0002' for each in ALL)
    with pytest.raises(CatalogueError, match='cannot count by'):
        searcher.count_by('1; DROP VIEW cases')


def test_an_empty_catalogue_says_so(tmp_path):
    with pytest.raises(CatalogueError, match='empty; ingest first'):
        Searcher(Index(tmp_path))


def test_the_ddl_has_each_column_and_nothing_foreign():
    text = bigquery.ddl('project.fleet.cases', 'gs://my-bucket/index')
    assert "uris = ['gs://my-bucket/index/cases/*']" in text
    assert '  reasons ARRAY<STRING>,' in text
    assert '  triggered_at TIMESTAMP,' in text
    assert 'QUALIFY ROW_NUMBER()' in text
    for table, url in (('a`; DROP', 'gs://b/c'), ('a.b', "gs://b/c'];"), ('a.b', 'file:///x')):
        with pytest.raises(CatalogueError, match='must be'):
            bigquery.ddl(table, url)


def test_a_real_manifest_of_the_recorder_is_a_row():
    content = manifest.check(draft(stamp_ns=NOON_NS) | {
        'messages': 0, 'recovered': False, 'topics': [], 'files': [
            {'path': 'a', 'bytes': 1, 'sha256': '0' * 64, 'crc32c': 'AAAAAA=='}],
        'window': {'start_ns': 0, 'end_ns': 0, 'recorded_start_ns': 0, 'recorded_end_ns': 0,
                   'truncated_by': '', 'complete': True}}, 'x')
    found = row(json.dumps(content).encode(), manifest.object_folder(content), '1')
    assert (found['cause'], found['redacted']) == ('protective_field', False)
