"""The doctor: what it finds, what it says of what is not here, and its checks over MuJoCo."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from isaac_bridge.engines import create
from isaac_bridge.isaac import checks, doctor, session, surroundings, trial
from isaac_bridge.isaac.app import main as run_app
from isaac_bridge.isaac.app import node_arguments, parser, split
from isaac_bridge.isaac.stamps import TOPICS, Instants, judged
from isaac_bridge.isaac.surroundings import FAILED, NOT_HERE, OK, Row
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario

CONFIG = Path(__file__).resolve().parents[2] / 'config'
SCENARIO, ROBOT = CONFIG / 'scenarios' / 'aisle.yaml', CONFIG / 'robots' / 'amr.yaml'


@pytest.mark.parametrize(('text', 'statuses'), [
    ('NVIDIA L40S, 570.86.10, 46068 MiB\n', [OK, OK]),
    ('NVIDIA H100 80GB HBM3, 570.86.10, 81559 MiB\n' * 8, [FAILED, OK]),
    ('NVIDIA RTX 6000 Ada Generation, 535.54.03, 49140 MiB\n', [OK, FAILED]),
    ('', [NOT_HERE])])
def test_a_gpu_is_judged_by_its_cores_and_its_driver(text, statuses):
    assert [row.status for row in surroundings.rows_of_gpu(text)] == statuses


def _isaac(folder, version='6.2.0-rc.14'):
    (folder / 'VERSION').write_text(version)
    (folder / 'apps').mkdir()
    (folder / 'apps' / session.EXPERIENCE).write_text('')
    for name in session.EXTENSIONS:
        (folder / 'exts' / name).mkdir(parents=True)
    library = folder / 'exts' / 'isaacsim.ros2.core' / 'jazzy' / 'lib'
    library.mkdir(parents=True)
    (library / 'librcl.so').write_text('')
    return folder


def test_an_isaac_sim_is_found_whole(tmp_path):
    assert [row.status for row in surroundings.isaac(_isaac(tmp_path))] == [OK] * 4


def test_what_an_isaac_sim_lacks_is_named(tmp_path):
    folder = _isaac(tmp_path, '5.1.0')
    (folder / 'apps' / session.EXPERIENCE).unlink()
    (folder / 'exts' / session.EXTENSIONS[0]).rmdir()
    (folder / 'exts' / 'isaacsim.ros2.core' / 'jazzy' / 'lib' / 'librcl.so').unlink()
    rows = surroundings.isaac(folder)
    assert [row.status for row in rows] == [FAILED] * 4
    assert session.EXTENSIONS[0] in rows[2].detail


def test_without_isaac_sim_nothing_is_said_to_be_wrong_with_it():
    assert {row.status for row in surroundings.isaac(None)} == {NOT_HERE}


def test_the_asset_root_is_read_only_if_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('ISAACSIM_ASSET_ROOT', str(tmp_path))
    (tmp_path / 'hall.usda').write_text('#usda 1.0')
    assert surroundings.asset_root(None, None).status == OK
    assert surroundings.asset_root('hall.usda', None).status == OK
    assert surroundings.asset_root('gone.usda', None).status == FAILED
    monkeypatch.setenv('ISAACSIM_ASSET_ROOT', 'https://store.example/Assets')
    assert surroundings.asset_root(None, None).status == NOT_HERE
    monkeypatch.setenv('ISAACSIM_ASSET_ROOT', 'omniverse://server/Assets')
    assert surroundings.asset_root('hall.usda', None).status == NOT_HERE


def test_without_a_variable_the_root_is_isaac_sims_own(tmp_path, monkeypatch):
    monkeypatch.delenv('ISAACSIM_ASSET_ROOT', raising=False)
    assert surroundings.asset_root(None, None).status == NOT_HERE
    config = tmp_path / 'exts' / 'isaacsim.storage.native' / 'config'
    config.mkdir(parents=True)
    (config / 'extension.toml').write_text(
        f'[settings]\npersistent.isaac.asset_root.default = "{tmp_path}/Assets/Isaac/6.2"\n')
    (tmp_path / 'Assets' / 'Isaac' / '6.2').mkdir(parents=True)
    row = surroundings.asset_root(None, tmp_path)
    assert (row.status, row.detail) == (OK, f'{tmp_path}/Assets/Isaac/6.2')


def test_the_cache_may_not_exist_yet(tmp_path):
    assert surroundings.cache(tmp_path / 'not' / 'yet').status == OK


def test_the_bridges_own_rclpy_is_found_where_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda *_: None)
    monkeypatch.setattr('sys.path', [])
    monkeypatch.setenv('PYTHONPATH', '/somewhere')
    assert not surroundings.find_ros(None)
    assert not surroundings.find_ros(tmp_path)
    place = tmp_path / surroundings.BRIDGE / 'rclpy'
    (place / 'rclpy').mkdir(parents=True)
    assert surroundings.find_ros(tmp_path)
    assert os.environ['PYTHONPATH'].split(os.pathsep) == ['/somewhere', str(place)]


@pytest.mark.parametrize(('statuses', 'status'), [
    ([OK, OK], 0), ([OK, NOT_HERE], 2), ([OK, NOT_HERE, FAILED], 1)])
def test_what_is_not_here_has_not_passed(statuses, status):
    assert doctor.status_of([Row(str(i), one, '') for i, one in enumerate(statuses)]) == status


def test_the_checks_pass_over_mujoco_and_nothing_is_claimed_of_isaac_sim(capsys, tmp_path):
    status = doctor.main(['--engine', 'mujoco', '--no-ros', '--most-steps', '20',
                          '--scenario', str(SCENARIO), '--robot', str(ROBOT),
                          '--cache', str(tmp_path)])
    said = capsys.readouterr().out
    assert status in (1, 2)         # 1 where a GPU is here that Isaac Sim cannot render with
    for name, _ in checks.CHECKS:
        line = next(line for line in said.splitlines() if line.startswith(name))
        assert line.split(name)[1].split()[0] == OK
        assert line.endswith('(mujoco)')


def test_without_isaac_sim_its_trial_is_not_here(monkeypatch):
    monkeypatch.setattr(surroundings, 'isaac_folder', lambda: None)
    rows = [*doctor.trial('isaac', str(SCENARIO), str(ROBOT), 10),
            *doctor.over_ros('isaac', str(SCENARIO), str(ROBOT), 10, True)]
    assert {row.status for row in rows} == {NOT_HERE}
    assert len(rows) == len(checks.CHECKS) + 4


def test_a_trial_that_cannot_start_says_why(tmp_path):
    out = tmp_path / 'rows.json'
    assert trial.main(['--engine', 'isaac', '--scenario', str(SCENARIO), '--robot', str(ROBOT),
                       '--out', str(out)]) == 1
    [row] = json.loads(out.read_text())
    assert (row['name'], row['status']) == ('boots', FAILED)
    assert 'python.sh' in row['detail'] or 'EXP_PATH' in row['detail']


def test_stamps_and_conformance_over_ros(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '187')
    rows = doctor.over_ros('mujoco', str(SCENARIO), str(ROBOT), 100, True)
    said = {row.name: row for row in rows}
    assert said['stamps equal'].status == OK, said['stamps equal'].detail
    assert said['stamps equal'].detail.startswith('100 of 100 instants, 5 topics')
    assert said['conformance'].status == OK, said['conformance'].detail
    assert said['RTX lidar lag'].status == NOT_HERE


class Cheat:
    """A world that breaks one rule: what a check is for."""

    def __init__(self, rule):
        self._world = create('mujoco', camera='off', lidar_noise_m=0.0)
        self._world.load(checks.empty(read_scenario(SCENARIO)), read_robot(ROBOT), 3)
        self._rule, self._resets, self._late = rule, 0, None

    def __getattr__(self, name):
        return getattr(self._world, name)

    def step(self, n=1):
        self._world.step(n + (self._rule == 'one step more' and n > 3))

    def reset(self, seed, *scope):
        self._resets += 1
        if self._rule == 'a reset ignores its scope':
            scope = ()
        self._world.reset(seed + (self._resets if self._rule == 'a reset keeps something' else 0),
                          *scope)
        if self._rule == 'a reset keeps something':
            self._world.command(0.01 * self._resets, 0.0)
            self._world.step()
            self._world.reset(seed, checks.Scope.TIME)

    def frame(self):
        frame = self._world.frame()
        if self._rule == 'the lidar lags':
            frame, self._late = dataclasses.replace(
                frame, ranges=frame.ranges if self._late is None else self._late), frame.ranges
        if self._rule == 'the lidar is off':
            frame = dataclasses.replace(frame, ranges=frame.ranges + 0.002)
        return frame

    def delete(self, name):
        if self._rule != 'anything goes':
            self._world.delete(name)

    def command(self, v, w):
        self._world.command(v, w)
        if self._rule == 'commands never age':
            self._world._drive._timeout_ns = 10**12


@pytest.mark.parametrize(('rule', 'check'), [
    ('one step more', checks.steps_exact), ('a reset ignores its scope', checks.reset_scopes),
    ('a reset keeps something', checks.reset_whole), ('the lidar lags', checks.lidar_lag),
    ('the lidar is off', checks.lidar_walls), ('anything goes', checks.refusals),
    ('commands never age', checks.stops_when_stale)])
def test_each_check_fails_where_its_rule_is_broken(rule, check):
    with pytest.raises(checks.Failed):
        check(Cheat(rule))


def _beats(instants, stamps, left_out=()):
    for stamp in stamps:
        for topic in instants.topics:
            if (topic, stamp) not in left_out:
                instants.heard(topic, stamp)


def test_equal_stamps_are_counted_and_the_first_instant_is_not():
    instants = Instants(TOPICS)
    _beats(instants, range(100, 110))
    assert (instants.equal, instants.judged) == (7, 7)
    assert judged(instants, 7).sentence == '7 of 7 instants, 5 topics'


def test_a_missing_message_and_a_stray_stamp_are_told():
    instants = Instants(TOPICS)
    _beats(instants, range(100, 200, 10), left_out={('odom', 140), ('scan', 150)})
    instants.heard('scan', 150)         # too late: it was judged already
    instants.heard('tf', 165)
    _beats(instants, range(200, 230, 10))
    result = judged(instants, 10)
    assert (result.equal, result.judged) == (8, 10)
    assert result.sentence.endswith('missing: scan 1, odom 1; stray: scan 1, tf 1')


def test_too_few_instants_are_no_success():
    instants = Instants(TOPICS)
    _beats(instants, range(100, 105))
    result = judged(instants, 50)
    assert result.equal < result.judged


def test_the_front_end_gets_the_applications_arguments():
    own, ros = split(['--scenario', 's.yaml', '--robot', 'r.yaml', '--seed', '7', '--ros-args',
                      '-p', 'mode:=lockstep'])
    assert node_arguments(parser().parse_args(own), ros) == [
        'world', '--ros-args', '-p', 'mode:=lockstep', '-p', 'engine:=isaac', '-p',
        'scenario_file:=s.yaml', '-p', 'robot_file:=r.yaml', '-p', 'seed:=7', '-p', 'camera:=auto']


def test_the_application_says_what_it_lacks(capsys, tmp_path):
    assert run_app(['--scenario', str(tmp_path / 'none.yaml'), '--robot', str(ROBOT)]) == 1
    assert 'there is no file' in capsys.readouterr().err
    assert run_app(['--scenario', str(SCENARIO), '--robot', str(ROBOT), '--backdrop',
                    str(tmp_path / 'none.json')]) == 1
    assert 'none.json' in capsys.readouterr().err
    if 'EXP_PATH' not in os.environ:
        assert run_app(['--scenario', str(SCENARIO), '--robot', str(ROBOT)]) == 1
        assert 'isaac_bridge.isaac:' in capsys.readouterr().err
