"""An MCAP that was cut anywhere gives everything that was flushed, as a whole bag."""

import random

import pytest
from making import fill
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from edge_case_recorder.bag import BagWriter
from edge_case_recorder.recovery import rebuild


def cut_bag(folder, flushes=5, per_flush=60):
    """An unfinished file, and what had been flushed by each size of it."""
    writer = BagWriter(folder, 'case', 'zstd')
    marks = []
    written = []
    for number in range(flushes):
        written += fill(writer, per_flush, start_ns=1_000_000_000 * (number + 1), size=500)
        writer.flush()
        marks.append((writer.path.stat().st_size, list(written)))
    writer.abandon()
    return writer.path, marks


def read(folder):
    with open(folder / 'case_0.mcap', 'rb') as file:
        return [(channel.topic, message.log_time, message.data)
                for _, channel, message in make_reader(file, validate_crcs=True).iter_messages()]


def test_cut_anywhere_it_keeps_what_was_flushed(tmp_path):
    path, marks = cut_bag(tmp_path)
    whole = path.read_bytes()
    seed = random.Random(1)
    sizes = [mark[0] for mark in marks] + [seed.randrange(len(whole)) for _ in range(25)]
    for number, size in enumerate(sizes):
        cut = tmp_path / f'cut{number}.mcap'
        cut.write_bytes(whole[:size])
        folder = tmp_path / str(number)
        folder.mkdir()
        summary = rebuild(cut, folder, 'case')
        wanted = [flushed for flushed_size, flushed in marks if flushed_size <= size]
        got = read(folder)
        # A chunk may have come through although its index did not.
        assert got[:len(wanted[-1]) if wanted else 0] == (wanted[-1] if wanted else [])
        assert got == marks[-1][1][:len(got)]
        assert summary.messages == len(got)
        with Reader(folder) as reader:
            assert [(c.topic, t, bytes(d)) for c, t, d in reader.messages()] == got


@pytest.mark.parametrize('damage', ['zeros', 'noise', 'flipped'])
def test_a_damaged_tail_costs_the_tail_only(tmp_path, damage):
    path, marks = cut_bag(tmp_path)
    size, kept = marks[2]
    data = bytearray(path.read_bytes())
    if damage == 'zeros':       # a file system that knew the length before the content
        data[size:] = bytes(len(data) - size)
    elif damage == 'noise':
        data[size:] = random.Random(2).randbytes(len(data) - size)
    else:
        data[size + 200] ^= 0xFF
    path.write_bytes(data)
    (tmp_path / 'new').mkdir()
    rebuild(path, tmp_path / 'new', 'case')
    assert read(tmp_path / 'new')[:len(kept)] == kept


@pytest.mark.parametrize('content', [b'', b'\x89MCAP0\r\n', b'not an mcap at all' * 10])
def test_what_is_no_mcap_makes_an_empty_bag(tmp_path, content):
    (tmp_path / 'bad.mcap').write_bytes(content)
    assert rebuild(tmp_path / 'bad.mcap', tmp_path, 'case').messages == 0
