"""The robots of fuzz_reflex.py: a reflex, its clock, and honest and hostile messages for it."""

import math
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import cdr_messages as messages
import fuzz_inputs as inputs
import numpy as np
import yaml
from fuzz_rules import RuleBroken, Rules

from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import Profile, load_profile
from safety_reflex.reflex import Reflex
from safety_reflex.states import State
from safety_reflex.times import Instant

CONFIG = Path(__file__).resolve().parents[1] / 'config'
MS = 1_000_000
CALM_MS, TIMEOUT_MS, ENABLE_TIMEOUT_MS = 40, 100, 125
_FREE, _NEAR = 30, 10       # views without and with an object
JOINTS = (b'lift', b'tilt')
_JOINT = {'lower': -1.0, 'upper': 1.5, 'max_velocity': 0.8, 'max_acceleration': 2.0,
          'braking': 4.0, 'max_jerk': 20.0}


def profiles() -> tuple[Profile, Profile]:
    """The AMR, and a robot with everything that a profile can have."""
    robot = yaml.safe_load((CONFIG / 'robots/amr.yaml').read_text())
    fields = yaml.safe_load((CONFIG / 'robots/amr.fields.yaml').read_text())
    robot['arm'] = {'joints': [{'name': name.decode(), **_JOINT} for name in JOINTS]}
    robot['lidars'].append(dict(robot['lidars'][0], name='rear', topic='scan_rear', beams=181,
                                angle_min_rad=-1.57, angle_max_rad=1.57, pose=[-0.3, 0.1, 3.1]))
    fields |= {'collision_time_s': 2.0, 'muting': [{
        'name': 'dock', 'topic': 'safety/muting/dock', 'max_s': 5.0, 'max_speed_mps': 0.1,
        'shape': {'polygon': [[0.4, -0.2], [1.0, -0.2], [1.0, 0.2], [0.4, 0.2]]}}]}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (('robot', robot), ('fields', fields)):
            (Path(folder) / f'{name}.yaml').write_text(yaml.safe_dump(content))
        whole = load_profile(Path(folder) / 'robot.yaml', Path(folder) / 'fields.yaml')
    return load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml'), whole


class Subject:
    """One reflex, its clock, and what is known of its inputs by another way."""

    def __init__(self, profile: Profile, seed: int, *, whole: bool) -> None:
        settings = ReflexParameters(
            require_enable=whole, estop_topics=('safety/estop/a',) if whole else (),
            clock='sim' if whole else 'steady').settings()
        self.reflex, self.random, self.profile = Reflex(profile, settings), Random(seed), profile
        self.steady_ns, self.ros_ns = 10_000 * MS, 10_000 * MS
        self.at = Instant(0, 0)
        self._read_clock()
        self.scans = [_scans(lidar.beams, seed + i) for i, lidar in enumerate(profile.lidars)]
        self.channels = ['odom', 'policy', 'teleop', *(f'scan{i}' for i in range(len(self.scans)))]
        if whole:
            self.channels += ['estop', 'enable', 'muting', 'joints', 'trajectory']
        self.told_ns: dict[str, int] = {}       # when anything at all came on a channel
        self.pressed = self.withdrawn = False   # the e-stop, the enable: True only for certain
        self.near = False                       # honest scanners see an object
        self.rules = Rules(profile, settings.escape_speed_mps, self.at.now_ns)
        self.last = ('', b'')
        self.counts: Counter[str] = Counter()

    # Inputs

    def _read_clock(self) -> None:
        self.at = self.reflex.times.read(self.ros_ns, self.steady_ns)

    def give(self, channel: str, data: bytes) -> None:
        """One message, as the node's callbacks hand it on."""
        self.last, reflex, now_ns = (channel, data), self.reflex, self.at.now_ns
        self.told_ns[channel] = now_ns
        if channel.startswith('scan'):
            index = int(channel[4:])
            self.rules.early(reflex.glimpse(index, data, now_ns), self.at)
            reflex.on_scan(index, data, self.at)
        elif channel in ('policy', 'teleop'):
            reflex.on_command(data, self.at, teleop=channel == 'teleop')
        elif channel == 'odom':
            reflex.odometry.take(data, self.at)
        elif channel == 'estop':
            self.pressed = False    # until it is known again
            reflex.estops['safety/estop/a'].take(data, now_ns)
        elif channel == 'enable':
            self.withdrawn = False
            reflex.enable.take(data, now_ns)
        elif channel == 'muting':
            reflex.mutings[0].flag.take(data, now_ns)
        elif reflex.joints is not None and channel == 'joints':
            reflex.joints.on_joint_state(data, self.at)
        elif reflex.joints is not None:
            reflex.joints.on_command(data, self.at)
        self.counts[channel] += 1

    def honest(self, channel: str, wish: tuple[float, float] = (0.0, 0.0)) -> bytes:
        """What a robot in good order would send now."""
        stamp_ns, v, w = self._stamp_ns(), *self.rules.output
        if channel.startswith('scan'):
            lidar = self.profile.lidars[index := int(channel[4:])]
            views = self.scans[index][_FREE:] if self.near else self.scans[index][:_FREE]
            return messages.scan(stamp_ns, self.random.choice(views),
                                 lidar.angle_min_rad, lidar.angle_increment_rad)
        if channel in ('policy', 'teleop'):
            return messages.twist(stamp_ns, *wish)
        if channel == 'odom':
            return messages.odometry(stamp_ns, v, w)
        if channel in ('estop', 'enable', 'muting'):
            return messages.flag(channel == 'enable' or (channel == 'muting' and self.near))
        if channel == 'joints':
            joints = self.rules.joints
            held = (0.1, -0.2) if joints is None else joints[0].tolist()
            return messages.joint_state(stamp_ns, JOINTS, held)
        goal = [self.random.uniform(-1.0, 1.5) for _ in JOINTS]
        return messages.trajectory(stamp_ns, JOINTS, [(goal, 1.0), (goal, 3.0)])

    def hostile(self, channel: str) -> bytes:
        """Garbage, a message that was worsened, or a clean one with hostile numbers in it."""
        random, kind = self.random, self.random.randrange(10)
        if kind == 0:
            return inputs.garbage(random)
        if kind < 6:
            return inputs.worsen(random, self.honest(channel, self._any_wish()))
        if kind == 6:  # what belongs on another topic
            return self.honest(random.choice(self.channels))
        stamp_ns = inputs.stamp(random, self.ros_ns)
        numbers = [inputs.number(random) for _ in range(6)]
        if channel.startswith('scan'):
            return self._hostile_scan(int(channel[4:]), stamp_ns, numbers)
        if channel in ('policy', 'teleop'):
            return messages.twist(stamp_ns, numbers[0], numbers[1],
                                  numbers[2:] if random.random() < 0.1 else (0.0,) * 4)
        if channel == 'odom':
            return messages.odometry(stamp_ns, numbers[0], numbers[1])
        if channel in ('estop', 'enable', 'muting'):
            return messages.flag(random.choice((0, 1, 2, 255)))
        names = random.choice((JOINTS, JOINTS, JOINTS, JOINTS[::-1], JOINTS + (b'',), JOINTS[:1],
                               (b'lift', b'lift'), (b'x',) * 65))
        if channel == 'joints':
            size = random.choice((len(names), len(names), 0, 1, 70))
            return messages.joint_state(stamp_ns, names, (numbers * 12)[:size],
                                        numbers[:random.choice((0, 2, 5))])
        points = [([inputs.number(random) for _ in names], random.choice(
            (k + 1.0, 0.0, -1.0, 1e-9, 2e9, 0.5))) for k in range(random.choice((0, 1, 2, 5, 257)))]
        return messages.trajectory(stamp_ns, names, points)

    def _hostile_scan(self, index: int, stamp_ns: int, numbers: list[float]) -> bytes:
        random, lidar = self.random, self.profile.lidars[index]
        ranges = np.frombuffer(random.choice(self.scans[index]), np.float32).copy()
        begin = random.randrange(len(ranges))
        ranges[begin:begin + random.choice((1, 2, 30, len(ranges)))] = random.choice((
            np.nan, np.inf, -np.inf, 0.0, -1.0, 0.3, 1.0, 3e38, -3e38, 1e-40))
        limits = (0.05, 20.0) if random.random() < 0.7 else tuple(
            float(np.clip(n, -3e38, 3e38)) if math.isfinite(n) else n for n in numbers[:2])
        size = random.choice((4 * lidar.beams,) * 5 + (0, 4, 4 * lidar.beams + 4))
        return messages.scan(stamp_ns, (ranges.tobytes() * 2)[:size], lidar.angle_min_rad,
                             lidar.angle_increment_rad, limits)

    def _any_wish(self) -> tuple[float, float]:
        return self.random.uniform(-0.2, 0.9), self.random.uniform(-1.2, 1.2)

    def _stamp_ns(self) -> int:
        return min(max(self.ros_ns, 0), 2 ** 31 * 10 ** 9 - 1)

    # Time, and the life between the inputs

    def calm(self, cycles: int, *, objects: bool = True) -> None:
        """Honest inputs and an operator; towards the end there may be objects in the fields."""
        self.ros_ns = 10_000 * MS + self.steady_ns
        wish = self._any_wish()
        met = cycles - (self.random.choice((0, 0, 3, 10)) if objects else 0)
        operated = self.random.random() < 0.2
        for cycle in range(cycles):
            self.near = cycle >= met
            self.pass_time(CALM_MS, CALM_MS)
            state = self.reflex.machine.state
            if state is State.LATCHED and cycle % 8 == 7:
                self.rules.reset(self.reflex, self.at)
            # An operator who lets go of the deadman is followed by a policy that is neutral.
            ready = self.reflex.machine.may_move and (operated or cycle > 14)
            self._everything(wish if ready else (0.0, 0.0), 1.0, operated=operated)
            self.decide()

    def recover(self) -> None:
        """Calm until it drives; a robot that nothing but a restart gets going is wedged."""
        self.calm(3, objects=False)
        for _ in range(10):
            if self.reflex.machine.may_move and self.rules.output != (0.0, 0.0):
                return
            self.calm(20, objects=False)
        status = self.reflex.status(self.at.now_ns)
        raise RuleBroken(f'wedged: {status["state"]}, {status["reasons"]}')

    def burst(self, cycles: int) -> int:
        """Hostile inputs among honest ones; returns how many."""
        random, sent = self.random, 0
        wish, operated = self._any_wish(), random.random() < 0.2
        # Many at once latch at the first instant; one alone meets a robot that drives.
        targets = random.sample(self.channels, random.choice((1, 1, 2, len(self.channels))))
        for _ in range(cycles):
            self._hostile_time()
            self._everything(wish, 0.98, operated=operated)
            for _ in range(random.randrange(1, 12)):
                channel = random.choice(targets)
                self.give(channel, self.hostile(channel))
                sent += 1
            if random.random() < 0.05:
                self._hostile_gids()
            if 'estop' in self.channels and random.random() < 0.02:
                self.give('estop', messages.flag(1))
                self.pressed = True
            if 'enable' in self.channels and random.random() < 0.02:
                self.give('enable', messages.flag(0))
                self.withdrawn = True
            if random.random() < 0.1:
                self.rules.reset(self.reflex, self.at)
            self.decide()
        self.pressed = False
        return sent

    def _everything(self, wish: tuple[float, float], share: float, *, operated: bool) -> None:
        for channel in self.channels:
            if (channel == 'teleop' and not operated) or (channel == 'estop' and self.pressed):
                continue
            if self.random.random() < share:
                self.give(channel, self.honest(channel, wish))

    def pass_time(self, steady_ms: float, ros_ms: float) -> None:
        self.steady_ns += int(steady_ms * MS)
        self.ros_ns = min(max(self.ros_ns + int(ros_ms * MS), 0), 2 ** 63 - 1)
        self._read_clock()

    def _hostile_time(self) -> None:
        random = self.random
        if random.random() < 0.97:
            self.pass_time(CALM_MS, CALM_MS)
            return
        steady_ms = random.choice((0, 0.001, 1, 99, 101, 249, 251, 400, 5_000, 3_600_000))
        self.pass_time(steady_ms, random.choice(
            (steady_ms, 0, -1, -3_600_000, 3_600_000, 600, 2 ** 50, -2 ** 50)))

    def _hostile_gids(self) -> None:
        random, publishers = self.random, self.reflex.publishers
        gids = [random.randbytes(random.choice((0, 1, 16, 16, 24)))
                for _ in range(random.choice((0, 0, 1, 3)))]
        random.choice((publishers.input, publishers.output))(random.choice(('scan', 'cmd_vel')),
                                                             gids)
        publishers.input('scan', [])
        publishers.output('cmd_vel', [])

    def decide(self) -> None:
        """A decision, with every rule held against it."""
        known = 'an e-stop pressed' if self.pressed else ''
        if self.withdrawn:
            known = 'the enable withdrawn'
        for channel in self.channels:
            if channel.startswith(('scan', 'odom', 'joints', 'enable')):
                silent_ms = (self.at.now_ns - self.told_ns.get(channel, 0)) / MS
                if silent_ms > (ENABLE_TIMEOUT_MS if channel == 'enable' else TIMEOUT_MS):
                    known = f'{channel} silent for {silent_ms} ms'
        self.rules.decide(self.reflex, self.at, known)


def _scans(beams: int, seed: int) -> list[bytes]:
    """Free views, and some with an object 1 to 3 m away."""
    random, found = np.random.default_rng(seed), []
    for index in range(_FREE + _NEAR):
        ranges = 8 + random.normal(0, 0.01, beams)
        if index >= _FREE:
            at = random.integers(beams - 20)
            ranges[at:at + 20] = random.uniform(1.0, 3.0)
        found.append(ranges.astype(np.float32).tobytes())
    return found


def subjects(seed: int) -> list[Subject]:
    plain, whole = profiles()
    return [Subject(plain, seed, whole=False), Subject(whole, seed + 1, whole=True)]
