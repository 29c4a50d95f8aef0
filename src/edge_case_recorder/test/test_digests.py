"""The digests that a bag's writer takes are those of the file that it leaves."""

import pytest
from making import fill

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter
from edge_case_recorder.site_key import KEY_BYTES, Key


@pytest.mark.parametrize('compression', ['zstd', 'lz4', 'none'])
@pytest.mark.parametrize('flushed', [False, True])
def test_a_bag_knows_its_digests_when_it_is_closed(tmp_path, compression, flushed):
    writer = BagWriter(tmp_path, 'case', compression)
    fill(writer, 30, size=100_000)
    if flushed:
        writer.flush()
        fill(writer, 5)
    summary = writer.close({})
    assert summary.file == manifest.describe(tmp_path / 'case_0.mcap')
    assert summary.file['bytes'] > 1000


def test_of_a_sealed_bag_they_are_those_of_its_plaintext(tmp_path):
    key = Key(bytes(range(KEY_BYTES)))
    writer = BagWriter(tmp_path, 'case', 'zstd', key)
    fill(writer, 30, size=10_000)
    summary = writer.close({})
    assert summary.file == manifest.describe(tmp_path / 'case_0.mcap.sealed', [key])
