"""Sealed files: what was flushed comes back, nothing changed comes back, the key stays secret."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_case_recorder.sealing import (
    RECORD_BYTES,
    Key,
    NoKeyError,
    SealError,
    check_key,
    open_plain,
    plain_size,
    seal,
    sealed_bytes,
    unseal,
    validate,
)

KEY = Key(bytes(range(32)))
OTHER = Key(bytes(32))
# Around the size of a record, and far from it.
SIZES = st.one_of(st.integers(0, 40), st.integers(RECORD_BYTES - 2, RECORD_BYTES + 2),
                  st.integers(0, 3 * RECORD_BYTES))
STEPS = st.lists(st.one_of(SIZES, st.just('flush')), max_size=8)


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def write_steps(file, steps):
    """The plaintext, and (size of the file, plaintext) after each flush."""
    plain, flushed = b'', []
    for number, step in enumerate(steps):
        if step == 'flush':
            file.flush()
            flushed.append((os.fstat(file.fileno()).st_size, len(plain)))
        else:
            plain += noise(step, number)
            assert file.write(noise(step, number)) == step
            assert file.tell() == len(plain)
    return plain, flushed


def a_sealed(path, plain, flush_at=()):
    file = seal(path, KEY)
    first = 0
    for end in (*flush_at, len(plain)):
        file.write(plain[first:end])
        file.flush()
        first = end
    file.close()
    return path


@given(steps=STEPS, cut=st.floats(0.0, 1.0), closed=st.booleans(), tail=st.sampled_from(
    ['gone', 'zeros', 'noise']))
def test_cut_anywhere_it_reads_a_prefix_with_all_that_was_flushed(steps, cut, closed, tail):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'case_0.mcap.sealed'
        file = seal(path, KEY)
        plain, flushed = write_steps(file, steps)
        (file.close if closed else file.abandon)()
        whole = path.read_bytes()
        size = int(cut * len(whole))
        rest = {'gone': b'', 'zeros': bytes(len(whole) - size),
                'noise': noise(len(whole) - size, 9)}[tail]
        path.write_bytes(whole[:size] + rest)
        try:
            with unseal(path, [KEY], torn=True) as torn:
                got = torn.read()
                is_whole = torn.is_whole
        except SealError:
            assert size < 48        # the header itself is not there
            got, is_whole = b'', False
        assert plain.startswith(got)
        assert len(got) >= max((end for at, end in flushed if at <= size), default=0)
        assert not is_whole or (closed and got == plain)
        if closed and whole == path.read_bytes():
            assert is_whole


@given(steps=STEPS, places=st.lists(st.tuples(st.integers(0, 1 << 18), st.integers(0, 1 << 17)),
                                    max_size=6))
def test_seek_and_read_equal_slices_of_the_plaintext(steps, places):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'case_0.mcap.sealed'
        file = seal(path, KEY)
        plain, _ = write_steps(file, steps)
        file.close()
        with open_plain(path, [KEY]) as opened:
            for place, count in places:
                assert opened.seek(place) == place
                assert opened.read(count) == plain[place:place + count]
            assert opened.seek(0, os.SEEK_END) == len(plain) == plain_size(path, [KEY])
            back = min(5, len(plain))
            opened.seek(-back, os.SEEK_END)
            assert opened.read() == plain[len(plain) - back:]
        assert path.stat().st_size <= 48 + sum(
            sealed_bytes(step) if step != 'flush' else 20 for step in steps) + 20


def test_any_flipped_bit_is_detected(tmp_path):
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', noise(300), flush_at=(10, 150, 150))
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0x01, 0x80):
            changed = bytearray(whole)
            changed[place] ^= bit
            path.write_bytes(changed)
            with pytest.raises(SealError):
                validate(path, [KEY])
    path.write_bytes(whole)
    validate(path, [KEY])


def test_what_is_cut_off_or_added_is_detected(tmp_path):
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', noise(300), flush_at=(10, 150))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(SealError):
            validate(path, [KEY])
    for more in (b'\0', whole[48:], bytes(30)):
        path.write_bytes(whole + more)
        with pytest.raises(SealError):
            validate(path, [KEY])


def records(data):
    """The header, and the records after it."""
    parts, at = [data[:48]], 48
    while at < len(data):
        end = at + 4 + (int.from_bytes(data[at:at + 4], 'big') & 0x7FFFFFFF) + 16
        parts.append(data[at:end])
        at = end
    return parts


@pytest.mark.parametrize('order', [(0, 2, 1, 3, 4), (0, 1, 1, 3, 4), (0, 1, 3, 4), (0, 4),
                                   (0, 1, 2, 3, 3), (0, 1, 2, 3, 4, 4)])
def test_records_that_are_exchanged_repeated_or_left_out_are_detected(tmp_path, order):
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', noise(300), flush_at=(100, 200))
    parts = records(path.read_bytes())
    assert len(parts) == 5      # of three flushes, and the last, which is empty
    path.write_bytes(b''.join(parts[number] for number in order))
    with pytest.raises(SealError):
        validate(path, [KEY])


def test_a_length_that_was_moved_to_its_neighbour_is_detected_where_it_is_read(tmp_path):
    """The records after it keep their places: only what is read is checked, and that is."""
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', noise(300), flush_at=(100, 200))
    data = bytearray(path.read_bytes())
    data[48:52], data[48 + 120 - 5:48 + 124 - 5] = (95).to_bytes(4, 'big'), (105).to_bytes(4, 'big')
    path.write_bytes(data)
    with unseal(path, [KEY]) as file:
        file.seek(200)
        assert file.read(100) == noise(300)[200:]
        file.seek(0)
        with pytest.raises(SealError, match='was changed'):
            file.read(10)


def test_a_file_under_another_name_is_refused(tmp_path):
    plain = noise(1000)
    path = a_sealed(tmp_path / 'one_0.mcap.sealed', plain)
    other = path.rename(tmp_path / 'two_0.mcap.sealed')
    with pytest.raises(SealError, match='not the file of this name'):
        validate(other, [KEY])


def test_another_key_is_named_and_several_keys_are_tried(tmp_path):
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', b'pictures')
    for torn in (False, True):
        with pytest.raises(NoKeyError, match=f'with key {KEY.id.hex()}, and given was '
                                             f'{OTHER.id.hex()}'):
            unseal(path, [OTHER], torn=torn)
        with pytest.raises(NoKeyError, match='no key was given'):
            unseal(path, [], torn=torn)
    with pytest.raises(NoKeyError):
        check_key(path, [OTHER])
    with unseal(path, [OTHER, KEY]) as file:
        assert file.read() == b'pictures'


def test_the_same_plaintext_never_looks_the_same(tmp_path):
    plain = b'front camera ' * 1000
    one = a_sealed(tmp_path / 'one_0.mcap.sealed', plain).read_bytes()
    (tmp_path / 'again').mkdir()
    two = a_sealed(tmp_path / 'again' / 'one_0.mcap.sealed', plain).read_bytes()
    assert one[:16] == two[:16]             # magic and key id
    assert not {one[at:at + 16] for at in range(16, len(one) - 16, 16)} & \
        {two[at:at + 16] for at in range(16, len(two) - 16, 16)}
    assert b'camera' not in one


def test_an_existing_file_is_not_written_over(tmp_path):
    path = a_sealed(tmp_path / 'case_0.mcap.sealed', b'first')
    with pytest.raises(FileExistsError):
        seal(path, KEY)
    validate(path, [KEY])


@pytest.mark.parametrize('content', [KEY.secret, KEY.secret.hex().encode(),
                                     KEY.secret.hex().upper().encode() + b'\n'])
def test_a_key_is_read_from_a_file_of_its_owner(tmp_path, content):
    path = tmp_path / 'key'
    path.write_bytes(content)
    path.chmod(0o600)
    assert Key.read(path) == KEY
    path.chmod(0o400)
    assert Key.read(str(path)) == KEY
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret) not in repr(KEY)


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / 'key'
    path.write_bytes(KEY.secret)
    path.chmod(mode)
    with pytest.raises(SealError, match=f'others may read it .mode {mode:04o}'):
        Key.read(path)


def test_a_credential_of_systemd_may_show_its_access_list_as_group_bits(tmp_path, monkeypatch):
    path = tmp_path / 'case_key'
    path.write_bytes(KEY.secret)
    path.chmod(0o440)
    monkeypatch.setenv('CREDENTIALS_DIRECTORY', str(tmp_path))
    assert Key.read('$CREDENTIALS_DIRECTORY/case_key') == KEY
    path.chmod(0o444)
    with pytest.raises(SealError, match='others may read it'):
        Key.read('$CREDENTIALS_DIRECTORY/case_key')


@pytest.mark.parametrize('content', [b'', b'short', KEY.secret + b'\n', b'zz' * 32,
                                     b'00' * 31, b'00' * 33])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / 'key'
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealError, match='64 hexadecimal digits') as caught:
        Key.read(path)
    assert not content or content.decode('latin1') not in str(caught.value)


def test_no_file_a_folder_and_a_pipe_are_no_keys(tmp_path):
    os.mkfifo(tmp_path / 'pipe', 0o600)
    for name, why in (('none', 'No such file'), ('.', 'Is a directory|is not a file'),
                      ('pipe', 'is not a file')):
        with pytest.raises(SealError, match=why):
            Key.read(tmp_path / name)


def test_a_plain_file_is_opened_as_it_is(tmp_path):
    (tmp_path / 'case_0.mcap').write_bytes(b'plain')
    with open_plain(tmp_path / 'case_0.mcap') as file:
        assert file.read() == b'plain'
    assert plain_size(tmp_path / 'case_0.mcap') == 5


def test_a_disk_that_refuses_a_record_never_lets_a_nonce_be_used_again(tmp_path):
    file = seal(tmp_path / 'case_0.mcap.sealed', KEY)
    file.write(b'first')
    file.flush()
    good = file._file
    with open('/dev/full', 'wb', buffering=0) as full:
        file._file = full
        file.write(b'second')
        with pytest.raises(OSError, match='No space'):
            file.flush()
    file._file = good
    file.write(b'third')
    file.close()
    with unseal(tmp_path / 'case_0.mcap.sealed', [KEY], torn=True) as torn:
        assert torn.read() == b'first'      # what follows has another number than its place


def test_a_tail_of_zeros_is_no_row_of_empty_records(tmp_path):
    """A power cut may leave millions of them; each would be a record to remember."""
    path = tmp_path / 'case_0.mcap.sealed'
    file = seal(path, KEY)
    file.write(b'flushed')
    file.flush()
    file.abandon()
    with open(path, 'ab') as more:
        more.truncate(100_000_000)
    with unseal(path, [KEY], torn=True) as torn:
        assert torn.read() == b'flushed'
        assert len(torn._records) == 1
    with pytest.raises(SealError, match='cut short'):
        unseal(path, [KEY])
