"""The black box without ROS: what a trip is, what a box holds, and what happens when it cannot."""

import os
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader

from edge_case_recorder.publishers import topic_info
from safety_reflex.black_box import (
    MAX_OTHER_TOPICS,
    STATE_SILENT,
    BlackBox,
    BlackBoxSettings,
    Trip,
    Trips,
)

S = 1_000_000_000
MS = 1_000_000
NOON_NS = int(datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()) * S
SCAN = topic_info('/scan', 'sensor_msgs/msg/LaserScan', [], ())
STATE = topic_info('/safety/state', 'diagnostic_msgs/msg/DiagnosticArray', [], ())
STOP = Trip('protective_field', ('protective_field',))


class Life:
    """A black box and its time: 40 scans and 10 states a second; bodies are consecutive numbers."""

    def __init__(self, folder, keep=20, budget_bytes=32_000_000):
        self.sentences = []
        self.box = BlackBox(BlackBoxSettings(folder, 10 * S, 1 * S, budget_bytes, keep), 1,
                            lambda is_error, sentence: self.sentences.append((is_error, sentence)))
        self.box.add_topic(SCAN, is_scan=True)
        self.box.add_topic(STATE)
        self.folder, self.now_ns, self.ticks = folder, 500 * S, 0

    def run(self, seconds, size=100):
        for _ in range(round(seconds * 40)):
            self.now_ns += 25 * MS
            self.ticks += 1
            body = self.ticks.to_bytes(8, 'little')
            self.box.append('/scan', self.now_ns, body + bytes(size))
            if self.ticks % 4 == 0:
                self.box.append('/safety/state', self.now_ns, body)
            self.box.write_due(self.now_ns)
        return self

    def trip(self, trip=STOP):
        self.box.trip(trip, self.now_ns, NOON_NS + self.now_ns)
        return self

    def boxes(self):
        return sorted(path.name for path in self.folder.iterdir())

    def custom(self, name):
        text = (self.folder / name / 'metadata.yaml').read_text()
        return yaml.safe_load(text)['rosbag2_bagfile_information']['custom_data']


def read(folder):
    with Reader(folder) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


def state(name, reasons='', trips=0):
    return {'state': name, 'reasons': reasons, 'trip_count': str(trips)}


def test_a_trip_is_a_moving_robot_that_comes_to_stand():
    trips = Trips()
    said = [trips.on_state(values, n * 100 * MS) for n, values in enumerate([
        state('LATCHED', 'start_up'), state('RUNNING'),
        state('STOPPED', 'protective_field', 1), state('STOPPED', 'protective_field', 1),
        state('STOPPED', 'protective_field,estop_lost', 1),
        state('RUNNING', '', 1), state('SLOWED', 'warning_field', 1),
        state('LATCHED', 'warning_field,estop', 2),
        # Started and stopped between two messages: only the count tells.
        state('LATCHED', 'estop', 3)])]
    assert said == [
        None, None, Trip('protective_field', ('protective_field',)), None,
        Trip('', ('estop_lost',)), None, None, Trip('estop', ('warning_field', 'estop')),
        Trip('estop', ('estop',))]


def test_a_reflex_that_falls_silent_while_the_robot_moves_is_a_trip_once():
    trips = Trips()
    trips.on_state(state('RUNNING'), 0)
    told = [(ms, trips.on_silence(ms * MS)) for ms in range(0, 9000, 200)]
    assert [(ms, trip) for ms, trip in told if trip] == [
        (1200, Trip(STATE_SILENT, (STATE_SILENT,)))]
    trips.on_state(state('LATCHED', 'start_up'), 9000 * MS)
    assert not any(trips.on_silence(ms * MS) for ms in range(9000, 20_000, 200))
    assert trips.is_silent(20_000 * MS)


def test_a_pause_of_the_monitor_itself_is_no_silence_of_the_reflex():
    trips = Trips()
    trips.on_silence(0)
    trips.on_state(state('RUNNING'), 100 * MS)
    assert trips.on_silence(5000 * MS) is None
    trip = trips.on_state(state('STOPPED', 'protective_field'), 5001 * MS)
    assert trip == Trip('protective_field', ('protective_field',))


def test_a_box_holds_ten_seconds_before_and_one_after(tmp_path):
    life = Life(tmp_path).run(30).trip()
    tripped_ns, tripped_tick = life.now_ns, life.ticks
    life.run(3)
    [name] = life.boxes()
    assert name == '20260504T120850.000Z-protective_field'   # noon and 530 s
    messages = read(tmp_path / name)
    scans = [int.from_bytes(data[:8], 'little') for topic, _, data in messages if topic == '/scan']
    assert scans == list(range(tripped_tick - 400, tripped_tick + 41))
    states = [int.from_bytes(data, 'little') for topic, _, data in messages if topic != '/scan']
    assert states == list(range(tripped_tick - 400, tripped_tick + 41, 4))
    stamps = [stamp for _, stamp, _ in messages]
    assert stamps == sorted(stamps)
    assert (stamps[0], stamps[-1]) == (NOON_NS + tripped_ns - 10 * S, NOON_NS + tripped_ns + S)
    assert life.custom(name) == {
        'cause': 'protective_field', 'reasons': 'protective_field', 'trips': '1',
        'trip_ns': str(NOON_NS + tripped_ns), 'lost': ''}


def test_a_trip_within_the_second_after_joins_and_a_later_one_has_its_own(tmp_path):
    life = Life(tmp_path).run(12).trip()
    life.run(0.5).trip(Trip('', ('scan_frozen',)))
    life.run(0.4).trip(Trip('estop', ('protective_field', 'estop')))
    last_ns = life.now_ns
    life.run(3).trip(Trip('scan_lost', ('scan_lost',))).run(2)
    first, second = life.boxes()
    assert life.custom(first)['reasons'] == 'protective_field,scan_frozen,estop'
    assert life.custom(first)['trips'] == '2'
    assert read(tmp_path / first)[-1][1] == NOON_NS + last_ns + S
    assert second.endswith('-scan_lost')
    assert read(tmp_path / second)[-1][1] == NOON_NS + last_ns + 4 * S


@settings(deadline=None, max_examples=25)
@given(gaps=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_no_trip_is_lost(gaps, tmp_path_factory):
    folder = tmp_path_factory.mktemp('boxes')
    life = Life(folder).run(1)
    for number, gap in enumerate(gaps):
        life.trip(Trip(f'cause_{number}', (f'cause_{number}',))).run(gap / 20)
    life.run(5)
    told = [life.custom(name) for name in life.boxes()]
    assert sum(int(custom['trips']) for custom in told) == len(gaps)
    reasons = [reason for custom in told for reason in custom['reasons'].split(',')]
    assert sorted(reasons) == sorted(f'cause_{number}' for number in range(len(gaps)))
    assert not any(is_error for is_error, _ in life.sentences)


def test_a_trip_while_a_box_is_written_gets_its_own(tmp_path):
    life = Life(tmp_path).run(2).trip()
    told = []

    def trips_again(is_error, sentence):
        told.append(sentence)
        if len(told) == 1:   # the writer is still inside the first box
            life.trip(Trip('estop', ('estop',)))
    life.box._log = trips_again
    life.run(4)
    assert [name.split('-')[1] for name in life.boxes()] == ['protective_field', 'estop']


def test_memory_is_bounded_and_a_flood_costs_only_itself(tmp_path):
    life = Life(tmp_path, budget_bytes=4_000_000)
    flood = topic_info('/policy/cmd_vel', 'geometry_msgs/msg/TwistStamped', [], ())
    assert life.box.add_topic(flood)
    for _ in range(5000):
        life.box.append('/policy/cmd_vel', life.now_ns + 1, bytes(1000))
    life.run(12, size=3000).trip().run(2)
    held = life.box._ring.counts()
    assert sum(each.held_bytes for each in held.values()) <= 4_000_000
    assert held['/policy/cmd_vel'].held_bytes <= 4_000_000 / 2 / MAX_OTHER_TOPICS
    messages = read(tmp_path / life.boxes()[0])
    assert sum(topic == '/scan' for topic, _, _ in messages) == 441


def test_what_did_not_fit_is_told(tmp_path):
    life = Life(tmp_path, budget_bytes=400_000).run(12, size=3000).trip().run(2)
    [name] = life.boxes()
    held = [topic for topic, _, _ in read(tmp_path / name)]
    scans, states = 441 - held.count('/scan'), 111 - held.count('/safety/state')
    assert 0 < scans < 441
    assert life.custom(name)['lost'] == f'/scan={scans},/safety/state={states}'
    assert f'{scans + states} more did not fit' in life.sentences[0][1]


def test_there_is_no_room_for_a_topic_too_many(tmp_path):
    life = Life(tmp_path)
    others = [topic_info(f'/safety/estop/{n}', 'std_msgs/msg/Bool', [], ())
              for n in range(MAX_OTHER_TOPICS)]
    assert [life.box.add_topic(other) for other in others] == [True] * 15 + [False]
    assert life.box.add_topic(others[0])


def test_the_oldest_box_goes_and_nothing_that_is_none(tmp_path):
    (tmp_path / 'mine').mkdir()
    life = Life(tmp_path, keep=3).run(2)
    for number in range(5):
        life.trip(Trip(f'cause_{number}', ())).run(2)
    assert [name.split('-')[-1] for name in life.boxes()] == [
        'cause_2', 'cause_3', 'cause_4', 'mine']


def test_a_clock_that_was_set_back_does_not_cost_the_newest(tmp_path):
    life = Life(tmp_path, keep=2).run(2)
    life.trip(Trip('first', ())).run(2).trip(Trip('second', ())).run(2)
    life.box.trip(Trip('in_1970', ()), life.now_ns, S)
    life.run(2)
    assert [name.split('-')[1] for name in life.boxes()] == ['in_1970', 'second']


def test_two_trips_of_one_millisecond_keep_both_boxes(tmp_path):
    life = Life(tmp_path).run(2)
    for _ in range(2):
        life.box.trip(STOP, life.now_ns, NOON_NS)
        life.run(3)
    assert life.boxes() == ['20260504T120000.000Z-protective_field',
                            '20260504T120000.000Z-protective_field-2']


def test_a_full_disk_costs_a_sentence_and_the_box_alone(tmp_path):
    life = Life(tmp_path).run(12).trip()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        life.run(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert life.boxes() == []
    [(is_error, sentence)] = life.sentences
    assert is_error
    assert sentence.startswith('the black box of protective_field is lost')
    life.trip().run(2)
    assert len(life.boxes()) == 1
    assert len(read(tmp_path / life.boxes()[0])) > 400


def test_a_folder_that_cannot_be_made_costs_a_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    life = Life(tmp_path / 'file' / 'boxes')
    life.box.start()
    life.run(1).trip().run(2)
    life.box.stop()
    assert [is_error for is_error, _ in life.sentences] == [True, True]
    assert 'file' in life.sentences[0][1]


def test_what_a_crash_left_is_removed_and_what_another_writes_is_not(tmp_path):
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    (tmp_path / f'.20260504T120850.000Z-estop.{gone.pid}.writing').mkdir()
    alive = tmp_path / f'.20260504T120850.000Z-estop.{os.getppid()}.writing'
    alive.mkdir()
    life = Life(tmp_path)
    life.box.start()
    life.box.stop()
    assert life.boxes() == [alive.name]


def test_the_writer_thread_writes_and_the_end_waits_for_what_is_open(tmp_path):
    """The real thread, on the steady clock: the box is there, the caller's thread wrote nothing."""
    written_by = []
    settings_ = BlackBoxSettings(tmp_path, 10 * S, 30 * S, 1_000_000, 20)
    box = BlackBox(settings_, 1, lambda *_: written_by.append(threading.current_thread().name))
    box.add_topic(SCAN, is_scan=True)
    box.start()
    now_ns = time.monotonic_ns()
    box.append('/scan', now_ns, b'12345678')
    box.trip(STOP, now_ns, NOON_NS)
    box.stop()
    assert written_by == ['black_box']
    [name] = [path.name for path in tmp_path.iterdir()]
    assert read(tmp_path / name) == [('/scan', NOON_NS, b'12345678')]


@pytest.mark.parametrize('key', ['topics_with_message_count', 'files', 'relative_file_paths'])
def test_the_bag_has_what_rosbag2_wants(key, tmp_path):
    life = Life(tmp_path).run(2).trip().run(2)
    [name] = life.boxes()
    found = yaml.safe_load((tmp_path / name / 'metadata.yaml').read_text())
    assert found['rosbag2_bagfile_information'][key]
    assert {path.name for path in (tmp_path / name).iterdir()} == {
        'metadata.yaml', f'{name}_0.mcap'}
