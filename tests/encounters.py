"""People who cross a robot's way in the embedded world, on a floor with nothing to hide behind.

    ./dev shell python tests/encounters.py --runs 2000 [--seed 1] [--json FILE]

One run: the robot starts, drives with one speed and one turn rate, and a person walks straight
through the place where it would be at MEET_S if nobody were there, a little before or after it,
and never stops for it. The undisturbed drive is recorded first, so the person's aim is exact.

    v, w                  of the robot, from a list; also backwards, and turning in place
    scan_late, command_late     whole scan periods that a scan (with its odometry) takes to the
                          reflex, and a command to the wheels; with the period itself they stay
                          within the reaction time that the fields were derived for
    angle                 from which the person comes, relative to the robot's heading there
    walking speed         up to the profile's K

Every combination of the first three gets its turn; the rest is drawn from the seed. What happened
is judged by `isaac_bridge.oracle`, not by the reflex. A contact counts as one with a moving robot
if the outline moved faster than the oracle's limit at the world's record of it, or at the record
25 ms before.
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

import cdr_messages as messages
from closed_loop import PROFILE, SCAN_NS, open_aisle

from isaac_bridge.layout import Aisle
from isaac_bridge.oracle import RESTING_MPS, Row, contacts
from isaac_bridge.scenario import Jitter, Person, Scenario
from isaac_bridge.visibility import sight_of
from isaac_bridge.world import Frame, World
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import Profile
from safety_reflex.reflex import Reflex
from safety_reflex.states import State
from safety_reflex.times import Instant

MEET_S, AFTER_S, RESET_AT = 4.0, 1.5, 10
SPEEDS_MPS = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
TURNS_RADPS = (-1.2, -0.6, 0.0, 0.6, 1.2)
LATE = range(4)
# Nobody stands in a field of the robot before it has started.
_FAR_M = 3.2
_FLOOR = Aisle((-16.0, 16.0), 13.0, 1.0, 2.2, 2.0, ((-16.0, 16.0),), ((-16.0, 16.0),), 0.12)
Motion = tuple[float, float]


@dataclass(frozen=True)
class Encounter:
    """One run's parameters; see the module's head. late: (scan, command) in scan periods."""

    index: int
    motion: Motion
    late: tuple[int, int]
    angle_rad: float
    walking_mps: float
    lead_s: float


@dataclass
class Outcome:
    """What one run showed; gaps in metres, from outline to the person's cylinder."""

    encounter: Encounter
    top_mps: float = 0.0                # of the outline's fastest point
    stops: int = 0
    slowed: bool = False
    min_gap_moving_m: float = math.inf
    min_gap_m: float = math.inf
    avoidable: int = 0                  # contacts of a moving robot
    unavoidable: int = 0
    at_rest: int = 0
    touch_mps: list[float] = field(default_factory=list)


def drawn(seed: int, number: int) -> list[Encounter]:
    """So many encounters; each motion with each pair of delays before one comes again."""
    random = Random(seed)
    motions = [m for m in itertools.product(SPEEDS_MPS, TURNS_RADPS) if m != (0.0, 0.0)]
    reaction_ns = PROFILE.approach.reaction_s * 1e9
    lates = [late for late in itertools.product(LATE, LATE)
             if (1 + sum(late)) * SCAN_NS <= reaction_ns + 1]
    grid = list(itertools.product(motions, lates))
    random.shuffle(grid)
    fastest = PROFILE.approach.walking_speed_mps
    return [Encounter(index, *grid[index % len(grid)], random.uniform(-math.pi, math.pi),
                      random.choice((fastest, random.uniform(0.6, fastest))),
                      random.uniform(-0.8, 0.8)) for index in range(number)]


class Floor:
    """The world, kept from run to run, and what the reflex is given for a profile."""

    def __init__(self, profile: Profile = PROFILE) -> None:
        self._profile = profile
        self.world: World = open_aisle('empty.yaml')
        self._empty: Scenario = self.world.scenario
        self._undisturbed = cache(self._drive_alone)

    def close(self) -> None:
        self.world.close()

    def run(self, encounter: Encounter, *, reflex: bool = True) -> Outcome:
        """reflex=False: the commands go straight to the wheels, to show what it prevents."""
        encounter, person = self._aimed(encounter)
        self._load(person, encounter.index)
        shown, rows = Outcome(encounter), list[Row]()
        end_s = MEET_S + max(encounter.lead_s, 0.0) + AFTER_S
        drive = _Drive(self._profile if reflex else None, encounter.motion, encounter.late)
        for _ in range(round(end_s * 1e9 / SCAN_NS)):
            frame = self.world.frame()
            rows.append(Row.of(frame.truth(False)))
            _note(shown, frame)
            self.world.command(*drive.step(frame))
            self.world.step(SCAN_NS // self.world.step_ns)
        shown.stops, shown.slowed = drive.stops, drive.slowed
        self._judge(shown, rows)
        return shown

    def _judge(self, shown: Outcome, rows: Sequence[Row]) -> None:
        robot = self.world.robot
        before = {row.t_ns: earlier for earlier, row in itertools.pairwise(rows)}
        for contact in contacts(rows, robot, sight_of(self.world.scenario, robot)):
            earlier = before[contact.t_ns].robot if contact.t_ns in before else (0.0,) * 5
            speed = max(contact.speed_mps,
                        abs(earlier[3]) + abs(earlier[4]) * robot.circumradius_m)
            shown.touch_mps.append(round(speed, 3))
            if speed <= RESTING_MPS:
                shown.at_rest += 1
            elif contact.avoidable:
                shown.avoidable += 1
            else:
                shown.unavoidable += 1

    def _aimed(self, encounter: Encounter) -> tuple[Encounter, Person]:
        """Somebody who starts at once, aims, and walks on for four metres.

        Whoever would have to start beside the robot comes from the next angle that is free.
        """
        x, y, yaw = self._undisturbed(encounter.motion)[round(MEET_S * 1e9 / SCAN_NS)]
        walked_m = encounter.walking_mps * (MEET_S + encounter.lead_s)
        for turn in range(12):
            angle = math.remainder(encounter.angle_rad + turn * math.pi / 6, 2 * math.pi)
            away = yaw + angle
            start = (x + walked_m * math.cos(away), y + walked_m * math.sin(away))
            if math.hypot(*start) >= _FAR_M:
                break
        end = (x - 4.0 * math.cos(away), y - 4.0 * math.sin(away))
        return (replace(encounter, angle_rad=angle),
                Person('walker', start, (end,), encounter.walking_mps, None, Jitter()))

    def _drive_alone(self, motion: Motion) -> list[tuple[float, float, float]]:
        """Where the robot is at each scan when nobody comes."""
        self._load(Person('nobody', (-14.0, 12.0), (), 1.0, None, Jitter()), 0)
        drive, poses = _Drive(self._profile, motion, (0, 0)), []
        for _ in range(round(MEET_S * 1e9 / SCAN_NS) + 1):
            frame = self.world.frame()
            poses.append(frame.robot)
            self.world.command(*drive.step(frame))
            self.world.step(SCAN_NS // self.world.step_ns)
        return poses

    def _load(self, person: Person, seed: int) -> None:
        self.world.load(replace(self._empty, name='floor', aisle=_FLOOR, people=(person,)),
                        self.world.robot, seed)


class _Drive:
    """The reflex between the world's frames and its wheels, both late; without a profile none."""

    def __init__(self, profile: Profile | None, motion: Motion, late: tuple[int, int]) -> None:
        self._motion = motion
        settings = ReflexParameters(require_enable=False).settings()
        self._reflex = None if profile is None else Reflex(profile, settings)
        self._frames: deque[Frame] = deque()
        self._scan_late = late[0]
        self._commands = deque([(0.0, 0.0)] * late[1])
        self._steps, self._before = 0, State.STARTING
        self.stops, self.slowed = 0, False

    def step(self, frame: Frame) -> Motion:
        """What reaches the wheels now."""
        if self._reflex is None:
            return self._motion
        self._frames.append(frame)
        at = Instant(frame.t_ns, frame.t_ns)
        if len(self._frames) > self._scan_late:
            self._tell(self._reflex, self._frames.popleft(), at)
        _, v, w = self._reflex.decide(at)
        self._steps += 1
        if self._steps == RESET_AT:
            self._reflex.reset(at)
        state = self._reflex.machine.state
        self.stops += state is State.STOPPED and self._before is not State.STOPPED
        self.slowed |= state is State.SLOWED
        self._before = state
        self._commands.append((v, w))
        return self._commands.popleft()

    def _tell(self, reflex: Reflex, seen: Frame, at: Instant) -> None:
        lidar = PROFILE.lidars[0]
        wish = self._motion if reflex.machine.may_move else (0.0, 0.0)
        reflex.odometry.take(messages.odometry(seen.t_ns, *seen.odometry.twist), at)
        reflex.on_command(messages.twist(at.ros_ns, *wish), at)
        scan = messages.scan(seen.t_ns, seen.ranges.tobytes(), lidar.angle_min_rad,
                             lidar.angle_increment_rad)
        reflex.glimpse(0, scan, at.now_ns)  # as the node does; its stop is part of `decide`'s
        reflex.on_scan(0, scan, at)


def _note(shown: Outcome, frame: Frame) -> None:
    speed = abs(frame.twist[0]) + abs(frame.twist[1]) * PROFILE.corner_radius_m
    shown.top_mps = max(shown.top_mps, speed)
    shown.min_gap_m = min(shown.min_gap_m, frame.clearance_m)
    if speed > RESTING_MPS:
        shown.min_gap_moving_m = min(shown.min_gap_moving_m, frame.clearance_m)


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: all runs, then by what the person and the delays were."""
    def by_late(outcome: Outcome) -> str:
        return f'{sum(outcome.encounter.late)} periods late'

    def by_angle(outcome: Outcome) -> str:
        sector = round(abs(outcome.encounter.angle_rad) / (math.pi / 4))
        return ('ahead', 'ahead, aside', 'aside', 'behind, aside', 'behind')[sector]

    lines = ['| runs | | drove | slowed | stopped | moving, avoidable | moving, unavoidable | '
             'at rest | least gap moving, m |', '|---' * 9 + '|']
    groups = [('all', list(outcomes))]
    for key in (by_late, by_angle):
        groups += [(name, list(group)) for name, group in
                   itertools.groupby(sorted(outcomes, key=key), key)]
    for name, group in groups:
        lines.append(
            f'| {name} | {len(group)} | {sum(o.top_mps > RESTING_MPS for o in group)} | '
            f'{sum(o.slowed for o in group)} | {sum(o.stops > 0 for o in group)} | '
            f'{sum(o.avoidable for o in group)} | {sum(o.unavoidable for o in group)} | '
            f'{sum(o.at_rest for o in group)} | {min(o.min_gap_moving_m for o in group):.3f} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--runs', type=int, default=60)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--json', type=Path)
    parser.add_argument('--without-reflex', action='store_true')
    arguments = parser.parse_args()
    begin, floor = time.monotonic(), Floor()
    outcomes = [floor.run(encounter, reflex=not arguments.without_reflex)
                for encounter in drawn(arguments.seed, arguments.runs)]
    floor.close()
    print(table(outcomes))
    print(f'{len(outcomes)} runs in {time.monotonic() - begin:.0f} s')
    for outcome in outcomes:
        if outcome.avoidable or outcome.unavoidable:
            print(outcome)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    sys.exit(any(outcome.avoidable for outcome in outcomes))


if __name__ == '__main__':
    main()
