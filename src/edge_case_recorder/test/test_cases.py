"""What a spool is told to hold, and how: every state, and what cannot be read."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import NOON_NS, S, a_case, a_draft, an_open_spool
from rich.console import Console

from edge_case_recorder import manifest
from edge_case_recorder.cases import drawn, main, newest_demo_spool
from edge_case_recorder.spool import State, cases, mark
from edge_case_recorder.spool_view import NoSpoolError, SpoolReader, printable
from edge_case_recorder.store import FolderStore
from edge_case_recorder.upload_status import STATUS
from edge_case_recorder.uploading.carrier import Carrier, Did
from edge_case_recorder.uploading.status import StatusFile

NOW_S = NOON_NS / 1e9 + 600.0


@pytest.fixture
def spool(tmp_path):
    return an_open_spool(tmp_path / 'spool')


def text_of(view, width=140, most=None):
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(drawn(view, NOW_S, width, most))
    return console.file.getvalue()


def write_status(spool, **said):
    path = spool.root / STATUS
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({'pid': os.getpid(), 'bucket': 'gs://x', **said}))


def every_state(spool):
    """One case in each state; those that are recorded, by state."""
    folders = {state: a_case(spool, stamp_ns=NOON_NS + number * S, priority=50 + number)
               for number, state in enumerate(('recorded', 'uploading', 'uploaded', 'failed'))}
    mark(folders['uploaded'], State.UPLOADED, {'url': 'gs://x/y', 'uploaded_ns': NOON_NS})
    mark(folders['failed'], State.FAILED, {'trouble': 'damaged', 'why': 'damaged: it rotted'})
    spool.begin(a_draft(stamp_ns=NOON_NS + 5 * S, priority=55))
    spool.give_up(spool.begin(a_draft(stamp_ns=NOON_NS + 6 * S)), 'nothing was flushed')
    size = SpoolReader(spool.root).look().cases[1].bytes
    write_status(spool, did='carried', case_id=folders['uploading'].name, case_bytes=size,
                 persisted_bytes=size // 4)
    return folders


def test_every_state_is_told_with_its_figures(spool):
    folders = every_state(spool)
    view = SpoolReader(spool.root).look()
    assert [case.state for case in view.cases] == [
        'recorded', 'uploading', 'uploaded', 'failed', 'partial', 'broken']
    recorded, uploading, uploaded, failed, partial, broken = view.cases
    listed = sum(entry['bytes'] for entry in manifest.read(folders['recorded'])['files'])
    assert recorded.bytes == listed + (folders['recorded'] / manifest.MANIFEST).stat().st_size
    assert (recorded.cause, recorded.priority, recorded.age_s(NOW_S)) == (
        'protective_field', 50, 600.0)
    assert uploading.sent_bytes == uploading.bytes // 4
    assert (uploaded.url, uploaded.sent_bytes) == ('gs://x/y', uploaded.bytes)
    assert failed.why == 'damaged: it rotted'
    assert (partial.priority, partial.why) == (55, '')
    assert broken.why == 'nothing was flushed'
    assert view.uploader_runs
    assert view.totals()['failed'] == (1, failed.bytes)


@pytest.mark.parametrize('width', [60, 80, 140])
def test_the_picture_has_a_bar_and_says_why(spool, width):
    every_state(spool)
    text = text_of(SpoolReader(spool.root).look(), width)
    assert '24 %' in text or '25 %' in text
    assert 'damaged: it rotted' in ' '.join(text.split())
    assert 'nothing was flushed' in ' '.join(text.split())
    assert all(len(line) <= width for line in text.splitlines())
    for state in ('partial', 'recorded', 'uploading', 'uploaded', 'failed', 'broken'):
        assert f'1 {state}' in ' '.join(text.split())


def test_a_real_upload_is_followed_step_by_step(spool, tmp_path):
    a_case(spool, messages=60, size=100_000)
    carrier = Carrier(spool.root, FolderStore(tmp_path / 'bucket'))
    status, reader, shares = StatusFile(carrier), SpoolReader(spool.root), []
    while (step := carrier.step()).did is not Did.NOTHING:
        status.wrote(step)
        [case] = reader.look().cases
        shares.append((case.state, case.sent_bytes / case.bytes))
    assert shares[0][0] == 'uploading'
    assert shares == sorted(shares, key=lambda each: each[1])
    assert 0.0 < shares[0][1] < 1.0
    assert shares[-1] == ('uploaded', 1.0)


def test_a_case_that_is_set_aside_waits_and_says_why(spool):
    folder = a_case(spool)
    write_status(spool, did='waiting', case_id=folder.name, trouble='refused', why='refused: 400')
    [case] = SpoolReader(spool.root).look().cases
    assert (case.state, case.why) == ('recorded', 'refused: 400')


def test_an_uploader_that_died_is_not_said_to_run(spool):
    a_case(spool)
    assert 'no uploader has looked' in text_of(SpoolReader(spool.root).look())
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    write_status(spool, pid=dead.pid)
    assert 'is not running' in text_of(SpoolReader(spool.root).look())


def test_what_cannot_be_read_is_one_line_of_its_case(spool):
    folder = a_case(spool)
    (folder / manifest.MANIFEST).write_text('{"cause": "x"')
    (spool.root / '20261123T120000.000Z-tipped-over-0123456789ab.partial').mkdir()
    (spool.root / 'somebody').mkdir()
    (spool.root / 'a_log.jsonl').write_text('')      # the recorder keeps files of its own there
    view = SpoolReader(spool.root).look()
    found = {case.cause: case for case in view.cases}
    assert 'manifest.json cannot be read' in found['protective_field'].why
    assert found['protective_field'].stamp_s * 1e9 == NOON_NS
    assert (found['tipped-over'].state, found['tipped-over'].priority) == ('partial', None)
    assert view.strangers == ('somebody',)
    assert 'somebody: not a case' in ' '.join(text_of(view).split())


def test_escape_codes_of_a_file_do_not_reach_the_terminal(spool):
    folder = a_case(spool)
    mark(folder, State.FAILED, {'why': 'a\x1b[2Jb\nc\x07'})
    assert '\x1b' not in text_of(SpoolReader(spool.root).look())
    assert printable('a\x1b[2Jb\nc\x07') == 'a?[2Jb c?'


def test_a_mark_and_its_removal_are_seen_by_the_same_reader(spool):
    folder = a_case(spool)
    reader = SpoolReader(spool.root)
    assert reader.look().cases[0].state == 'recorded'
    mark(folder, State.FAILED, {'why': 'no'})
    assert reader.look().cases[0].why == 'no'
    (folder / 'failed.json').unlink()
    assert (reader.look().cases[0].state, reader.look().cases[0].why) == ('recorded', '')


def test_too_many_for_the_terminal_keeps_what_matters(spool):
    every_state(spool)
    for number in range(20):
        mark(a_case(spool, stamp_ns=NOON_NS + (10 + number) * S, messages=3), State.UPLOADED, {})
    text = text_of(SpoolReader(spool.root).look(), most=9)
    for state in ('uploading', 'failed', 'broken', 'partial', 'recorded'):
        assert any(line.startswith(state) for line in text.splitlines())
    assert '.. and 21 more' in text


def test_the_exit_status_and_the_sentences(spool, tmp_path, capsys):
    assert main(['--spool', str(spool.root)]) == 0
    assert capsys.readouterr().out.strip().replace('\n', '').endswith('holds no case yet.')
    folder = a_case(spool)
    assert main(['--spool', str(spool.root)]) == 0
    mark(folder, State.FAILED, {'why': 'no'})
    assert main(['--spool', str(spool.root)]) == 1
    capsys.readouterr()
    (tmp_path / 'file').write_text('')
    (tmp_path / 'other' / 'things').mkdir(parents=True)
    for path, told in ((tmp_path / 'none', 'is not there'), (tmp_path / 'file', 'is a file'),
                       (tmp_path / 'other', 'is no spool')):
        assert main(['--spool', str(path)]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count('\n') == 1
    assert main(['--spool', str(spool.root), '--watch']) == 2
    assert 'needs a terminal' in capsys.readouterr().err


def test_watch_redraws_what_changes_until_it_is_told_to_end(spool):
    """In a real terminal (a pseudo one): a case that comes is seen, SIGTERM ends it in order."""
    a_case(spool)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, '-m', 'edge_case_recorder.cases', '--spool', str(spool.root), '--watch'],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env=os.environ | {'TERM': 'xterm-256color', 'LINES': '30', 'COLUMNS': '100'})
    os.close(slave)
    try:
        read_until(master, b'protective_field')
        mark(a_case(spool, 'estop', NOON_NS + S), State.FAILED, {'why': 'it rotted'})
        read_until(master, b'it rotted')
        process.send_signal(signal.SIGTERM)
        read_until(master, b'\x1b[?1049l')       # the terminal is as it was before
        assert process.wait(10) == 1
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_until(terminal, wanted, limit_s=30.0):
    seen, limit = b'', time.monotonic() + limit_s
    while wanted not in seen:
        assert select.select([terminal], [], [], limit - time.monotonic())[0], seen[-2000:]
        seen += os.read(terminal, 65536)


def test_json_is_the_whole_view(spool, capsys):
    every_state(spool)
    assert main(['--spool', str(spool.root), '--json']) == 1
    told = json.loads(capsys.readouterr().out)
    assert told['totals']['uploading']['cases'] == 1
    assert [case['id'] for case in told['cases']] == [case.id for case in cases(spool.root)]
    assert told['uploader']['runs'] is True


def test_the_newest_demo_is_the_default(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('SPINAL_ROOT', str(tmp_path))
    assert main([]) == 2
    assert 'run ./dev demo' in capsys.readouterr().err
    for run in ('20261123-100000', '20261123-110000'):
        (tmp_path / 'out' / 'demo' / run / 'spool').mkdir(parents=True)
    (tmp_path / 'out' / 'demo' / '20261123-120000').mkdir()     # it never had a spool
    found = newest_demo_spool(tmp_path / 'out' / 'demo')
    assert found.parent.name == '20261123-110000'
    assert main(['--json']) == 0
    assert json.loads(capsys.readouterr().out)['spool'] == str(found)


@given(content=st.one_of(
    st.binary(max_size=60),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                 lambda inner: st.lists(inner) | st.dictionaries(
                     st.sampled_from(['cause', 'trigger', 'priority', 'stamp_ns', 'window',
                                      'topics', 'lost_in_ring', 'case_id', 'persisted_bytes',
                                      'pid', 'why']), inner), max_leaves=8)
    .map(lambda value: json.dumps(value).encode())))
def test_no_file_of_a_spool_can_stop_the_list(tmp_path_factory, content):
    root = tmp_path_factory.mktemp('spool')
    name = '20261123T120000.000Z-x-0123456789ab'
    for path in (f'{name}/manifest.json', f'{name}/failed.json', f'{name}2.partial/draft.json',
                 f'{name}3.broken/why.txt', f'{name}4/manifest.json', STATUS):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(content)
    view = SpoolReader(root).look()
    assert sorted(case.state for case in view.cases) == ['broken', 'failed', 'partial', 'recorded']
    text_of(view)


@pytest.mark.parametrize('stamp_ns', [10**400, -1, 1e300, None, True])
def test_a_time_that_is_none_falls_back_to_the_name(spool, stamp_ns):
    folder = a_case(spool)
    content = json.loads((folder / manifest.MANIFEST).read_text())
    content['trigger']['stamp_ns'] = stamp_ns
    (folder / manifest.MANIFEST).write_text(json.dumps(content))
    [case] = SpoolReader(spool.root).look().cases
    assert case.stamp_s * 1e9 == NOON_NS
    assert 'is no time' in case.why or 'cannot be read' in case.why


def test_a_folder_that_cannot_be_a_spool_is_refused(tmp_path):
    with pytest.raises(NoSpoolError, match='is not there'):
        SpoolReader(tmp_path / 'none').look()
