"""Random walks over the reflex's states, commanders and gate, held against rules of their own.

    ./dev shell python tests/walk_states.py --sequences 1000000 [--seed 1]
    ./dev shell python tests/walk_states.py --only 4711       one sequence, event by event
    ./dev shell python tests/walk_states.py --table           the reachable states as Markdown

A sequence is a robot's life from power-on: causes that come and go, commands with honest and with
dishonest stamps, resets, time that passes in odd steps, a ROS clock that is set. StateMachine,
Arbiter and Gate are put together as the reflex does it; no scan is judged, so a million sequences
take minutes.

After each event these hold, by looking back over what happened and not by asking the machine:

    stop wins         no update with a cause that stops or latches leaves the robot free to move
    latch             LATCHED ends only by a granted reset, after which no cause came back but an
                      object (then it ends in STOPPED), and by
                      neutral commands without a break for neutral_ns, within reset_expires_ns
    resume            STOPPED ends only after clear_ns without a cause
    late bad data     a cause that lasted bad_data_latch_ns has latched
    stamps            what the gate follows was stamped after the last completed reset
    limits            no output above a limit, none that grows faster than it may
    active stop       while it may not move, the output falls at the braking limit and stays zero
    no wedge          when every cause is gone, silence, a reset, neutral and a command move it
                      again, whatever happened before (tried after one walk in ten)
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import state_table

from safety_reflex.cdr import Twist
from safety_reflex.commander import Arbiter, Commander, CommandLimits
from safety_reflex.gate import Gate, GateLimits
from safety_reflex.reasons import NEVER_LATCHES_WITH_TIME, Effect, Reason, effect
from safety_reflex.states import State, StateLimits, StateMachine

MS = 1_000_000
START_NS = 100_000_000 * MS     # later than any jump of the clock goes back
STATES = StateLimits(clear_ns=2_000 * MS, bad_data_latch_ns=1_000 * MS, neutral_ns=200 * MS,
                     reset_expires_ns=5_000 * MS)
COMMANDS = CommandLimits(0.9, 0.2, 1.2, timeout_ns=250 * MS,
                         fault_hold_ns=500 * MS, max_age_ns=250 * MS, max_ahead_ns=50 * MS)
GATE = GateLimits(0.8, 2.5, 5.0, 1.5, 5.0)
CAUSES = [reason for reason in Reason if effect(reason) >= Effect.SLOW
          and reason not in (Reason.START_UP, Reason.AWAITING_NEUTRAL)]
# Zero: several events in one instant. The longest passes every time limit of the machine.
STEPS_NS = [step * MS for step in (0, 0, 5, 20, 20, 20, 60, 100, 200, 400, 1_000, 2_000, 6_000)]
_MAX_STEP_S = 0.05
_EPS = 1e-9


class RuleBroken(AssertionError):
    """A rule of the module's head does not hold; the message names the sequence."""


@dataclass
class Past:
    """What the rules need to know of what happened; times in nanoseconds."""

    granted_ns: int | None = None       # the newest reset that was granted since the latch
    clear_since_ns: int | None = None   # first update of those without a cause up to now
    neutral_since_ns: int | None = None
    reset_ns: int = -1                  # the newest reset that completed
    since: dict[Reason, int] = field(default_factory=dict)


class Walk:
    """One sequence. `log` gets a line an event, where somebody wants to read it."""

    def __init__(self, random: Random, log: list[str] | None = None) -> None:
        self.random, self.log = random, log
        self.machine = StateMachine(STATES)
        self.arbiter = Arbiter(Commander('policy', COMMANDS), Commander('teleop', COMMANDS),
                               STATES.neutral_ns)
        self.gate, self.past, self.held = Gate(GATE), Past(), set[Reason]()
        self.now_ns, self.sources_fresh = START_NS, False
        self.clock_ns, self.jumped = 0, False   # ROS time minus now_ns; whether it was just set
        self.active: set[Reason] = set()
        self.stamp_of: dict[float, int] = {}
        self.sent = [Twist(START_NS, 0.0, 0.0, (0.0,) * 4)]
        self.helpful = random.uniform(0.3, 0.95)
        self._decided_ns = START_NS
        self.counts: Counter[str] = Counter()

    def go(self, events: int) -> 'Walk':
        for _ in range(events):
            event = self._help() if self.random.random() < self.helpful else self._hinder()
            self._update(event)
        return self

    @property
    def ros_ns(self) -> int:
        return self.now_ns + self.clock_ns

    def rescue(self) -> None:
        """What an operator does to get it going, and then it must go."""
        self.held.clear()
        self.sources_fresh = True
        for _ in range(13):     # longer than faults are held, teleoperation lasts, a field clears
            self._pass(200, 'silence')
        if self.machine.state is State.LATCHED:
            self._update(self._reset())
        for _ in range(6):
            self._pass(100, '', 0.0)
        for _ in range(3):
            self._pass(100, '', self._speed())
        self._must(self.gate.output[0] > 0.0,
                   f'wedged in {self.machine.state} by {self.active or self.machine.latched_by}')

    def _pass(self, ms: int, event: str, v_mps: float | None = None) -> None:
        self.now_ns += ms * MS
        if v_mps is not None:
            event = self._command(self.arbiter.policy, v_mps, self.ros_ns)
        self._update(event)

    # What happens

    def _help(self) -> str:
        """What leads to motion: without it few walks would ever come as far as that."""
        self.held.clear()
        self.sources_fresh = True
        self.now_ns += self.random.choice((20, 100, 100, 200)) * MS
        latched = self.machine.state is State.LATCHED
        if latched and self.past.granted_ns is None:
            return self._reset()
        return self._command(self.arbiter.policy, 0.0 if latched else self._speed(), self.ros_ns)

    def _hinder(self) -> str:
        random = self.random
        self.now_ns += random.choice(STEPS_NS)
        kind = random.randrange(40)
        if kind == 0:
            self.clock_ns += random.choice((-3600, -1, 1, 3600)) * 1_000 * MS
            self.jumped = True
            return f'clock set to {self.clock_ns // MS} ms'
        kind //= 4
        if kind < 3:
            cause = random.choice(CAUSES)
            self.held ^= {cause}
            return f'{"+" if cause in self.held else "-"}{cause}'
        if kind == 3:
            self.held.clear()
            return 'clear'
        if kind == 4:
            return self._reset()
        if kind == 5:
            self.sources_fresh = not self.sources_fresh
            return f'sources fresh: {self.sources_fresh}'
        return self._any_command()

    def _any_command(self) -> str:
        random = self.random
        commander = random.choice((self.arbiter.policy, self.arbiter.teleop))
        stamp_ns = self.ros_ns + random.choice((0, 0, 0, 50, 51, -1, -100, -250, -251, -7_000)) * MS
        kind = random.randrange(8)
        if kind == 0:  # recorded, and played again
            twist = random.choice(self.sent)
            commander.command(twist, self.now_ns, self.ros_ns)
            return f'{commander.topic} again {twist}'
        if kind == 1:
            bad = random.choice((float('nan'), float('inf'), -float('inf'), 0.95, -0.25, 1e300))
            return self._command(commander, bad, stamp_ns)
        if kind == 2:
            commander.fault(Reason.COMMAND_MALFORMED, self.now_ns)
            return f'{commander.topic} malformed'
        return self._command(commander, 0.0 if kind < 5 else self._speed(), stamp_ns)

    def _speed(self) -> float:
        """A speed that no command of this walk had before, so that a wish tells its command."""
        return 0.9 - 1e-4 * len(self.sent)

    def _command(self, commander: Commander, v_mps: float, stamp_ns: int) -> str:
        twist = Twist(stamp_ns, v_mps, 0.0, (0.0,) * 4)
        self.sent.append(twist)
        self.stamp_of[v_mps] = stamp_ns
        commander.command(twist, self.now_ns, self.ros_ns)
        return f'{commander.topic} {v_mps:.4f} stamped {(stamp_ns - self.ros_ns) // MS} ms'

    def _reset(self) -> str:
        granted, sentence = self.machine.request_reset(self.now_ns, self.active)
        if granted:
            self.arbiter.forget()
            self.past.granted_ns, self.past.neutral_since_ns = self.now_ns, None
        return f'reset: {sentence}'

    # The verdict, put together as Reflex.decide does it

    def _update(self, event: str) -> None:
        now_ns, before = self.now_ns, self.machine.state
        dt_s = self._dt_s()
        commander = self.arbiter.choose(now_ns)
        wish = commander.wish(now_ns) if commander else (0.0, 0.0)
        neutral = commander is not None and commander.neutral(now_ns)
        self.active = self.held | (commander.reasons(now_ns) if commander else set())
        if self.jumped:
            self.active.add(Reason.CLOCK_JUMPED)
            self.arbiter.forget_stamps()
            self.jumped = False
        completed = self.machine.update(now_ns, self.active, sources_fresh=self.sources_fresh,
                                        neutral=neutral)
        if completed:
            self.arbiter.accept_only_after(self.ros_ns)
        old = self.gate.output
        new = self.gate.drive(wish, dt_s) if self.machine.may_move else self.gate.stop(dt_s)
        if self.log is not None:
            self.log.append(f'{(now_ns - START_NS) // MS:6d} ms  {event:44}  '
                            f'{",".join(sorted(self.active)) or "-":30}  {self.machine.state} '
                            f'{new[0]:.3f}')
        self._check_states(before, neutral)
        if completed:
            self.past.reset_ns = self.ros_ns
        elif self.machine.may_move and wish != (0.0, 0.0):
            self._must(self.stamp_of[wish[0]] > self.past.reset_ns,
                       'a command stamped before the reset moves the robot')
        self._check_output(old[0], new[0], dt_s)
        if before is not self.machine.state:
            self.counts[f'{before} -> {self.machine.state}'] += 1
        self.counts['updates'] += 1
        self.counts['updates in motion'] += new[0] > 0.0

    def _dt_s(self) -> float:
        before, self._decided_ns = self._decided_ns, self.now_ns
        return min((self.now_ns - before) / 1e9, _MAX_STEP_S)

    # The rules

    def _check_states(self, before: State, neutral: bool) -> None:
        past, now_ns, state = self.past, self.now_ns, self.machine.state
        strongest = max(map(effect, self.active), default=Effect.NONE)
        past.since = {r: past.since.get(r, now_ns) for r in self.active}
        # An object in the field holds the robot, but not its reset.
        if any(effect(r) >= Effect.STOP for r in self.active - {Reason.PROTECTIVE_FIELD}):
            past.granted_ns = None
        if strongest >= Effect.STOP:
            past.clear_since_ns = None
        elif past.clear_since_ns is None:
            past.clear_since_ns = now_ns
        if not neutral or past.granted_ns is None:
            past.neutral_since_ns = None
        elif past.neutral_since_ns is None:
            past.neutral_since_ns = now_ns
        free = state in (State.RUNNING, State.SLOWED)
        self._must(not (free and strongest >= Effect.STOP), 'stop does not win')
        if before is State.STARTING:
            self._must(state in (State.STARTING, State.LATCHED), 'it started without a latch')
            return
        late = any(effect(r) is Effect.STOP and r not in NEVER_LATCHES_WITH_TIME
                   and now_ns - since >= STATES.bad_data_latch_ns
                   for r, since in past.since.items())
        if strongest is Effect.LATCH or late:
            self._must(state is State.LATCHED, 'a cause that latches has not latched')
        if before is State.LATCHED and state is not State.LATCHED:
            self._must(past.granted_ns is not None and past.neutral_since_ns is not None
                       and now_ns - past.granted_ns <= STATES.reset_expires_ns
                       and now_ns - past.neutral_since_ns >= STATES.neutral_ns,
                       'a latch ended without a full reset')
        if before is State.STOPPED and free:
            self._must(past.clear_since_ns is not None
                       and now_ns - past.clear_since_ns >= STATES.clear_ns,
                       'it resumed too early')
        if state is not State.LATCHED or (
                past.granted_ns is not None
                and now_ns - past.granted_ns > STATES.reset_expires_ns):
            past.granted_ns = None

    def _check_output(self, old: float, new: float, dt_s: float) -> None:
        self._must(-COMMANDS.max_reverse_mps - 1e-3 <= new <= COMMANDS.max_speed_mps + 1e-3,
                   f'an output of {new} m/s')
        self._must(abs(new) - abs(old) <= GATE.max_acceleration_mps2 * dt_s + _EPS,
                   f'from {old} to {new} m/s in {dt_s} s')
        if not self.machine.may_move:
            wanted = max(old - GATE.braking_mps2 * dt_s, 0.0)
            self._must(abs(new - wanted) < _EPS, f'{new} m/s in a stop, not {wanted}')

    def _must(self, holds: bool, sentence: str) -> None:
        if not holds:
            raise RuleBroken(sentence)


def one(seed: int, index: int, log: list[str] | None = None) -> Walk:
    """Sequence `index` of a seed; raises RuleBroken."""
    random = Random(seed * 1_000_000_007 + index)
    try:
        done = Walk(random, log).go(random.randint(10, 40))
        if index % 10 == 0:
            done.rescue()
        return done
    except RuleBroken as broken:
        raise RuleBroken(f'seed {seed}, sequence {index}: {broken}') from None


def walk(seed: int, sequences: int) -> Counter[str]:
    """So many sequences; what happened in them, counted. Raises RuleBroken at the first."""
    counts: Counter[str] = Counter()
    for index in range(sequences):
        found = one(seed, index).counts
        counts.update(found)
        counts['sequences that moved'] += found['updates in motion'] > 0
    counts['sequences'] = sequences
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--sequences', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', type=int, metavar='INDEX')
    parser.add_argument('--table', action='store_true')
    arguments = parser.parse_args()
    if arguments.table:
        print(state_table.markdown(), end='')
        return
    if arguments.only is not None:
        log: list[str] = []
        try:
            one(arguments.seed, arguments.only, log)
        finally:
            print('\n'.join(log))
        return
    begin = time.monotonic()
    try:
        counts = walk(arguments.seed, arguments.sequences)
    except RuleBroken as broken:
        sys.exit(f'broken: {broken}')
    seconds = time.monotonic() - begin
    for name, count in sorted(counts.items()):
        print(f'{count:12,}  {name}')
    print(f'no rule broken; {seconds:.0f} s, {counts["updates"] / seconds:,.0f} updates/s')


if __name__ == '__main__':
    main()
