"""Corrective labels: the careful expert drives the scenario of a case that really failed."""

import json

import numpy as np
import pytest
from data_cases import AMR, CONFIG, NOON_NS, ROOT, WORDS, goal, odometry, scan, string, twist
from data_cases import write_case as write

from flywheel.dataset import expert, labels
from flywheel.dataset.checker import check
from flywheel.dataset.errors import DatasetError
from flywheel.dataset.export import Case, Options, export
from isaac_bridge.engines import open_world
from isaac_bridge.episode import drive as episode
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from policy_client.policies.onnx import OnnxPolicy

AISLE = CONFIG / 'scenarios/aisle.yaml'
ROBOT = read_robot(CONFIG / 'robots/amr.yaml')
SOFTWARE = episode.Robot.read(CONFIG)
MODEL = ROOT / 'docker/triton/model_repository/amr/1/model.onnx'


class Recorder(episode.Witness):
    """Messages of a window of a drive, as a bag has them."""

    def __init__(self, from_s, to_s):
        self._window, self.kept = (from_s, to_s), []

    def see(self, frame, world):
        at_s = frame.t_ns * 1e-9 - 1.0
        if self._window[0] <= at_s <= self._window[1]:
            at_ns = NOON_NS + frame.t_ns
            step = round(2 * np.pi / ROBOT.lidar.angle_increment_rad)
            assert len(frame.ranges) in (step, step + 1)
            self.kept += [
                ('scan', at_ns, scan_of(at_ns, frame)),
                ('odom', at_ns, odometry(at_ns, *frame.odometry.pose, *frame.odometry.twist)),
                ('policy/cmd_vel', at_ns, twist(at_ns, *frame.twist))]


def scan_of(at_ns, frame):
    from isaac_bridge.episode import cdr
    return cdr.scan(at_ns, frame.ranges.astype('<f4').tobytes(), ROBOT.lidar.angle_min_rad,
                    ROBOT.lidar.angle_increment_rad)


@pytest.fixture(scope='module')
def world():
    opened = open_world(AISLE, CONFIG / 'robots/amr.yaml', camera='off')
    yield opened
    opened.close()


@pytest.fixture(scope='module')
def case(world, tmp_path_factory):
    """Somebody steps into the aisle; the policy that sees nobody is stopped by the reflex."""
    keeper, policy = Recorder(8.0, 15.0), OnnxPolicy(MODEL)
    shown = episode.run(world, SOFTWARE, read_scenario(AISLE), 1, policy, None,
                        witnesses=[keeper])
    policy.close()
    assert shown.stops
    begin = keeper.kept[0][1]
    front = [('task', begin, string('drive to the goal')), ('goal_pose', begin,
                                                            goal(begin, 24.0, 0.0))]
    return write(tmp_path_factory.mktemp('case'), front + keeper.kept, stamp_ns=NOON_NS + 10**10)


def test_the_expert_labels_a_case_that_failed_and_waits_for_the_person(case, world, tmp_path):
    source = labels.Expert(world, SOFTWARE, ROBOT, lambda: OnnxPolicy(MODEL),
                           expert.Seeds((1, 2), (1001,)), {'file': 'model.onnx', 'sha256': '0'})
    done = export([Case(case)], tmp_path / 'set', AMR, WORDS, source, Options())
    assert check(done.folder) == []
    told = json.loads((done.folder / 'provenance.json').read_text())
    assert told['labels']['judging_seeds'] == [1001]
    assert {each['seed'] for each in told['episodes']} == {1, 2}
    found, refused = source.label(case)
    assert refused == []
    for labelled in found:
        driven = [each.message.twist.linear.x for each in labelled.streams.all('policy/cmd_vel')]
        moving = np.flatnonzero(np.array(driven) > 0.3)
        between = driven[moving[0]:moving[-1]]
        assert min(between) < 0.05, 'it stood and went on'
    assert not np.array_equal(*([s.message.pose.pose.position.x for s in each.streams.all('odom')]
                                [:300] for each in found)), 'seeds differ'


def test_seeds_for_labels_do_not_judge():
    with pytest.raises(DatasetError, match='seed 3 is for labels and for judging'):
        expert.Seeds((1, 3), (3, 4))


def test_a_case_without_a_drive_is_refused(world, tmp_path):
    bag = write(tmp_path, [('task', NOON_NS, string('x')), ('scan', NOON_NS, scan(NOON_NS, [1.0]))])
    with pytest.raises(DatasetError, match='messages on scan'):
        expert.scenario(bag, ROBOT)
