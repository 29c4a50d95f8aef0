"""A release into two real Tritons: both versions served by each, or not served at all."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from releases import Maker, gate_record

from flywheel.release import manifest as manifests
from flywheel.release import pods
from flywheel.release.errors import ReleaseError
from flywheel.release.manifest import Artifact
from flywheel.release.repository import Repository
from flywheel.release.store import FolderStore
from policy_client.desk_triton import DeskTriton, available

MODEL = Path(__file__).parents[3] / 'docker' / 'triton' / 'model_repository' / 'amr'
needs_triton = pytest.mark.skipif(not available(os.environ),
                                  reason='./dev names no Triton environment here')


def publish(maker, where, version):
    """The repository's own network as a release; the versions differ in their code's bytes."""
    folder = maker.folder / f'v{version}'
    folder.mkdir(parents=True)
    (folder / 'model.onnx').write_bytes((MODEL / '1' / 'model.onnx').read_bytes())
    (folder / 'model.py').write_bytes((MODEL / '1' / 'model.py').read_bytes()
                                      + b'# version %d\n' % version)
    checkpoint = manifests.sha256_of(folder / 'model.onnx')
    gate = gate_record(checkpoint, maker.gate_private_key)
    release = maker.release(version)[0]
    made = manifests.sign(replace(
        release.manifest, checkpoint_sha256=checkpoint,
        gate_sha256=hashlib.sha256(gate).hexdigest(),
        artifacts=(Artifact('cloud', 'triton',
                            manifests.describe(folder, ['model.onnx', 'model.py'])),)),
        maker.private_key, release.key_id)
    where.publish(made, folder, gate, maker.gate_public_key,
                  config=(MODEL / 'config.pbtxt').read_bytes())
    return made


@needs_triton
def test_every_pod_serves_both_versions_or_it_does_not_count(tmp_path):
    maker = Maker(tmp_path / 'made')
    where = Repository(FolderStore(tmp_path / 'repository'), maker.keys)
    first = publish(maker, where, 1)
    with (DeskTriton(tmp_path / 'repository') as one,
          DeskTriton(tmp_path / 'repository', models=()) as new_and_empty):
        endpoints = [one.endpoint, new_and_empty.endpoint]
        second = publish(maker, where, 2)
        digests = {1: first.digest, 2: second.digest}
        before = pods.check(endpoints, 'amr', digests)
        assert [each.versions for each in before] == [(1,), ()]
        states = pods.serve(endpoints, 'amr', digests)
        assert [each.versions for each in states] == [(1, 2), (1, 2)]
        assert not any(each.error for each in states)
        other = pods.check(endpoints, 'amr', digests | {2: 'f' * 64})
        assert all('another release' in each.error for each in other)
        new_and_empty.kill()
        with pytest.raises(ReleaseError, match='1 of 2 pods'):
            pods.serve(endpoints, 'amr', digests, timeout_s=20.0)
        with pytest.raises(ReleaseError, match='2 of 2 pods do not serve version 1, 2, 3'):
            pods.serve(endpoints, 'amr', digests | {3: 'a' * 64}, timeout_s=20.0)
        assert pods.check([one.endpoint], 'amr', digests)[0].versions == (1, 2)


@pytest.mark.parametrize('endpoint', ['127.0.0.1:1', 'http://x:1', 'grpc://', 'grpc://127.0.0.1:1'])
def test_a_pod_that_is_not_there_is_named(endpoint):
    with pytest.raises(ReleaseError, match='1 of 1 pods'):
        pods.serve([endpoint], 'amr', {1: ''}, timeout_s=2.0)


def test_no_pod_is_no_service():
    with pytest.raises(ReleaseError, match='no pod'):
        pods.serve([], 'amr', {1: ''})


def test_a_headless_service_is_its_addresses():
    assert pods.pods_of('127.0.0.1', 8001) == ['grpc://127.0.0.1:8001']
    with pytest.raises(ReleaseError, match=r'nowhere\.invalid'):
        pods.pods_of('nowhere.invalid', 8001)
