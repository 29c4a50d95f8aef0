"""Bool streams whose silence is the worse news, and muting that ends by itself."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from std_msgs.msg import Bool

from safety_reflex.fields import Muting
from safety_reflex.flags import Flag, MutingTimer, estop_reason
from safety_reflex.reasons import Reason
from safety_reflex.shapes import circle

MS = 1_000_000
TRUE, FALSE = serialize_message(Bool(data=True)), serialize_message(Bool(data=False))


def test_an_estop_that_is_silent_pressed_or_nonsense_is_pressed():
    flag = Flag(250 * MS, worse=True)
    assert estop_reason(flag, 0) is Reason.ESTOP_LOST
    flag.take(FALSE, 0)
    flag.judged()
    assert estop_reason(flag, 250 * MS) is None
    assert estop_reason(flag, 251 * MS) is Reason.ESTOP_LOST
    flag.take(TRUE, 0)
    assert estop_reason(flag, 1) is Reason.ESTOP
    flag.take(FALSE[:4] + b'\x02', 0)
    assert estop_reason(flag, 1) is Reason.ESTOP


def test_an_enable_that_is_nonsense_is_none():
    flag = Flag(125 * MS, worse=False)
    flag.take(TRUE, 0)
    assert flag.holds(125 * MS)
    assert not flag.holds(126 * MS)
    flag.take(b'', 0)
    assert not flag.holds(0)


def test_a_button_that_was_pressed_and_let_go_was_pressed():
    flag = Flag(250 * MS, worse=True)
    flag.take(TRUE, 0)
    flag.take(FALSE, 1)
    assert estop_reason(flag, 2) is Reason.ESTOP
    flag.judged()
    assert estop_reason(flag, 3) is None


def timer(max_s=10.0):
    return MutingTimer(Muting('dock', 'safety/muting/dock', circle(1.0), max_s, 0.1), 250 * MS)


def run(muting, begin_s, end_s, request):
    """Seconds of muting while a request is held from begin to end."""
    active = 0
    for tick in range(round(begin_s * 20), round(end_s * 20)):
        now = tick * 50 * MS
        if request(tick / 20):
            muting.flag.take(TRUE, now)
        active += muting.active(now)
        muting.flag.judged()
    return active / 20


def test_muting_ends_after_its_time_and_must_be_earned_back():
    muting = timer()
    assert run(muting, 0, 60, lambda s: True) <= 10.0
    assert run(muting, 60, 69, lambda s: False) == 0.0
    assert run(muting, 69, 69.9, lambda s: True) == 0.0     # not all of it is back
    assert run(muting, 69.9, 72, lambda s: False) == 0.0
    assert run(muting, 72, 74, lambda s: True) > 1.9


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2 ** 32), st.floats(0.05, 0.95))
def test_a_request_that_flickers_gains_nothing(seed, share):
    """Never more than its longest time at once, and no more than half of all time."""
    muting, state = timer(5.0), seed
    run_length, longest, total = 0, 0, 0
    for tick in range(4000):
        now = tick * 50 * MS
        state = (1103515245 * state + 12345) % 2 ** 31
        muting.flag.take(TRUE if state / 2 ** 31 < share else FALSE, now)
        run_length = run_length + 1 if muting.active(now) else 0
        muting.flag.judged()
        longest, total = max(longest, run_length), total + (run_length > 0)
    assert longest / 20 <= 5.05
    assert total / 20 <= 0.5 * 200 + 5.05
