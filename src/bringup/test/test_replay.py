"""Recordings: what a CARMEN log says, what a bag says, and that outputs are never played back."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import LaserScan

from bringup.replay.carmen import CarmenError, read_carmen
from bringup.replay.findings import stops
from bringup.replay.player import Heard
from bringup.replay.recording import RecordingError, aside, from_bag, from_carmen, restamped

DATA = Path(__file__).resolve().parents[4] / 'shared/data/lidar'
BEAMS = {'intel': 180, 'freiburg-079': 360, 'csail': 361, 'orebro': 181, 'seattle': 361}


@pytest.mark.parametrize('name', BEAMS)
def test_real_logs_are_read_whole(name):
    path = DATA / f'{name}.log.gz'
    if not path.exists():
        assert not os.environ.get('CI'), f'{path} is missing in CI'
        pytest.skip('the lidar logs lie beside the maintainers\' checkout only')
    scans = read_carmen(path)
    with gzip.open(path, 'rt') as lines:
        assert len(scans) == sum(line.startswith('FLASER ') for line in lines)
    assert {len(scan.ranges) for scan in scans} == {BEAMS[name]}
    ranges = np.concatenate([scan.ranges for scan in scans])
    assert ranges[np.isfinite(ranges)].max() < 81.8


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'holds no FLASER line'), ('FLASER 3 1 2\n', 'line 1'), ('FLASER x\n', 'line 1'),
    ('FLASER 2 1 2 0 0 nan0 0 0 0 1 host 1\n', 'line 1'),
    ('FLASER 99999999 1\n', '99999999 beams'),
    ('FLASER 2 1 2 0 0 0 0 0 0 1 h 1\nFLASER 3 1 2 3 0 0 0 0 0 0 1 h 1\n', 'different sizes')])
def test_what_is_no_log_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / 'a.log'
    path.write_text(text)
    with pytest.raises(CarmenError, match=message):
        read_carmen(path)


def test_a_log_becomes_scans_at_an_even_rate(tmp_path):
    path = tmp_path / 'a.log'
    path.write_text('# comment\n' + 'FLASER 3 1.5 81.9 2.5 0 0 0 0 0 0 1 h 1\n' * 3)
    recording = from_carmen(read_carmen(path), 20.0)
    assert [recorded.t_s for recorded in recording] == [0.0, 0.05, 0.1]
    scan = deserialize_message(recording[0].data, LaserScan)
    assert list(scan.ranges) == [1.5, np.inf, 2.5]
    assert scan.angle_min == pytest.approx(-np.pi / 2)


def test_what_is_no_bag_is_refused(tmp_path):
    (tmp_path / 'a.mcap').write_bytes(b'no bag')
    with pytest.raises(RecordingError, match='not a finished MCAP file'):
        from_bag(tmp_path)
    with pytest.raises(RecordingError, match=r'holds no \.mcap file'):
        from_bag(tmp_path / 'nowhere')
    (tmp_path / 'case').mkdir()
    (tmp_path / 'case' / 'case_0.mcap.sealed').write_bytes(b'SPSEAL')
    for path in (tmp_path / 'case', tmp_path / 'case' / 'case_0.mcap.sealed'):
        with pytest.raises(RecordingError, match='is sealed; unseal it with'):
            from_bag(path)


@pytest.mark.parametrize(('topic', 'played'), [
    ('scan', 'scan'), ('policy/cmd_vel', 'policy/cmd_vel'), ('cmd_vel', 'recorded/cmd_vel'),
    ('teleop/cmd_vel', 'teleop/cmd_vel'), ('robot_7/policy/cmd_vel', 'robot_7/policy/cmd_vel'),
    ('safety/state', 'recorded/safety/state'), ('robot_7/safety/enable',
                                               'recorded/robot_7/safety/enable')])
def test_recorded_outputs_are_played_aside(topic, played):
    assert aside(topic) == played


def test_restamping_changes_nothing_but_the_stamp():
    message = LaserScan(ranges=[1.0, 2.0], range_max=5.0)
    message.header.frame_id = 'base_scan'
    found = deserialize_message(restamped(serialize_message(message), 5_000_000_006), LaserScan)
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (5, 6)
    assert found.header.frame_id == 'base_scan'
    assert list(found.ranges) == [1.0, 2.0]


def test_stops_begin_and_end():
    heard = [Heard(t, state, 'why', '1.0', 0.0) for t, state in (
        (0, 'RUNNING'), (1, 'STOPPED'), (2, 'STOPPED'), (3, 'RUNNING'), (4, 'LATCHED'))]
    assert [(stop.t_s, stop.seconds, stop.state) for stop in stops(heard)] == [
        (1, 2, 'STOPPED'), (4, 0, 'LATCHED')]
