"""The robot's agent over real releases on disk: fetch, verify, swap when idle, roll back alone."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fleet_rig import DeskRobot
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import Maker

from flywheel.agent.agent import Agent, Phase
from flywheel.agent.cloud import Answer, AwayError, RefusedError
from flywheel.release.errors import ReleaseError
from flywheel.rollout.desired import Desired


class FolderCloud:
    """A control plane in memory with the agent's protocol: releases in folders, reports in a list.
    `away` and `tamper` are the faults."""

    def __init__(self):
        self.releases, self.folders = {}, {}
        self.desires = None
        self.posted = []
        self.away = False
        self.tamper = ''
        self.cut_after = None

    def add(self, made):
        release, folder, _ = made
        self.releases[release.digest] = release.envelope
        self.folders[release.digest] = folder
        return release.digest

    def desire(self, digest, assignment='r1.t'):
        revision = self.desires.revision + 1 if self.desires else 1
        self.desires = Desired('robot-1', revision, digest, assignment)

    def desired(self, known):
        self._reach()
        return None if self.desires is None or self.desires.revision == known else self.desires

    def post(self, reports):
        self._reach()
        self.posted += reports
        revision = self.desires.revision if self.desires else 0
        return [Answer(each.sequence, 'accepted', '', revision) for each in reports]

    def release(self, digest):
        self._reach()
        if digest not in self.releases:
            raise RefusedError('there is no such release')
        return self.releases[digest]

    def download(self, digest, path, target, length):
        self._reach()
        content = (self.folders[digest] / path).read_bytes()
        if path == self.tamper:
            content = bytes(len(content))
        there = target.stat().st_size if target.exists() else 0
        end = len(content) if self.cut_after is None else there + self.cut_after
        with open(target, 'ab') as stream:
            stream.write(content[there:end])
        if end < len(content):
            raise AwayError('the line is down')

    def _reach(self):
        if self.away:
            raise AwayError('the cloud is down')


class Rig:
    def __init__(self, folder, target='orin_nano'):
        self.folder = Path(folder)
        self.maker = Maker(self.folder / 'made')
        self.cloud, self.robot = FolderCloud(), DeskRobot()
        self.target = target
        self.now_s = 0.0
        self.first, self.second, self.third = (
            self.cloud.add(self.maker.release(version)) for version in (1, 2, 3))
        self.start()

    def start(self):
        self.agent = Agent('robot-1', self.target, self.robot, self.cloud, self.folder / 'robot',
                           self.maker.keys)

    def steps(self, count=40, seconds=11.0):
        for _ in range(count):
            self.now_s += seconds
            self.agent.step(self.now_s)

    def settle(self, digest):
        self.cloud.desire(digest)
        self.steps(6)
        assert self.agent.active == digest


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_a_release_is_fetched_verified_loaded_and_leads_with_the_old_one_behind_it(rig):
    rig.settle(rig.first)
    rig.settle(rig.second)
    assert rig.robot.leads == rig.second
    assert rig.agent.fallback == rig.first
    assert set(rig.robot.loaded) == {rig.first, rig.second}
    rig.settle(rig.third)
    assert set(rig.robot.loaded) == {rig.second, rig.third}
    assert rig.cloud.posted[-1].actual_release == rig.third
    assert rig.cloud.posted[-1].fallback_release == rig.second
    assert sorted(each.name for each in (rig.folder / 'robot' / 'versions').iterdir()) == sorted(
        [rig.second, rig.third])


def test_only_an_idle_robot_is_swapped(rig):
    rig.settle(rig.first)
    rig.robot.idle = False
    rig.cloud.desire(rig.second)
    rig.steps()
    assert rig.robot.leads == rig.first
    assert rig.agent.phase is Phase.WAITING
    assert rig.cloud.posted[-1].phase == 'waiting'
    rig.robot.idle = True
    rig.steps(2)
    assert rig.robot.leads == rig.second


def test_a_rollback_needs_no_cloud_and_holds(rig):
    rig.settle(rig.first)
    rig.settle(rig.second)
    rig.cloud.away = True
    rig.agent.rollback('Ben', 'it brakes late')
    rig.steps(3)
    assert rig.robot.leads == rig.first
    rig.robot.restart()
    rig.start()
    rig.steps(3)
    assert rig.robot.leads == rig.first
    rig.cloud.away = False
    rig.steps(3)
    assert rig.cloud.posted[-1].held_by == 'Ben: it brakes late'
    rig.cloud.desire(rig.second)                # the same again is no reason to go back
    rig.steps(3)
    assert rig.robot.leads == rig.first
    with pytest.raises(ReleaseError, match='leads already'):
        rig.agent.rollback('Ben', 'again')
    rig.settle(rig.third)
    assert rig.agent.held_by == ''


def test_a_rollback_of_a_robot_without_an_earlier_version_is_refused(rig):
    rig.settle(rig.first)
    with pytest.raises(ReleaseError, match='no earlier version'):
        rig.agent.rollback('Ben', 'why not')
    with pytest.raises(ReleaseError, match='a name and a reason'):
        rig.agent.rollback('', 'why not')


@pytest.mark.parametrize('fault', ['file', 'envelope', 'other_release', 'load', 'warm_up'])
def test_what_cannot_be_verified_or_loaded_changes_nothing(rig, fault):
    rig.settle(rig.first)
    good = rig.cloud.releases[rig.second]
    if fault == 'file':
        rig.cloud.tamper = 'model.onnx'
    elif fault == 'envelope':
        content = json.loads(good)
        content['payload'] = content['payload'].replace('A', 'B', 1)
        rig.cloud.releases[rig.second] = json.dumps(content).encode()
    elif fault == 'other_release':
        rig.cloud.releases[rig.second] = rig.cloud.releases[rig.third]
    elif fault == 'load':
        rig.robot.fail_load = 'out of memory'
    else:
        rig.robot.fail_warm_up = 'too slow'
    rig.cloud.desire(rig.second)
    rig.steps(5)
    last = rig.cloud.posted[-1]
    assert (rig.robot.leads, rig.agent.phase) == (rig.first, Phase.FAILED)
    assert last.failed_release == rig.second
    assert last.failure
    assert set(rig.robot.loaded) == {rig.first}
    rig.cloud.tamper = rig.robot.fail_load = rig.robot.fail_warm_up = ''
    rig.cloud.releases[rig.second] = good
    rig.steps(100, 60.0)
    assert rig.robot.leads == rig.second
    assert rig.cloud.posted[-1].failed_release == ''


def test_a_target_without_an_artifact_is_a_failure_not_a_guess(tmp_path):
    rig = Rig(tmp_path, target='thor')
    rig.cloud.desire(rig.first)
    rig.steps(3)
    assert rig.robot.leads == ''
    assert 'no artifact for thor' in rig.cloud.posted[-1].failure


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path):
    rig = Rig(tmp_path, target='agx_orin')
    rig.cloud.cut_after = 3000
    rig.cloud.desire(rig.first)
    rig.steps(40, 600.0)
    assert rig.robot.leads == rig.first
    assert rig.cloud.posted[-1].failed_release == ''


def test_offline_for_days_is_no_failure_and_nothing_counted_is_lost(rig):
    rig.settle(rig.first)
    rig.cloud.away = True
    for _ in range(20):
        rig.robot.drive(3_600_000, e_stops=1)
        rig.steps(2, 3600.0)
    rig.robot.restart()
    rig.start()
    rig.robot.drive(1000, interventions=2)
    rig.steps(1)
    rig.cloud.away = False
    rig.steps(1)
    counter = rig.cloud.posted[-1].counters[0]
    assert (counter.exposure_ms, counter.e_stops, counter.interventions) == (
        20 * 3_600_000 + 1000, 20, 2)
    assert rig.cloud.posted[-1].failed_release == ''


def test_exposure_belongs_to_the_version_that_led(rig):
    rig.settle(rig.first)
    rig.robot.drive(5000, e_stops=1)
    rig.cloud.desire(rig.second)
    rig.robot.idle = False
    rig.steps(3)
    rig.robot.drive(700)
    rig.robot.idle = True
    rig.steps(2)
    rig.robot.drive(90)
    rig.steps(2)
    sums = {}
    for report in rig.cloud.posted:
        for each in report.counters:
            sums[each.release] = max(sums.get(each.release, 0), each.exposure_ms)
    assert sums == {rig.first: 5700, rig.second: 90}


def test_a_damaged_version_on_disk_gives_way_to_the_one_behind_it(rig):
    rig.settle(rig.first)
    rig.settle(rig.second)
    (rig.folder / 'robot' / 'versions' / rig.second / 'model.onnx').write_bytes(b'rot')
    rig.robot.restart()
    rig.cloud.away = True
    rig.start()
    assert rig.robot.leads == rig.first
    rig.cloud.away = False


def test_a_robot_needs_neither_a_database_nor_a_simulator():
    """The agent's own imports, with the server's packages blocked."""
    code = ('import sys\n'
            "for name in ('sqlalchemy', 'alembic', 'starlette', 'uvicorn', 'isaac_bridge', "
            "'rclpy'): sys.modules[name] = None\n"
            'import flywheel.agent.agent, flywheel.agent.https')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


def test_an_older_order_than_one_that_was_heard_is_none(rig):
    rig.settle(rig.first)
    rig.settle(rig.second)
    rig.cloud.desires = Desired('robot-1', 1, rig.first, 'fleet')
    rig.steps(20, 60.0)
    assert rig.robot.leads == rig.second


ACTIONS = st.lists(st.sampled_from(['desire1', 'desire2', 'desire3', 'busy', 'idle', 'away', 'back',
                                    'restart', 'rollback', 'fail', 'heal', 'cut', 'drive']),
                   max_size=25)


@settings(deadline=None, max_examples=40)
@given(ACTIONS)
def test_whatever_happens_what_leads_is_loaded_and_so_is_what_is_behind_it(tmp_path_factory,
                                                                            actions):
    rig = Rig(tmp_path_factory.mktemp('rig'))
    rig.settle(rig.first)
    rig.settle(rig.second)
    driven = 0
    for action in actions:
        match action:
            case 'desire1' | 'desire2' | 'desire3':
                rig.cloud.desire((rig.first, rig.second, rig.third)[int(action[-1]) - 1])
            case 'busy' | 'idle':
                rig.robot.idle = action == 'idle'
            case 'away' | 'back':
                rig.cloud.away = action == 'away'
                rig.cloud.cut_after = None
            case 'cut':
                rig.cloud.cut_after = 2
            case 'fail' | 'heal':
                rig.robot.fail_load = 'no memory' if action == 'fail' else ''
            case 'rollback':
                with contextlib.suppress(ReleaseError):
                    rig.agent.rollback('Ben', 'to be sure')
            case 'restart' if not rig.robot.fail_load:
                rig.agent.step(rig.now_s)
                rig.robot.restart()
                rig.start()
            case 'drive':
                rig.robot.drive(7)
                driven += 7
        leading = rig.robot.leads
        rig.steps(2, 30.0)
        if rig.robot.leads != leading:
            assert rig.robot.idle, 'swapped while busy'
        assert rig.robot.leads == rig.agent.active
        assert rig.agent.active in rig.robot.loaded
        assert rig.agent.fallback in rig.robot.loaded
        assert rig.agent.fallback != rig.agent.active
    rig.cloud.away, rig.robot.fail_load, rig.cloud.cut_after = False, '', None
    rig.steps(2, 4000.0)
    best = {}
    for report in rig.cloud.posted:
        assert report.life == rig.cloud.posted[0].life
        for each in report.counters:
            key = (each.assignment, each.release)
            best[key] = max(best.get(key, 0), each.exposure_ms)
    assert sum(best.values()) == driven
    assert len({each.sequence for each in rig.cloud.posted}) == len(rig.cloud.posted)
