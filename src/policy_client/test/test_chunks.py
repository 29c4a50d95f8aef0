from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_client.chunks import ActionQueue, QueueSettings
from policy_client.motion import Limits
from policy_client.reply import ChunkRejected

MS = 1_000_000
PERIOD = 100 * MS
INF = float('inf')
# A base: m/s and rad/s, so the rates are accelerations.
BASE = Limits.of([(-5.0, 5.0, 0.8, 4.0, INF, False), (-5.0, 5.0, 2.5, 20.0, INF, False)])
# The same base with a joint: rad.
MIXED = Limits.of([(-5.0, 5.0, 0.8, 4.0, INF, False), (-1.0, 1.0, 2.0, 8.0, 100.0, True)])
SETTINGS = QueueSettings(PERIOD, max_age_ns=1000 * MS, blend_ns=150 * MS, limits=BASE)


def ramp(first=0.0, by=0.05, count=16):
    """Rows whose first component names their place."""
    rows = np.zeros((count, 2))
    rows[:, 0] = first + by * np.arange(count)
    return rows


def quick(**changes):
    """A queue without limits and nearly without seams, to see the rows themselves."""
    free = Limits.of([(-INF, INF, 1e9, 1e9, INF, False)] * 2)
    values = {'period_ns': PERIOD, 'max_age_ns': 1000 * MS, 'blend_ns': 0, 'limits': free}
    return ActionQueue(QueueSettings(**(values | changes)), 'test')


def give(queue, rows, now_ns, observed_ns=None, source='triton'):
    ticket = queue.close(queue.issue(now_ns if observed_ns is None else observed_ns,
                                     now_ns).request_id)
    return queue.adopt(ticket, rows, source, now_ns)


def test_rows_are_executed_in_their_time_and_interpolated():
    queue = quick()
    queue.step(0)
    give(queue, ramp(), 0)
    seen = [queue.step(ms * MS).action[0] for ms in (0, 50, 100, 325, 700)]
    assert seen == pytest.approx([0.0, 0.025, 0.05, 0.1625, 0.35])


def test_a_reply_is_aligned_by_what_was_executed_while_it_was_on_its_way():
    queue = quick()
    queue.step(0)
    give(queue, ramp(), 0)
    for ms in range(0, 210, 10):
        queue.step(ms * MS)
    ticket = queue.issue(200 * MS, 200 * MS)
    for ms in range(210, 310, 10):
        queue.step(ms * MS)
    queue.adopt(queue.close(ticket.request_id), ramp(0.5), 'triton', 305 * MS)
    assert queue.step(310 * MS).action[0] == pytest.approx(0.5 + 0.05 * 1.1)


def test_a_robot_that_stood_begins_a_late_chunk_at_its_first_row():
    """lerobot PR 4223: trusting the delay would jump 0.6 s into the plan of a standing robot."""
    queue = quick()
    queue.step(0)
    ticket = queue.issue(0, 0)
    for ms in range(0, 600, 20):
        queue.step(ms * MS)
    queue.adopt(queue.close(ticket.request_id), ramp(), 'triton', 600 * MS)
    step = queue.step(600 * MS)
    assert (step.action[0], step.offset_ns) == (0.0, 0)
    assert queue.step(700 * MS).action[0] == pytest.approx(0.05)


def test_the_end_of_the_queue_and_of_the_observations_age_is_a_hold():
    for rows, last_ms in ((ramp(0.4, 0, 4), 399), (ramp(0.4, 0, 16), 1000)):
        queue = quick()
        queue.step(0)
        give(queue, rows, 0)
        queue.step(0)
        assert queue.step(last_ms * MS).action[0] == pytest.approx(0.4)
        held = queue.step((last_ms + 1) * MS)
        assert (held.chunk, held.action[0]) == (None, 0.0)


def test_the_hold_is_reached_without_a_jerk():
    queue = ActionQueue(SETTINGS, 'test')
    queue.step(0)
    give(queue, ramp(0.08, 0, 4), 0)
    speeds = [queue.step(ms * MS).action[0] for ms in range(0, 800, 20)]
    assert max(speeds) == pytest.approx(0.08)
    assert speeds[-1] == 0.0
    assert max(abs(b - a) for a, b in pairwise(speeds)) <= 0.8 * 0.02 + 1e-9


def test_a_new_chunk_is_faded_in():
    queue = quick(blend_ns=100 * MS)
    queue.step(0)
    give(queue, ramp(0.2, 0), 0)
    for ms in range(0, 301, 20):
        queue.step(ms * MS)
    give(queue, ramp(0.6, 0), 300 * MS)
    seen = [queue.step(ms * MS).action[0] for ms in range(300, 421, 5)]
    assert seen[0] == pytest.approx(0.2)
    assert seen[10] == pytest.approx(0.4)  # half way
    assert seen[20:] == pytest.approx([0.6] * 5)
    assert (np.diff(seen) > -1e-9).all()
    assert queue.gap[0] == pytest.approx(-0.4)


def joint_queue():
    queue = ActionQueue(QueueSettings(PERIOD, 1000 * MS, 150 * MS, MIXED), 'test')
    queue.step(0)
    return queue


def test_nothing_goes_to_a_joint_that_nobody_has_seen():
    queue = joint_queue()
    assert np.isnan(queue.step(10 * MS).action[1])
    queue.found(np.array([np.nan, 0.7]))
    assert queue.step(20 * MS).action.tolist() == [0.0, 0.7]
    queue.found(np.array([np.nan, 0.1]))  # measured again: what was commanded counts
    assert queue.step(30 * MS).action.tolist() == [0.0, 0.7]
    assert np.isnan(queue.neutral(40 * MS).action[1])
    queue.found(np.array([np.nan, 0.2]))  # moved by hand while the reflex held
    assert queue.step(50 * MS).action[1] == 0.2


def test_a_joint_stays_where_the_queue_ended_and_slows_down_to_it():
    queue = joint_queue()
    queue.found(np.array([np.nan, 0.0]))
    rows = np.zeros((10, 2))
    rows[:, 1] = 0.05 * np.arange(10)
    give(queue, rows, 0)
    went = [queue.step(ms * MS).action[1] for ms in range(0, 1600, 10)]
    speeds = np.diff(went) / 0.01
    assert went[-1] == went[-40] > 0.4
    assert np.abs(speeds).max() <= 2.0
    assert np.abs(np.diff(speeds)).max() / 0.01 <= 8.0 * 1.05


@pytest.mark.parametrize('rate_hz', [10, 30, 200])
def test_a_hold_is_never_faster_than_the_joint_may_be(rate_hz):
    """What a jittering plan was at its last instant must not be held on to."""
    noise, step_ns = np.random.default_rng(3), round(1e9 / rate_hz)
    for _ in range(20):
        queue = joint_queue()
        queue.found(np.array([np.nan, 0.0]))
        rows = np.zeros((16, 2))
        rows[:, 1] = noise.normal(0.0, 0.2, 16)
        give(queue, rows, 0)
        went = [queue.step(number * step_ns).action[1] for number in range(1, rate_hz // 2)]
        queue.drop()
        went += [queue.step(number * step_ns).action[1]
                 for number in range(rate_hz // 2, 2 * rate_hz)]
        assert np.abs(np.diff(went)).max() <= 2.0 / rate_hz + 1e-9


@pytest.mark.parametrize('late_ms', [5, 10, 15])
def test_a_reply_within_the_tick_of_its_request_does_not_halt_the_motion(late_ms):
    """A fast server, or a network on board: 20 ms between ticks, the chunk is there before."""
    queue = joint_queue()
    queue.found(np.array([np.nan, 0.0]))

    def plan(now_ms):
        rows = np.zeros((16, 2))
        rows[:, 1] = 0.5 * np.sin(2e-3 * (now_ms + 100.0 * np.arange(16)))
        return rows

    went = []
    for ms in range(0, 6000, 20):
        went.append(queue.step(ms * MS).action[1])
        if ms % 200 == 0:
            ticket = queue.issue((ms + late_ms) * MS, (ms + late_ms) * MS)
            queue.adopt(queue.close(ticket.request_id), plan(ms + late_ms), 'fast',
                        (ms + late_ms + 2) * MS)
    settled = np.array(went[100:])
    assert np.abs(np.diff(settled, 2)).max() / 0.02 ** 2 <= 4.0  # the sine's own: 2 rad/s2


def test_a_reflex_that_slows_an_arm_down_slows_the_plan_down():
    """What is sent stays what will be executed: nothing is left to be made up for afterwards."""
    queue = joint_queue()
    queue.found(np.array([np.nan, 0.0]))
    rows = np.zeros((10, 2))
    rows[:, 1] = 0.05 * np.arange(10)  # 0.5 rad/s
    give(queue, rows, 0)
    for ms in range(0, 301, 10):
        queue.step(ms * MS)
    queue.walk(200_000)
    slow = [queue.step(ms * MS).action[1] for ms in range(310, 601, 10)]
    assert np.diff(slow) / 0.01 == pytest.approx(np.full(29, 0.1), abs=0.01)
    assert queue.executed_ns == 360 * MS
    queue.walk(1_000_000)
    free = [queue.step(ms * MS).action[1] for ms in range(610, 801, 10)]
    assert np.diff(free).max() / 0.01 <= 0.55


def test_joints_that_others_may_have_moved_are_measured_again():
    queue = joint_queue()
    queue.found(np.array([np.nan, 0.7]))
    queue.forget()
    assert np.isnan(queue.step(10 * MS).action[1])
    queue.found(np.array([np.nan, -0.2]))
    assert queue.step(20 * MS).action[1] == -0.2


def test_the_rows_that_will_go_out_are_told_for_real_time_chunking():
    queue = quick()
    queue.step(0)
    assert queue.planned(0, 16).shape == (0, 2)
    give(queue, ramp(), 0)
    for ms in range(0, 210, 10):
        queue.step(ms * MS)
    rows = queue.planned(200 * MS, 16)
    assert rows[:, 0] == pytest.approx(0.05 * np.arange(2, 2 + len(rows)))
    assert len(queue.planned(200 * MS, 3)) == 3


def test_neutral_is_zero_at_once_and_the_way_back_starts_there():
    queue = ActionQueue(SETTINGS, 'test')
    queue.step(0)
    give(queue, ramp(0.5, 0), 0)
    for ms in range(0, 600, 20):
        queue.step(ms * MS)
    queue.drop()
    assert queue.neutral(600 * MS).action.tolist() == [0.0, 0.0]
    give(queue, ramp(0.2, 0), 600 * MS)
    speeds = [queue.step(ms * MS).action[0] for ms in range(600, 1500, 20)]
    assert speeds[0] == 0.0
    assert speeds[-1] == pytest.approx(0.2)
    assert max(b - a for a, b in pairwise(speeds)) <= 0.8 * 0.02 + 1e-9


def rejection(call, *arguments):
    with pytest.raises(ChunkRejected) as error:
        call(*arguments)
    return error.value.reason


def test_replies_that_are_not_for_now_are_rejected_by_name():
    queue = quick()
    queue.step(0)
    first, second, third = (queue.issue(0, 0) for _ in range(3))
    assert rejection(queue.close, 'someone/0/1') == 'foreign'
    queue.adopt(queue.close(second.request_id), ramp(), 'a', 0)
    assert rejection(queue.close, second.request_id) == 'duplicate'
    assert rejection(queue.adopt, queue.close(first.request_id), ramp(), 'a', 0) == 'superseded'
    queue.drop()
    assert rejection(queue.adopt, queue.close(third.request_id), ramp(), 'a', 0) == 'epoch'
    late = queue.issue(0, 0)
    assert rejection(queue.adopt, queue.close(late.request_id), ramp(), 'a', 1001 * MS) == 'stale'
    slow = quick(max_age_ns=10_000 * MS)
    slow.step(0)
    give(slow, ramp(), 0)
    ticket = slow.issue(0, 0)
    for ms in range(0, 1000, 50):
        slow.step(ms * MS)
    short = ramp(count=8)
    assert rejection(slow.adopt, slow.close(ticket.request_id), short, 'a', 990 * MS) == 'exhausted'


def test_remaining_counts_rows_until_the_end_or_the_age():
    queue = quick()
    queue.step(0)
    assert queue.remaining(0) == 0
    give(queue, ramp(count=4), 0)
    assert queue.remaining(0) == 4
    give(queue, ramp(), 0)
    assert queue.remaining(0) == 10  # by age


events = st.lists(st.one_of(
    st.tuples(st.just('tick'), st.integers(1, 300)),
    st.tuples(st.just('ask'), st.integers(0, 400)),
    st.tuples(st.just('answer'), st.integers(0, 9)),
    st.tuples(st.just('again'), st.integers(0, 9)),
    st.tuples(st.just('foreign'), st.integers(0, 9)),
    st.tuples(st.just('drop'), st.just(0)),
    st.tuples(st.just('neutral'), st.integers(1, 300)),
), max_size=60)


@settings(max_examples=300, deadline=None)
@given(events, st.integers(1, 20))
def test_whatever_is_delivered_nothing_old_foreign_or_abrupt_goes_out(script, horizon):
    """Replies arrive late, twice, reordered, after a drop, from strangers, or never."""
    queue = ActionQueue(SETTINGS, 'me')
    now = 0
    last = queue.step(now).action
    asked, answered = [], []
    for what, number in script:
        if what in ('tick', 'neutral'):
            now += number * MS
            step = queue.step(now) if what == 'tick' else queue.neutral(now)
            if what == 'neutral':
                assert step.action.tolist() == [0.0, 0.0]
            else:
                allowed = SETTINGS.limits.rate * min(number, 100) / 1e3
                assert (np.abs(step.action - last) <= allowed + 1e-9).all()
            if step.chunk:
                ticket = step.chunk.ticket
                assert now - ticket.observed_ns <= SETTINGS.max_age_ns
                assert step.age_ns == now - ticket.observed_ns
                assert ticket.epoch == queue.epoch
                assert ticket.request_id in answered
                assert 0 <= step.offset_ns < len(step.chunk.rows) * PERIOD
                newest = max((t.sequence for t in asked if t.request_id in answered
                              and t.epoch == queue.epoch), default=0)
                assert ticket.sequence <= newest
            last = step.action
        elif what == 'ask':
            asked.append(queue.issue(now - number * MS, now))
        elif what == 'drop':
            queue.drop()
            assert queue.remaining(now) == 0
        elif what == 'foreign':
            assert rejection(queue.close, f'you/0/{number}') == 'foreign'
        else:
            pool = asked if what == 'answer' else [t for t in asked if t.request_id in answered]
            if not pool:
                continue
            request_id = pool[number % len(pool)].request_id
            leading, reason = queue.chunk, ''
            try:
                queue.adopt(queue.close(request_id), np.full((horizon, 2), 0.3), 'any', now)
            except ChunkRejected as rejected:
                reason = rejected.reason
            assert (reason == 'duplicate') == (request_id in answered)
            answered.append(request_id)
            if reason:
                assert reason in ('duplicate', 'epoch', 'superseded', 'stale', 'exhausted')
                assert queue.chunk is leading
            elif leading:
                assert leading.ticket.sequence < queue.chunk.ticket.sequence
