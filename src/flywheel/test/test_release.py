"""Manifests, signatures, stores and the repository: what is whole passes, all else is refused."""

import base64
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from releases import KEY_ID, Maker, gate_record, key_pair

from flywheel.release import envelope, manifest, store
from flywheel.release.errors import ReleaseError
from flywheel.release.gate_record import check_gate
from flywheel.release.manifest import PAYLOAD_TYPE, Artifact, File
from flywheel.release.repository import Repository
from flywheel.release.store import FolderStore, TakenError, open_store


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / 'made')


def repository(maker, root):
    return Repository(FolderStore(root), maker.keys)


def test_a_signed_manifest_comes_back_as_it_was(maker):
    release, _, _ = maker.release()
    found = manifest.verified(release.envelope, maker.keys)
    assert found == release
    assert found.manifest.artifact('orin_nano').files[0].path == 'model.onnx'
    assert [each.path for each in found.manifest.files] == ['model.onnx', 'model.py',
                                                            'orin/engine.plan']


def test_the_published_schema_is_the_installed_one():
    installed = Path(manifest.__file__).parent / 'schemas' / 'release.schema.json'
    published = Path(__file__).parents[3] / 'config' / 'schemas' / 'release.schema.json'
    assert installed.read_bytes() == published.read_bytes()


@given(st.data())
def test_no_changed_envelope_passes(data):
    """Every single-byte change of payload, type, key id or signature is refused."""
    private, public = _KEYS
    signed = json.loads(envelope.sign(b'{"a": 1}', PAYLOAD_TYPE, private, KEY_ID))
    where = data.draw(st.sampled_from(['payload', 'payloadType', 'sig', 'keyid']))
    part = signed['signatures'][0] if where in ('sig', 'keyid') else signed
    raw = bytearray(base64.b64decode(part[where]) if where in ('payload', 'sig')
                    else part[where].encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 127))
    part[where] = (base64.b64encode(raw).decode() if where in ('payload', 'sig')
                   else raw.decode('latin-1'))
    with pytest.raises(ReleaseError):
        envelope.verify(json.dumps(signed).encode(), PAYLOAD_TYPE, {KEY_ID: public})


@pytest.mark.parametrize('junk', [b'', b'[]', b'{}', b'null', b'{"payload": 1}', b'\xff' * 9,
                                  b'[' * 100_000])
def test_what_is_no_envelope_is_refused_in_one_sentence(maker, junk):
    with pytest.raises(ReleaseError, match='none'):
        manifest.verified(junk, maker.keys)


def test_a_gate_record_never_passes_for_a_release(maker):
    private, public = key_pair()
    with pytest.raises(ReleaseError, match='holds'):
        manifest.verified(gate_record('a' * 64, private), {'gate': public})


def test_another_key_is_not_ours(maker):
    release, _, _ = maker.release()
    with pytest.raises(ReleaseError, match='no signature'):
        manifest.verified(release.envelope, {KEY_ID: key_pair()[1]})
    with pytest.raises(ReleaseError, match='no signature'):
        manifest.verified(release.envelope, {'another': maker.public_key})


@pytest.mark.parametrize('path', [
    '../x', '/etc/passwd', 'a/../../b', 'a//b', '', '.hidden', 'a/.b', 'a\\b', 'a/b/', 'a b',
    'ü', 'x\n', 'a/' * 13 + 'b', 'release.dsse.json', 'gate_record.dsse.json', '~/x', '%2e%2e/x'])
def test_path_tricks_are_refused_even_when_signed(maker, path):
    bad = (Artifact('cloud', 'onnx', (File(path, '0' * 64, 1),)),)
    with pytest.raises(ReleaseError):
        maker.release(artifacts=bad)


def test_a_path_cannot_be_two_files_or_a_folder_as_well(maker):
    with pytest.raises(ReleaseError, match='two different'):
        maker.release(artifacts=(Artifact('a', 'onnx', (File('m', '0' * 64, 1),)),
                                 Artifact('b', 'onnx', (File('m', '1' * 64, 1),))))
    with pytest.raises(ReleaseError, match='file and a folder'):
        maker.release(artifacts=(Artifact('a', 'onnx', (File('m', '0' * 64, 1),)),
                                 Artifact('b', 'onnx', (File('m/x', '1' * 64, 1),))))


def test_a_release_needs_a_person(maker):
    release, _, _ = maker.release()
    with pytest.raises(ReleaseError, match='approval'):
        manifest.sign(replace(release.manifest,
                              approval=replace(release.manifest.approval, who='  ')),
                      maker.private_key, KEY_ID)


def test_the_gate_must_have_passed_this_very_policy(maker):
    release, _, gate = maker.release()
    check_gate(release.manifest, gate, maker.gate_public_key)
    failed, _, failed_gate = maker.release(3, passed=False)
    with pytest.raises(ReleaseError, match='did not pass'):
        check_gate(failed.manifest, failed_gate, maker.gate_public_key)
    with pytest.raises(ReleaseError, match='not the one'):
        check_gate(release.manifest, gate + b' ', maker.gate_public_key)
    with pytest.raises(ReleaseError, match='signature'):
        check_gate(release.manifest, gate, key_pair()[1])
    other = replace(release.manifest, checkpoint_sha256='9' * 64, artifacts=(
        Artifact('cloud', 'onnx', (File('x', '8' * 64, 1),)),))
    with pytest.raises(ReleaseError, match='another policy'):
        check_gate(other, gate, maker.gate_public_key)


def publish(maker, where, version=2, **changes):
    release, folder, gate = maker.release(version, **changes)
    where.publish(release, folder, gate, maker.gate_public_key, config=b'name: "amr"\n')
    return release


def test_versions_lie_side_by_side_and_publishing_again_changes_nothing(maker, tmp_path):
    where = repository(maker, tmp_path / 'repository')
    publish(maker, where, 2)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / 'repository').rglob('*')}
    publish(maker, where, 3)
    publish(maker, where, 2)
    assert where.versions('amr') == [2, 3]
    assert where.verify('amr', 2).manifest.version == 2
    for path, changed_ns in first.items():
        if path.is_file():
            assert path.stat().st_mtime_ns == changed_ns


def test_a_version_is_never_replaced(maker, tmp_path):
    where = repository(maker, tmp_path / 'repository')
    publish(maker, where, 2)
    with pytest.raises(ReleaseError, match='never replaced'):
        publish(maker, where, 2, run_id='run-8')
    with pytest.raises(ReleaseError, match='never replaced'):
        publish(maker, where, 2, content=b'another network')


def test_a_publication_that_was_cut_off_is_no_release_and_can_be_taken_up(maker, tmp_path):
    where = repository(maker, tmp_path / 'repository')
    release, folder, gate = maker.release(2)

    class Cut(FolderStore):
        def put_new(self, name, content):
            if name.endswith('model.py'):
                raise ReleaseError('the line is down')
            super().put_new(name, content)

    with pytest.raises(ReleaseError, match='line is down'):
        Repository(Cut(tmp_path / 'repository'), maker.keys).publish(
            release, folder, gate, maker.gate_public_key)
    assert where.store.names('amr/2') == ['amr/2/model.onnx']
    assert where.versions('amr') == []
    with pytest.raises(ReleaseError, match='no release'):
        where.verify('amr', 2)
    publish(maker, where, 2)
    assert where.versions('amr') == [2]


@pytest.mark.parametrize('harm', ['change', 'lose', 'add', 'swap_manifest', 'link'])
def test_a_tampered_repository_is_refused(maker, tmp_path, harm):
    root = tmp_path / 'repository'
    where = repository(maker, root)
    publish(maker, where, 2)
    publish(maker, where, 3)
    network = root / 'amr' / '2' / 'model.onnx'
    if harm == 'change':
        network.write_bytes(b'network 3')
    elif harm == 'lose':
        network.unlink()
    elif harm == 'add':
        (network.parent / 'sitecustomize.py').write_text('evil')
    elif harm == 'link':
        network.unlink()
        os.symlink(maker.folder / 'files-2' / 'model.onnx', network)
    else:
        signed = root / 'amr' / '3' / 'release.dsse.json'
        (root / 'amr' / '2' / 'release.dsse.json').write_bytes(signed.read_bytes())
    with pytest.raises(ReleaseError):
        where.verify('amr', 2)
    where.verify('amr', 3)


def test_a_file_that_differs_from_the_manifest_is_not_published(maker, tmp_path):
    where = repository(maker, tmp_path / 'repository')
    release, folder, gate = maker.release(2)
    (folder / 'model.py').write_bytes(b'# evil\n')
    with pytest.raises(ReleaseError, match='not the file'):
        where.publish(release, folder, gate, maker.gate_public_key)
    assert not (tmp_path / 'repository').exists()


def test_of_two_writers_one_wins_and_its_object_is_whole(tmp_path):
    shared = FolderStore(tmp_path)
    contents = [bytes([number]) * 300_000 for number in range(6)]
    outcomes = []

    def write(content):
        try:
            shared.put_new('m/1/x', content)
            outcomes.append(content)
        except TakenError:
            pass

    threads = [threading.Thread(target=write, args=(each,)) for each in contents]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(outcomes) == 1
    assert store.read(shared, 'm/1/x', 1 << 20) == outcomes[0]
    assert shared.names('m') == ['m/1/x']


def test_a_folder_that_leads_elsewhere_is_refused(tmp_path):
    (tmp_path / 'outside').mkdir()
    root = tmp_path / 'root'
    root.mkdir()
    os.symlink(tmp_path / 'outside', root / 'm')
    with pytest.raises(ReleaseError, match='link'):
        FolderStore(root).put_new('m/x', b'1')
    with pytest.raises(ReleaseError, match='no name'):
        FolderStore(root).put_new('../x', b'1')


def test_a_download_is_checked_and_leaves_nothing_when_it_is_wrong(maker, tmp_path):
    where = repository(maker, tmp_path / 'repository')
    release = publish(maker, where, 2)
    where.download(release, 'model.onnx', tmp_path / 'got')
    assert (tmp_path / 'got').read_bytes() == b'network 2'
    (tmp_path / 'repository' / 'amr' / '2' / 'model.onnx').write_bytes(b'network 9')
    with pytest.raises(ReleaseError, match='not the file'):
        where.download(release, 'model.onnx', tmp_path / 'bad')
    assert not (tmp_path / 'bad').exists()


def test_a_url_opens_the_folder_it_names(tmp_path):
    folder = tmp_path / 'with a space'
    opened = open_store(folder.as_uri())
    opened.put_new('x', b'1')
    assert (folder / 'x').read_bytes() == b'1'
    assert open_store(str(folder)).size('x') == 1


_KEYS = key_pair()
