"""Rate limits: what the ring leaves out on purpose, and that windows count it exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import ODOM, SCAN, TASK, S, a_draft, a_trigger, an_open_spool, string_cdr

from edge_case_recorder import graph
from edge_case_recorder.parameters import RecorderParameters, rates
from edge_case_recorder.recording import Recording
from edge_case_recorder.ring import Ring
from node_kit import ParameterError, build

KEYS = ('lost_estimated', 'lost_counted', 'rate_limit_hz', 'skipped')


@given(st.integers(1, 50), st.lists(st.integers(0, S // 5), min_size=1, max_size=300))
def test_no_second_holds_more_than_its_share(rate_hz, steps):
    ring, now = Ring(1000 * S), 1
    ring.add_topic('scan', 10_000_000, rate_hz=float(rate_hz))
    for step in steps:
        now += step
        ring.append('scan', now, b'x')
    cursor, _ = ring.open_window(0)
    kept = [record.now_ns for record in ring.take(cursor, now)]
    assert all(sum(start <= stamp < start + S for stamp in kept) <= rate_hz + 1 for start in kept)
    assert len(kept) + cursor.skipped.get('scan', 0) == len(steps)
    assert cursor.lost == {}


@pytest.mark.parametrize(('source_hz', 'rate_hz', 'wanted'), [(30, 20, 20), (100, 10, 10),
                                                             (10, 20, 10), (50, 50, 50)])
def test_the_limit_is_the_rate_that_is_kept(source_hz, rate_hz, wanted):
    ring = Ring(1000 * S)
    ring.add_topic('scan', 10_000_000, rate_hz=float(rate_hz))
    for number in range(60 * source_hz):
        ring.append('scan', S + number * S // source_hz, b'x')
    assert abs(ring.counts()['scan'].held - 60 * wanted) <= 1
    assert ring.counts()['scan'].received == 60 * source_hz
    assert ring.rate_limits() == {'scan': rate_hz}


def test_latched_topics_have_no_limit():
    ring = Ring(1000 * S)
    ring.add_topic('task', 10_000, latched_depth=1, rate_hz=0.1)
    for number in range(10):
        ring.append('task', number, b'x')
    assert ring.counts()['task'].held == 10
    assert ring.rate_limits() == {}


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=120),
       st.integers(0, 60))
def test_a_window_counts_what_was_left_out_of_it(events, opens_at):
    """However often it is read, and when the ring forgets stamps before they are read."""
    ring, now, cursor, start = Ring(100), 1000, None, 0
    ring.add_topic('scan', 100_000, rate_hz=S / 50)
    sent, kept = [], 0
    for number, (step, reads) in enumerate(events):
        if number == opens_at:
            start = max(now - 60, 1000)
            cursor, _ = ring.open_window(start)
        now += step
        ring.append('scan', now, b'x')
        sent.append(now)
        if reads and cursor is not None:
            kept += len(ring.take(cursor, now))
    if cursor is not None:
        kept += len(ring.take(cursor, now))
        missed = cursor.lost.get('scan', 0) + cursor.skipped.get('scan', 0)
        assert kept + missed == sum(stamp >= start for stamp in sent)
        assert len(cursor.skipped_ns.get('scan', [])) <= cursor.skipped.get('scan', 0)


def test_the_manifest_says_what_was_left_out_and_that_it_is_no_loss(tmp_path):
    """40 Hz, one message lost on the way, of which 10 Hz are kept; odom is whole and unlimited."""
    spool, ring = an_open_spool(tmp_path), Ring(60 * S)
    ring.add_topic('/scan', 10_000_000, rate_hz=10.0)
    ring.add_topic('/odom', 10_000_000)
    ring.add_topic('/task', 10_000, latched_depth=1)
    for number in range(400):
        stamp = 95 * S + number * S // 40
        if number != 100:
            ring.append('/scan', stamp, string_cdr('x'))
        ring.append('/odom', stamp + 1, string_cdr('x'))
    trigger = a_trigger(now_ns=100 * S)
    recording = Recording(trigger, ring.open_window(95 * S), a_draft(), ring, spool,
                          {each.name: each for each in (SCAN, ODOM, TASK)}, 'none')
    recording.advance(107 * S)
    content = recording.finish()
    spool.close()
    told = {topic['name']: topic for topic in content['topics']}
    assert content['window']['complete']
    assert 70 <= told['/scan']['messages'] <= 72
    assert told['/scan']['messages'] + told['/scan']['skipped'] == 281 - 1
    assert told['/scan']['rate_limit_hz'] == 10.0
    assert told['/scan']['lost_estimated'] == 1
    assert told['/odom']['messages'] == 280
    assert [told['/odom'][key] for key in KEYS] == [0, None, None, 0]
    assert [told['/task'][key] for key in KEYS] == [None, None, None, 0]


def test_the_first_limit_that_fits_counts():
    patterns = [('/camera/front', 5.0), ('/camera/*', 2.0)]
    assert graph.rate_limit('/camera/front', patterns) == 5.0
    assert graph.rate_limit('/camera/rear', patterns) == 2.0
    assert graph.rate_limit('/odom', patterns) == 0.0


def test_rates_are_pairs():
    assert rates(build(RecorderParameters, {'rates': ('camera/*=10', 'scan=2.5')})) == (
        ('camera/*', 10.0), ('scan', 2.5))


@pytest.mark.parametrize('entry', ['scan', 'scan=', '=4', 'scan=much', 'scan=0', 'scan=nan'])
def test_a_wrong_rate_names_its_entry(entry):
    with pytest.raises(ParameterError, match='rates'):
        rates(build(RecorderParameters, {'rates': (entry,)}))
