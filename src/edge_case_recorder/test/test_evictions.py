"""What leaves a full spool: in order of value, each said, and nothing unsent without leave."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from making import NOON_NS, S, a_case, an_open_spool

from edge_case_recorder.evictions import LOG, Candidate, Eviction, EvictionLog, order
from edge_case_recorder.spool import State, cases, mark

CANDIDATES = st.lists(
    st.builds(Candidate, st.integers(0, 99).map('{:02}'.format), st.integers(0, 3), st.booleans()),
    max_size=12, unique_by=lambda case: case.id)


@given(CANDIDATES, st.booleans())
def test_the_order_of_value(candidates, evict_unsent):
    by_id = {case.id: case for case in candidates}
    going = [by_id[case_id] for case_id in order(candidates, evict_unsent)]
    assert len(set(going)) == len(going)
    sent = [case for case in going if case.is_uploaded]
    unsent = going[len(sent):]
    assert sent == sorted(case for case in candidates if case.is_uploaded)
    assert not any(case.is_uploaded for case in unsent)
    waiting = [case for case in candidates if not case.is_uploaded]
    if not evict_unsent or not waiting:
        assert unsent == []
        return
    stays = max(waiting, key=lambda case: (case.priority, case.id))
    assert set(waiting) - set(unsent) == {stays}
    for earlier, later in pairwise(unsent):
        assert (earlier.priority, earlier.id) < (later.priority, later.id)


def a_spool_for(root, count, **settings):
    return an_open_spool(root, min_free_bytes=1000,
                         free_bytes=lambda root: count - len(cases(root)) + 1000, **settings)


@given(st.lists(st.tuples(st.sampled_from([20, 50, 80]), st.sampled_from(['', 'sent', 'failed'])),
                min_size=1, max_size=6), st.booleans(), st.integers(1, 8))
@settings(deadline=None, max_examples=15)
def test_a_spool_gives_up_the_least_first_and_says_so(tmp_path_factory, made, evict_unsent, room):
    root = tmp_path_factory.mktemp('spool')
    spool = a_spool_for(root, len(made), evict_unsent=evict_unsent)
    candidates = []
    for number, (priority, state) in enumerate(made):
        folder = a_case(spool, stamp_ns=NOON_NS + number * S, messages=3, priority=priority)
        candidates.append(Candidate(folder.name, priority, state == 'sent'))
        if state:
            mark(folder, State.UPLOADED if state == 'sent' else State.FAILED, {})
    wanted = order(candidates, evict_unsent)[:room]
    assert spool.make_room(room) == (len(wanted) == room)
    assert {case.id for case in cases(root)} == {case.id for case in candidates} - set(wanted)
    said = EvictionLog(root).read()
    assert [entry['id'] for entry in said] == wanted
    by_id = {case.id: case for case in candidates}
    for entry in said:
        assert entry['priority'] == by_id[entry['id']].priority
        assert (entry['state'] == 'uploaded') == by_id[entry['id']].is_uploaded
        assert entry['bytes'] > 0
    spool.close()


def test_what_is_being_removed_is_no_case(tmp_path):
    spool = an_open_spool(tmp_path)
    folder = a_case(spool)
    folder.rename(tmp_path / f'{folder.name}.evicted')
    assert cases(tmp_path) == []


def test_an_eviction_that_was_cut_short_is_said_once(tmp_path):
    spool = an_open_spool(tmp_path)
    first, second = (a_case(spool, stamp_ns=NOON_NS + number * S) for number in range(2))
    mark(first, State.UPLOADED, {})
    for folder in (first, second):
        folder.rename(tmp_path / f'{folder.name}.evicted')
    EvictionLog(tmp_path).write(Eviction(NOON_NS, second.name, 80, 'recorded', 1, 'no room'))
    assert list(spool.recover()) == []
    assert not list(tmp_path.glob('*.evicted'))
    said = EvictionLog(tmp_path).read()
    assert [(entry['id'], entry['state']) for entry in said] == [
        (second.name, 'recorded'), (first.name, 'uploaded')]


@given(st.integers(1, 60))
@settings(deadline=None, max_examples=10)
def test_the_log_is_bounded_and_keeps_the_newest(tmp_path_factory, count):
    root = tmp_path_factory.mktemp('spool')
    log = EvictionLog(root, max_bytes=1500)
    for number in range(count):
        log.write(Eviction(NOON_NS, f'{number}', 80, 'uploaded', 1, 'no room'))
        assert (root / LOG).stat().st_size <= 1500
    ids = [int(entry['id']) for entry in log.read()]
    assert ids == list(range(ids[0], count))


def test_half_a_line_of_a_power_cut_costs_only_itself(tmp_path):
    log = EvictionLog(tmp_path)
    (tmp_path / LOG).write_bytes(b'{"id": "a"}\n{"id": "b", "pri')
    log.write(Eviction(NOON_NS, 'c', 80, 'uploaded', 1, 'no room'))
    assert [entry['id'] for entry in log.read()] == ['a', 'c']
    assert json.loads((tmp_path / LOG).read_bytes().splitlines()[-1])['bytes'] == 1
