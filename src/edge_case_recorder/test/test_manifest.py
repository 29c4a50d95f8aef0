"""Manifests: the same case, the same id; nothing wrong gets past the schema."""

import base64
import json
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import NOON_NS, a_case, a_draft, an_open_spool

from edge_case_recorder import manifest


@pytest.fixture
def case(tmp_path):
    return a_case(an_open_spool(tmp_path))


def test_an_id_is_made_of_robot_instant_and_cause():
    one = manifest.case_id('robot_7', NOON_NS + 123_456_789, 'estop')
    assert one.startswith('20261123T120000.123Z-estop-')
    assert one == manifest.case_id('robot_7', NOON_NS + 123_456_789, 'estop')
    others = {manifest.case_id('robot_8', NOON_NS + 123_456_789, 'estop'),
              manifest.case_id('robot_7', NOON_NS + 123_456_790, 'estop'),
              manifest.case_id('robot_7', NOON_NS + 123_456_789, 'scan_lost')}
    assert one not in others
    assert len(others) == 3


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_ids_sort_by_time(a, b):
    ids = [manifest.case_id('r', seconds * 1_000_000_000, 'x')[:15] for seconds in sorted((a, b))]
    assert ids == sorted(ids)


def test_a_manifest_says_what_is_in_the_folder(case):
    content = manifest.read(case)
    assert content['cause'] == 'protective_field'
    assert content['messages'] == 30
    assert content['window']['complete']
    assert {t['name']: t['messages'] for t in content['topics']} == {
        '/scan': 10, '/task': 10, '/odom': 10}
    assert [entry['path'] for entry in content['files']] == [
        f'{content["case_id"]}_0.mcap', 'metadata.yaml']
    for entry in content['files']:
        data = (case / entry['path']).read_bytes()
        assert entry['bytes'] == len(data)
        assert base64.b64decode(entry['crc32c']) == google_crc32c.value(data).to_bytes(4, 'big')
    assert manifest.object_folder(content) == f'robot_7/2026-11-23/{content["case_id"]}'


def test_losses_are_listed_even_for_a_topic_that_never_got_into_the_bag(case):
    from edge_case_recorder.bag import BagSummary
    content = manifest.complete(a_draft(), case, BagSummary(), lost={'/camera': 3})
    assert not content['window']['complete']
    assert content['topics'] == [{
        'name': '/camera', 'type': '', 'type_hash': '', 'has_definition': False, 'messages': 0,
        'bytes': 0, 'lost_in_ring': 3}]


@pytest.mark.parametrize(('key', 'value', 'told'), [
    ('case_id', '../../elsewhere', 'case_id'),
    ('schema_version', 2, 'schema_version'),
    ('messages', -1, 'messages'),
    ('extra', 1, 'extra'),
    ('files', [{'path': '../x', 'bytes': 1, 'sha256': '0' * 64, 'crc32c': 'AAAAAA=='}], 'files'),
])
def test_a_wrong_manifest_is_refused_with_its_key(case, key, value, told):
    content = manifest.read(case) | {key: value}
    with pytest.raises(manifest.ManifestError, match=told):
        manifest.write(case, content)
    (case / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(manifest.ManifestError, match=told):
        manifest.read(case)


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '[' * 100_000])
def test_what_is_no_manifest_is_said_so(tmp_path, text):
    (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(manifest.ManifestError, match=r'manifest\.json'):
        manifest.read(tmp_path)


def test_the_schema_is_the_published_one():
    installed = Path(manifest.__file__).parent / 'schemas' / 'case_manifest.schema.json'
    published = Path(__file__).parents[3] / 'config' / 'schemas' / 'case_manifest.schema.json'
    assert installed.read_text() == published.read_text()
