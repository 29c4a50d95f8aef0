"""When a lock-step's next cycle may begin."""

from hypothesis import given
from hypothesis import strategies as st

from isaac_bridge.frontend.lockstep import Gate

MS = 1_000_000


def gate(*topics):
    return Gate(topics or ('cmd_vel',), 100 * MS)


def test_an_answer_is_as_new_as_the_scan():
    one = gate()
    assert one.open, 'nothing is out'
    one.expect(1_000, 0)
    assert one.waiting == ('cmd_vel',)
    one.heard('cmd_vel', 999, 1_000)
    assert not one.open, 'that answers the scan before'
    one.heard('cmd_vel', 1_000, 1_000)
    assert one.open
    one.expect(2_000, 0)
    assert not one.open


def test_everybody_is_waited_for():
    both = gate('cmd_vel', 'policy/cmd_vel')
    both.expect(1_000, 0)
    both.heard('cmd_vel', 1_000, 1_000)
    assert both.waiting == ('policy/cmd_vel',)
    both.heard('policy/cmd_vel', 1_000, 1_000)
    assert both.open


def test_the_watchdog_names_the_silent_once():
    both = gate('cmd_vel', 'policy/cmd_vel')
    both.expect(1_000, 50 * MS)
    both.heard('cmd_vel', 1_000, 1_000)
    assert both.timed_out(149 * MS) == ()
    assert both.timed_out(150 * MS) == ('policy/cmd_vel',)
    assert both.open
    assert both.timed_out(999 * MS) == ()
    assert both.unanswered == {'cmd_vel': 0, 'policy/cmd_vel': 1}


def test_after_a_reset_no_old_command_answers():
    one = gate()
    one.expect(50_000, 0)
    one.heard('cmd_vel', 50_000, 50_000)
    one.clear()
    assert one.open
    one.expect(1_000, 0)
    one.heard('cmd_vel', 50_000, 1_000)     # was on its way when the clock went back
    assert not one.open
    assert one.strangers['cmd_vel'] == 1
    one.heard('cmd_vel', 1_000, 1_000)
    assert one.open


@given(st.lists(st.tuples(st.sampled_from(['scan', 'a', 'b', 'tick', 'clear']),
                          st.integers(-3, 1)), max_size=60))
def test_open_means_everybody_answered_the_newest_scan(events):
    two = gate('a', 'b')
    world = steady = 0
    out = None
    newest = {'a': -1, 'b': -1}
    for event, offset in events:
        steady += 40 * MS
        if event == 'scan':
            world += 5
            out = world
            two.expect(world, steady)
        elif event == 'clear':
            world, out, newest = 0, None, {'a': -1, 'b': -1}
            two.clear()
        elif event == 'tick':
            late = two.timed_out(steady)
            if late:
                assert set(late) == {name for name in newest if newest[name] < out}
                out = None
        else:
            stamp = world + offset
            if stamp <= world:
                newest[event] = max(newest[event], stamp)
            two.heard(event, stamp, world)
        assert two.open == (out is None or all(stamp >= out for stamp in newest.values()))
