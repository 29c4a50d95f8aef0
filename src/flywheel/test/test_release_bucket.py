"""The model repository in a bucket, against a real fake-gcs-server."""

import pytest
from releases import Maker

from edge_case_recorder.desk_bucket import DeskBucket
from flywheel.release.errors import ReleaseError
from flywheel.release.repository import Repository
from flywheel.release.store import GcsStore, TakenError, open_store, read


@pytest.fixture(scope='module')
def bucket(tmp_path_factory):
    with DeskBucket(tmp_path_factory.mktemp('bucket'), bucket='models') as desk:
        yield desk


@pytest.fixture
def opened(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', bucket.endpoint)
    return open_store(f'{bucket.uri}/{tmp_path.name}')


def test_an_object_is_written_once(opened):
    assert isinstance(opened, GcsStore)
    opened.put_new('m/1/x', b'first')
    with pytest.raises(TakenError):
        opened.put_new('m/1/x', b'second')
    assert read(opened, 'm/1/x', 100) == b'first'
    assert opened.names('m') == ['m/1/x']
    assert opened.size('m/1/y') is None


def test_a_release_is_published_verified_and_never_replaced(opened, tmp_path):
    maker = Maker(tmp_path)
    where = Repository(opened, maker.keys)
    for version in (1, 2, 2):
        release, folder, gate = maker.release(version)
        where.publish(release, folder, gate, maker.gate_public_key, config=b'name: "amr"\n')
    assert where.versions('amr') == [1, 2]
    with pytest.raises(ReleaseError, match='never replaced'):
        where.publish(*maker.release(2, run_id='run-9'), maker.gate_public_key)
    where.download(where.release('amr', 2), 'orin/engine.plan', tmp_path / 'engine')
    assert (tmp_path / 'engine').read_bytes() == b'engine 2' * 1000


def test_a_changed_object_is_refused(opened, bucket, tmp_path):
    maker = Maker(tmp_path)
    where = Repository(opened, maker.keys)
    where.publish(*maker.release(1), maker.gate_public_key)
    opened._bucket.blob(f'{tmp_path.name}/amr/1/model.py').upload_from_string(b'# evil\n')
    with pytest.raises(ReleaseError, match=r'model\.py is not the file'):
        where.verify('amr', 1)
