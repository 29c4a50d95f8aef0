"""Whether a heartbeat lives: given arrivals, what the watchdog may say."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_watchdog.beats import MAX_PAUSE_NS, SECOND_NS, Heartbeat, Limits

MS = 1_000_000
LIMITS = Limits()
BEGIN = 7 * SECOND_NS


class Bench:
    """A watchdog's loop on a virtual clock: it looks at every beat, and every 20 ms at least."""

    def __init__(self):
        self.heartbeat = Heartbeat(LIMITS, BEGIN)
        self.now = self.looked = BEGIN
        self.value = 0
        self.beats = []      # (time, writer, value) of every beat that arrived
        self.verdicts = []   # (time, enable)
        self.known = []      # how many beats had arrived by each verdict

    @property
    def enabled(self):
        return self.verdicts[-1][1]

    @property
    def why(self):
        return self.heartbeat.verdict(self.now).reason

    def look(self):
        self.verdicts.append((self.now, self.heartbeat.verdict(self.now).enable))
        self.known.append(len(self.beats))
        self.looked = self.now

    def wait(self, duration_ns):
        end = self.now + duration_ns
        while self.looked + 20 * MS < end:
            self.now = self.looked + 20 * MS
            self.look()
        self.now = end

    def beat(self, writer=1, value=None):
        self.value = self.value + 1 if value is None else value
        self.heartbeat.beat(writer, self.value, self.now)
        self.beats.append((self.now, writer, self.value))
        self.look()

    def steady(self, beats, period_ms=20, writer=1):
        for _ in range(beats):
            self.wait(round(period_ms * MS))
            self.beat(writer)

    def pause(self, duration_ns):
        """The watchdog itself does not run."""
        self.now += duration_ns


def test_it_enables_after_a_steady_fifth_of_a_second_and_not_before():
    bench = Bench()
    bench.steady(1)
    began = bench.now
    bench.steady(100)
    assert next(time - began for time, enable in bench.verdicts if enable) == 200 * MS
    assert all(enable for time, enable in bench.verdicts if time >= began + 200 * MS)


def test_without_a_beat_it_never_enables():
    bench = Bench()
    bench.wait(10 * SECOND_NS)
    assert not any(enable for _, enable in bench.verdicts)
    assert bench.why == 'no heartbeat yet'


def test_it_expires_exactly_at_its_deadline():
    bench = Bench()
    bench.steady(60)
    last = bench.now
    assert bench.heartbeat.deadline_ns() == last + LIMITS.timeout_ns + 1
    bench.wait(LIMITS.timeout_ns)
    assert bench.heartbeat.verdict(bench.now).enable
    assert not bench.heartbeat.verdict(bench.now + 1).enable
    assert bench.heartbeat.deadline_ns() is None


def test_after_a_loss_it_settles_anew():
    bench = Bench()
    bench.steady(60)
    bench.wait(100 * MS)
    bench.look()
    assert not bench.enabled
    assert bench.why == 'no heartbeat for 60 ms'
    began = bench.now + 20 * MS
    bench.steady(60)
    assert next(time for time, enable in bench.verdicts if enable and time >= began) \
        == began + 200 * MS


@pytest.mark.parametrize(('value', 'reason'), [
    (60, 'does not rise'), (3, 'does not rise'), (1000, 'leaps')])
def test_a_counter_that_does_not_count_is_no_heartbeat(value, reason):
    bench = Bench()
    bench.steady(60)
    bench.wait(20 * MS)
    bench.beat(value=value)
    assert not bench.enabled
    assert reason in bench.why


def test_a_frozen_counter_never_enables():
    bench = Bench()
    for _ in range(200):
        bench.wait(20 * MS)
        bench.beat(value=5)
    assert not any(enable for _, enable in bench.verdicts)


def test_a_single_beat_of_a_second_writer_disables_for_a_second():
    bench = Bench()
    bench.steady(60)
    bench.wait(10 * MS)
    bench.beat(writer=2, value=61)
    stranger = bench.now
    assert not bench.enabled
    bench.value = 61
    bench.steady(100)
    assert not any(enable for time, enable in bench.verdicts
                   if stranger <= time <= stranger + SECOND_NS)
    assert bench.enabled


def test_a_restarted_reflex_is_one_writer_again():
    bench = Bench()
    bench.steady(60, writer=1)
    bench.wait(3 * SECOND_NS)
    bench.value = 0
    bench.steady(12, writer=2)
    assert bench.enabled


@pytest.mark.parametrize('period_ms', [26, 40, 59])
def test_a_slow_heartbeat_without_a_single_gap_is_starved(period_ms):
    bench = Bench()
    bench.steady(60)
    slowed = bench.now
    bench.steady(100, period_ms)
    assert next(time for time, enable in bench.verdicts
            if not enable and time > slowed) <= slowed + SECOND_NS
    bench.steady(5, period_ms)
    assert not bench.enabled
    assert 'fewer than 80%' in bench.why


def test_its_own_pause_makes_what_was_queued_worthless():
    bench = Bench()
    bench.steady(60)
    bench.pause(MAX_PAUSE_NS + 1)
    bench.heartbeat.beat(1, 61, bench.now)
    bench.look()
    assert not bench.enabled
    assert 'watchdog itself paused' in bench.why


def test_a_clock_that_runs_backwards_disables():
    bench = Bench()
    bench.steady(60)
    assert not bench.heartbeat.verdict(bench.now - 1).enable


SEGMENTS = st.one_of(
    st.tuples(st.just('steady'), st.integers(1, 80), st.floats(15, 30)),
    st.tuples(st.just('silence'), st.integers(1, 1500)),
    st.tuples(st.just('stranger'), st.integers(2, 3)),
    st.tuples(st.just('value'), st.integers(0, 2**64 - 1)),
    st.tuples(st.just('pause'), st.integers(1, 500)))


@given(st.lists(SEGMENTS, max_size=12))
def test_enable_always_has_its_evidence(segments):
    bench = Bench()
    for kind, *numbers in segments:
        if kind == 'steady':
            bench.steady(*numbers)
        elif kind == 'silence':
            bench.wait(numbers[0] * MS)
        elif kind == 'stranger':
            bench.beat(writer=numbers[0])
        elif kind == 'value':
            bench.beat(value=numbers[0])
        else:
            bench.pause(numbers[0] * MS)
    for (now, enable), known in zip(bench.verdicts, bench.known, strict=True):
        if not enable:
            continue
        # An account of its own, from the log of what had arrived.
        arrived = bench.beats[:known]
        recent = [beat for beat in arrived if now - LIMITS.settle_ns <= beat[0] <= now]
        times = [time for time, _, _ in recent]
        values = [value for _, _, value in recent]
        assert now - times[-1] <= LIMITS.timeout_ns
        assert all(b - a <= LIMITS.timeout_ns for a, b in itertools.pairwise(times))
        assert len(recent) >= 0.8 * 50 * 0.2 * 0.75
        assert all(b > a for a, b in itertools.pairwise(values))
        assert len({writer for time, writer, _ in arrived if now - SECOND_NS < time}) == 1


@given(st.floats(1, 24), st.integers(15, 300))
def test_jitter_of_a_living_reflex_costs_nothing(jitter_ms, beats):
    bench = Bench()
    for index in range(beats):
        due = BEGIN + (index + 1) * 20 * MS + (round(jitter_ms * MS) if index % 3 == 0 else 0)
        bench.wait(max(due - bench.now, 1))
        bench.beat()
    settled = bench.beats[0][0] + 2 * LIMITS.settle_ns
    assert all(enable for time, enable in bench.verdicts if time >= settled)


@pytest.mark.parametrize(('limits', 'named'), [
    ({'timeout_ns': 91 * MS}, 'timeout = 91 ms'), ({'timeout_ns': 9 * MS}, 'timeout = 9 ms'),
    ({'rate_hz': 5.0}, 'rate = 5 Hz'), ({'minimum_share': 0.1}, 'minimum share = 0.1'),
    ({'settle_ns': 0}, 'settle = 0 ms'), ({'timeout_ns': 25 * MS}, '1.5 periods'),
    ({'rate_hz': float('nan')}, 'rate = nan Hz')])
def test_limits_out_of_range_are_named(limits, named):
    with pytest.raises(ValueError, match=named):
        Limits(**limits)


def test_it_shares_no_code_with_the_first_channel():
    script = ('import sys, safety_watchdog.main, safety_watchdog.dds; '
              'print([name for name in sys.modules if name.split(".")[0] in '
              '("rclpy", "safety_reflex", "node_kit", "numpy")])')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          timeout=30, check=True)
    assert done.stdout.strip() == '[]'
