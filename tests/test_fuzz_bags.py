"""A few hundred damaged bags into everything of the recorder that reads one."""

import threading
from pathlib import Path

import bag_damage
import fuzz_bags
import pytest

CORPUS = sorted((Path(__file__).parent / 'corpus/bags').glob('*.mcap'))
_BOMB_BYTES = 96 << 20


def test_damaged_bags_are_read_in_part_or_refused():
    shown = fuzz_bags.fuzz(seed=31, number=200)
    # Bags that were all refused, or all read, would prove nothing.
    for what in ('rebuilt', 'rebuilt nothing', 'recorded', 'broken', 'messages read',
                 'messages refused', 'report read', 'replay read'):
        assert shown['counts'][what] > 10, what


@pytest.mark.parametrize('path', CORPUS, ids=lambda path: path.stem)
def test_what_was_found_once(path, tmp_path):
    with fuzz_bags.guarded(fuzz_bags.MOST_PEAK_MB):
        fuzz_bags.Subject(1, tmp_path).feed(path.read_bytes(), None)


@pytest.mark.parametrize('is_indexed', [True, False])
@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
def test_a_chunk_that_unpacks_to_more_than_it_claims_costs_no_memory(tmp_path, compression,
                                                                     is_indexed):
    subject = fuzz_bags.Subject(1, tmp_path)
    with fuzz_bags.little_room(), fuzz_bags.guarded(fuzz_bags.MOST_PEAK_MB):
        subject.bomb(compression, _BOMB_BYTES, 1000, is_indexed)


def test_an_exception_is_found(monkeypatch):
    """The fuzzer's own tests: it finds what is planted."""
    monkeypatch.setattr(fuzz_bags, 'replay', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as found:
        fuzz_bags.fuzz(31, 5)
    assert 'seed 31, input 0' in found.value.__notes__[0]


def test_a_message_that_was_never_written_is_found(monkeypatch):
    monkeypatch.setattr(bag_damage, 'truncated', lambda random, data: data)
    monkeypatch.setattr(fuzz_bags.samples, 'read', lambda *_: None)
    read = fuzz_bags._read
    monkeypatch.setattr(fuzz_bags, '_read', lambda data: read(data)[1:])
    with pytest.raises(fuzz_bags.RuleBroken, match='counted'):
        fuzz_bags.fuzz(31, 5)


def test_memory_beyond_the_limit_is_found():
    with pytest.raises(fuzz_bags.RuleBroken, match='MB were needed'), fuzz_bags.guarded(64.0):
        bytearray(200_000_000)


def test_what_does_not_end_is_found(monkeypatch):
    monkeypatch.setattr(fuzz_bags, '_HANG_S', 1)
    with pytest.raises(fuzz_bags.Hangs), fuzz_bags.guarded(64.0):
        threading.Event().wait()
