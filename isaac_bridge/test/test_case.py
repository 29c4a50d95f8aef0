"""A drive is recorded as a bag, by its lidar; of the bag a scenario is made, and driven."""

import json
import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from episode_scene import AISLE, AMR, SCENARIO, blind, drive, open_aisle
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import String

from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import find_definition
from isaac_bridge import messages
from isaac_bridge.case import recorded, surroundings, tracks
from isaac_bridge.case.__main__ import main
from isaac_bridge.case.scenario_of import scenario_document
from isaac_bridge.documents import read_document
from isaac_bridge.engines import open_world
from isaac_bridge.episode.careful import CarefulPolicy
from isaac_bridge.episode.drive import Witness
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import ScenarioError, parse_scenario, read_scenario

ROBOT = read_robot(AMR)
TYPES = {'scan': LaserScan, 'odom': Odometry, 'goal_pose': PoseStamped, 'task': String,
         'policy/cmd_vel': TwistStamped}


class Recorder(Witness):
    """Keeps the window of a case: `before_s` to `after_s` around the first stop's place."""

    def __init__(self, from_s, to_s):
        self.window, self.kept, self.people = (from_s, to_s), [], []

    def see(self, frame, world):
        at_s = frame.t_ns * 1e-9 - 1.0
        if self.window[0] <= at_s <= self.window[1]:
            stamp = messages.time_of(frame.t_ns)
            self.kept += [
                ('scan', frame.t_ns, messages.fill_scan(messages.scan(ROBOT.lidar), stamp, frame)),
                ('odom', frame.t_ns, messages.fill_odometry(messages.odometry(), stamp, frame))]
            self.people.append([at_s - self.window[0], *frame.people[0, :2]])


def write_bag(folder, kept, goal=(24.0, 0.0)):
    writer = BagWriter(folder, 'case')
    pose = PoseStamped()
    pose.header.frame_id = 'odom'
    for name, kind in TYPES.items():
        text = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
        writer.add_topic(TopicInfo(f'/robot_7/{name}', text, '', find_definition(text).text))
    begin_ns = kept[0][1] if kept else 0
    front = [('task', begin_ns, String(data='drive to the goal'))]
    if goal:
        pose.pose.position.x, pose.pose.position.y = goal
        front.append(('goal_pose', begin_ns, pose))
    for name, at_ns, message in (*front, *kept):
        writer.write(f'/robot_7/{name}', at_ns, at_ns, serialize_message(message))
    writer.close({})
    return folder


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    """(folder of the bag, the picker's true track, the drive that it was cut from)."""
    from isaac_bridge.episode import drive as episode
    world, keeper = open_aisle(), Recorder(8.0, 15.0)
    from episode_scene import ROBOT as SOFTWARE
    shown = episode.run(world, SOFTWARE, SCENARIO, 1, blind(), blind(), witnesses=[keeper])
    world.close()
    assert shown.stops
    return (write_bag(tmp_path_factory.mktemp('case'), keeper.kept), np.array(keeper.people), shown)


def test_who_moved_is_found_where_they_were(case):
    bag, truth, _ = case
    found = tracks.people(recorded.read(bag, ROBOT), ROBOT)
    assert len(found) == 1
    points = found[0].points
    errors = [math.dist(point[1:], [np.interp(point[0], truth[:, 0], truth[:, axis])
                                    for axis in (1, 2)]) for point in points]
    assert np.median(errors) < 0.06
    assert max(errors) < 0.25, 'where they begin to walk, smoothing shows'
    assert found[0].length_m > 2.5


def test_an_empty_aisle_has_nobody(tmp_path):
    world = open_world(AISLE.with_name('empty.yaml'), AMR, camera='off', lidar_noise_m=0.02)
    kept = []
    for _ in range(120):
        frame = world.frame()
        stamp = messages.time_of(frame.t_ns)
        kept += [
            ('scan', frame.t_ns, messages.fill_scan(messages.scan(ROBOT.lidar), stamp, frame)),
            ('odom', frame.t_ns, messages.fill_odometry(messages.odometry(), stamp, frame))]
        world.command(0.8, 0.1 * math.sin(frame.t_ns * 1e-9))
        world.step(5)
    world.close()
    assert tracks.people(recorded.read(write_bag(tmp_path, kept), ROBOT), ROBOT) == []


@pytest.mark.parametrize('site', [None, AISLE], ids=['from its scans', "the site's own racks"])
def test_the_case_fails_with_the_blind_policy_and_passes_with_one_that_sees(case, site):
    bag, _, before = case
    world_of_site = read_document(site, 'scenario', ScenarioError)['world'] if site else None
    scenario = parse_scenario(scenario_document(bag, ROBOT, world_of_site), 'case')
    world = open_world(AISLE, AMR, camera='off')
    again = drive(world, blind(), scenario)
    assert again.stops == 1
    assert again.broken == ['1 stops of the reflex, 0 allowed']
    better = drive(world, CarefulPolicy(blind()), scenario)
    world.close()
    assert (better.arrived, better.stops, better.broken) == (True, 0, [])

    def stopped_at(shown):
        at_rest = np.flatnonzero((shown.rows[1:, 4] < 0.02) & (shown.rows[1:, 1] > 7.0))
        return shown.rows[at_rest[0] + 1, 1]
    assert stopped_at(again) == pytest.approx(stopped_at(before), abs=0.4)


def test_the_robot_has_its_speed_where_the_window_began(case):
    bag, _, _ = case
    scenario = parse_scenario(scenario_document(bag, ROBOT), 'case')
    line, then = scenario.people[0].trigger, recorded.read(bag, ROBOT)
    assert line[:2] == pytest.approx(then.poses[0, :2], abs=0.01)
    world = open_world(AISLE, AMR, camera='off')
    rows = drive(world, blind(), scenario).rows
    world.close()
    passing = rows[np.argmax(rows[:, 1] >= line[0])]
    assert passing[4] == pytest.approx(then.speeds[0, 0], abs=0.1)


def test_the_command_writes_a_scenario_that_can_be_read(case, tmp_path, capsys):
    bag, _, _ = case
    out = tmp_path / 'case.yaml'
    assert main([str(bag), '--robot', str(AMR), '--output', str(out)]) == 0
    assert '1 people who moved' in capsys.readouterr().out
    assert len(read_scenario(out).people) == 1
    assert read_scenario(out).goal == (24.0, 0.0)


def test_without_a_goal_it_lies_ahead(case, tmp_path):
    kept = [('scan', t, message_of(t)) for t in range(0, 2_000_000_000, 25_000_000)]
    kept += [('odom', t, odometry_of(t)) for t in range(0, 2_000_000_000, 25_000_000)]
    kept.sort(key=lambda one: one[1])
    document = scenario_document(write_bag(tmp_path, kept, goal=None), ROBOT)
    assert document['goal'] == pytest.approx([8.0, 0.0])
    assert document['people'] == []
    assert json.dumps(document)


def message_of(t_ns):
    message = messages.scan(ROBOT.lidar)
    message.header.stamp = Time(sec=t_ns // 10**9, nanosec=t_ns % 10**9)
    message.ranges = [math.inf] * 720
    return message


def odometry_of(t_ns):
    message = messages.odometry()
    message.header.stamp = Time(sec=t_ns // 10**9, nanosec=t_ns % 10**9)
    message.pose.pose.orientation.w = 1.0
    return message


@pytest.mark.parametrize('kept', [[], [('scan', 5, message_of(5))]], ids=['nothing', 'one scan'])
def test_a_bag_without_a_drive_is_refused_in_a_sentence(tmp_path, kept, capsys):
    bag = write_bag(tmp_path, kept)
    assert main([str(bag), '--robot', str(AMR), '--output', str(tmp_path / 'x.yaml')]) == 2
    assert 'messages on scan: between 10 and 40000 are needed' in capsys.readouterr().err
    assert main([str(tmp_path / 'none'), '--robot', str(AMR), '--output', 'x']) == 2
    assert 'no such file' in capsys.readouterr().err.lower()


def test_obstacles_keep_clear_of_where_somebody_was():
    points = np.repeat([[1.0, 1.0], [1.2, 1.0], [5.0, 5.0]], 5, axis=0) + 0.05
    everything = surroundings.boxes(points, np.zeros((0, 2)), 0.5)
    assert len(everything) == 2
    assert max(box.x1 - box.x0 for box in everything) == pytest.approx(0.4)
    clear = surroundings.boxes(points, np.array([[5.3, 5.0]]), 0.5)
    assert [(box.x0, box.y0) for box in clear] == [(1.0, 1.0)]
