"""The spool: states by name, recovery from a crash anywhere, and a floor that holds."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import NOON_NS, S, a_case, a_draft, an_open_spool, fill

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter
from edge_case_recorder.spool import SpoolError, State, cases, mark


def states(root):
    return {case.id: case.state for case in cases(root)}


def an_unfinished_case(spool, flushed=60, unflushed=30):
    draft = a_draft()
    folder = spool.begin(draft)
    writer = BagWriter(folder, draft['case_id'], 'zstd')
    written = fill(writer, flushed)
    writer.flush()
    fill(writer, unflushed, start_ns=NOON_NS + S)
    writer.abandon()
    return draft, folder, written


def test_a_case_goes_from_state_to_state(tmp_path):
    spool = an_open_spool(tmp_path)
    draft = a_draft()
    folder = spool.begin(draft)
    assert states(tmp_path) == {draft['case_id']: State.PARTIAL}
    shutil.rmtree(folder)
    case = a_case(spool)
    assert states(tmp_path) == {draft['case_id']: State.RECORDED}
    assert sorted(path.name for path in case.iterdir()) == [
        f'{draft["case_id"]}_0.mcap', 'manifest.json', 'metadata.yaml']
    mark(case, State.UPLOADED, {'url': 'gs://b/x'})
    assert states(tmp_path) == {draft['case_id']: State.UPLOADED}


def test_one_recorder_a_spool(tmp_path):
    spool = an_open_spool(tmp_path)
    with pytest.raises(SpoolError, match='another recorder'):
        an_open_spool(tmp_path)
    spool.close()
    an_open_spool(tmp_path).close()


def test_a_spool_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(SpoolError, match='file'):
        an_open_spool(tmp_path / 'file' / 'spool')


def test_a_case_that_is_there_already_is_not_written_over(tmp_path):
    spool = an_open_spool(tmp_path)
    a_case(spool)
    with pytest.raises(SpoolError, match='already'):
        spool.begin(a_draft())


def test_a_crash_in_the_window_costs_what_was_not_flushed(tmp_path):
    spool = an_open_spool(tmp_path)
    draft, _, written = an_unfinished_case(spool)
    [content] = spool.recover()
    assert content['case_id'] == draft['case_id']
    assert content['recovered']
    assert content['window']['truncated_by'] == 'crash'
    assert content['messages'] == len(written)
    assert states(tmp_path) == {draft['case_id']: State.RECORDED}
    assert manifest.read(tmp_path / draft['case_id']) == content
    assert list(spool.recover()) == []


def test_a_crash_before_the_first_message_leaves_a_labelled_folder(tmp_path):
    log = []
    spool = an_open_spool(tmp_path, log=log.append)
    draft = a_draft()
    spool.begin(draft)
    assert list(spool.recover()) == []
    assert states(tmp_path) == {draft['case_id']: State.BROKEN}
    assert 'before the first message' in (
        tmp_path / f'{draft["case_id"]}.broken' / 'why.txt').read_text()
    assert 'is broken' in log[0]


@pytest.mark.parametrize('draft_text', ['', 'null', '{"window": 3}', '{"cause": "x"}'])
def test_a_draft_that_is_none_is_labelled_too(tmp_path, draft_text):
    spool = an_open_spool(tmp_path)
    draft, folder, _ = an_unfinished_case(spool)
    (folder / 'draft.json').write_text(draft_text)
    assert list(spool.recover()) == []
    assert states(tmp_path) == {draft['case_id']: State.BROKEN}


def test_recovery_waits_where_there_is_no_room(tmp_path):
    spool = an_open_spool(tmp_path, free_bytes=lambda _: 10, min_free_bytes=5)
    draft, _, written = an_unfinished_case(spool)
    assert list(spool.recover()) == []
    assert states(tmp_path) == {draft['case_id']: State.PARTIAL}
    spool.close()
    [content] = an_open_spool(tmp_path).recover()
    assert content['messages'] == len(written)


def test_recovery_can_be_cut_short_and_begun_again(tmp_path, monkeypatch):
    """A crash after any step of a recovery, by letting each durable step fail once."""
    from edge_case_recorder import durable
    from edge_case_recorder import spool as spool_module
    steps = 0
    for stop_at in range(12):
        root = tmp_path / str(stop_at)
        spool = an_open_spool(root)
        draft, _, written = an_unfinished_case(spool)
        steps = 0

        def failing(real, allowed):
            def step(*arguments):
                nonlocal steps
                steps += 1
                if steps > allowed:
                    raise KeyboardInterrupt
                return real(*arguments)
            return step
        with monkeypatch.context() as patch:
            for name in ('rename_durably', 'fsync_folder'):
                patch.setattr(spool_module, name, failing(getattr(durable, name), stop_at))
            patch.setattr(manifest, 'write_durably', failing(durable.write_durably, stop_at))
            try:
                first = list(spool.recover())
            except KeyboardInterrupt:
                first = []
        spool.close()
        recovered = first + list(an_open_spool(root).recover())
        assert states(root) == {draft['case_id']: State.RECORDED}
        assert manifest.read(root / draft['case_id'])['messages'] == len(written)
        assert len(recovered) <= 1
    assert steps < stop_at, 'the loop must reach an undisturbed recovery'


@given(st.lists(st.sampled_from(['record', 'upload', 'fail', 'crash', 'restart', 'fill', 'free']),
                max_size=14))
@settings(deadline=None, max_examples=20)
def test_nothing_finished_is_lost_and_the_floor_holds(tmp_path_factory, actions):
    root = tmp_path_factory.mktemp('spool')
    free = [100_000]
    spool = an_open_spool(root, free_bytes=lambda _: free[0], min_free_bytes=50_000)
    finished: set[str] = set()
    uploaded: set[str] = set()
    for number, action in enumerate(actions):
        stamp_ns = NOON_NS + number * S
        if action == 'record':
            finished.add(a_case(spool, stamp_ns=stamp_ns, messages=3).name)
        elif action == 'crash':
            draft = a_draft(stamp_ns=stamp_ns)
            writer = BagWriter(spool.begin(draft), draft['case_id'], 'none')
            fill(writer, 3)
            writer.flush()
            writer.abandon()
        elif action == 'restart':
            spool.close()
            spool = an_open_spool(root, free_bytes=lambda _: free[0], min_free_bytes=50_000)
            finished |= {content['case_id'] for content in spool.recover()}
        elif action in ('upload', 'fail'):
            for case in cases(root):
                if case.state is State.RECORDED:
                    mark(case.folder, State.UPLOADED if action == 'upload' else State.FAILED, {})
                    uploaded |= {case.id} if action == 'upload' else set()
                    break
        elif action == 'fill':
            free[0] = 50_100
            assert not spool.make_room(1000)   # nothing that is removed makes this disk freer
        else:
            free[0] = 100_000
            assert spool.make_room(1000)
    there = {case.id for case in cases(root)
             if case.state in (State.RECORDED, State.UPLOADED, State.FAILED)}
    assert finished - uploaded <= there
    for case in cases(root):
        if case.state in (State.RECORDED, State.UPLOADED, State.FAILED):
            manifest.read(case.folder)
    spool.close()


def test_uploaded_cases_make_room_oldest_first_and_it_is_said(tmp_path):
    log = []
    spool = an_open_spool(tmp_path, log=log.append, min_free_bytes=1000,
                          free_bytes=lambda root: 3000 - 1000 * len(cases(root)))
    folders = [a_case(spool, stamp_ns=NOON_NS + number * S) for number in range(3)]
    for folder in folders[:2]:
        mark(folder, State.UPLOADED, {})
    assert spool.make_room(500)
    assert [case.id for case in cases(tmp_path)] == [folders[2].name]
    assert len(log) == 2
    assert folders[0].name in log[0]
    assert not spool.make_room(5000)
    assert [case.id for case in cases(tmp_path)] == [folders[2].name]


def test_an_eviction_that_was_cut_short_is_finished_at_start(tmp_path):
    spool = an_open_spool(tmp_path)
    folder = a_case(spool)
    folder.rename(tmp_path / f'{folder.name}.evicted')
    list(spool.recover())
    assert not list(tmp_path.glob('*.evicted'))


def test_what_is_not_a_case_is_left_alone(tmp_path):
    spool = an_open_spool(tmp_path)
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes.txt').write_text('x')
    assert list(spool.recover()) == []
    assert cases(tmp_path) == []
    assert (tmp_path / 'notes').is_dir()


def test_a_draft_is_whole_on_the_disk_before_the_first_message(tmp_path):
    spool = an_open_spool(tmp_path)
    folder = spool.begin(a_draft())
    assert json.loads((folder / 'draft.json').read_text())['cause'] == 'protective_field'
