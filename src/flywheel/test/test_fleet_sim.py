"""A simulated fleet with faults over the real engine and database: what must never happen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from flywheel.fleet_sim.scenario import NO_FAULTS, Faults, Scenario
from flywheel.fleet_sim.simulation import BASE, CANDIDATE, Simulation
from flywheel.fleet_sim.study import Trial, summary, wilson
from flywheel.rollout.cohort import sizes
from flywheel.rollout.plan import Plan, Stage
from flywheel.rollout.status import status

PLAN = Plan(stages=(Stage(0.02, 40.0), Stage(0.1, 100.0), Stage(0.5, 300.0), Stage(1.0, 500.0)),
            offline_after_s=12 * 3600.0)
SMALL = Scenario(robots=150, days=8.0, plan=PLAN, report_h=8.0, evaluate_h=2.0)
KEPT = Path(__file__).parents[1] / 'reports' / 'rollout' / 'study.json'


def check(simulation):
    """The invariants that hold at every moment, of the robots themselves and of the database."""
    plan, robots = simulation.scenario.plan, simulation.robots.all
    allowed = 0
    if simulation.rollout:
        found = status(simulation.database, simulation.rollout, now_ms=simulation.clock_ms)
        counts = sizes(len(robots), [each.share for each in plan.stages], plan.control_share)
        if found['state'] == 'completed':
            allowed = len(robots)
        elif found['stage'] >= 0:
            allowed = counts.stages[found['stage']]
        desired = sum(each['desired'] for each in found['cohorts'])
        assert desired <= allowed, 'more robots are to run it than the stage allows'
        assert sum(each['robots'] for each in found['cohorts']) == len(robots)
    running = sum(each.active == CANDIDATE for each in robots)
    assert running <= allowed, 'more robots run it than the stage allows'
    for robot in robots:
        assert robot.active in robot.loaded
        assert robot.fallback in robot.loaded, 'a robot has no loaded fallback'
        assert robot.fallback != robot.active


def booked(simulation):
    with simulation.database.begin() as connection:
        return {(row[0], row[1], row[2]): list(row[3:]) for row in connection.execute(text(
            'SELECT robot_id, assignment, release, SUM(exposure_ms), SUM(e_stops), '
            'SUM(interventions) FROM counters GROUP BY robot_id, assignment, release'))}


def driven(simulation):
    return {(robot.robot_id, *key): totals for robot in simulation.robots.all
            for key, totals in robot.totals.items()}


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10 ** 6), st.sampled_from([1.0, 3.0]), st.floats(0, 0.3), st.floats(0, 0.3),
       st.floats(0, 0.5), st.lists(st.tuples(st.floats(0, 150), st.floats(0, 30)), max_size=4))
def test_with_whatever_faults_nothing_is_lost_and_no_stage_overrun(
        seed, ratio, offline, failed_load, duplicate, outages):
    faults = Faults(offline=offline, failed_load=failed_load, duplicate=duplicate,
                    outages=tuple(sorted(outages)))
    simulation = Simulation(replace(SMALL, seed=seed, ratio=ratio, faults=faults), watch=check)
    found = simulation.run()
    check(simulation)
    simulation.settle()
    assert booked(simulation) == driven(simulation), 'a report was lost or counted twice'
    if found.state == 'rolled_back':
        assert not any(each.active == CANDIDATE for each in simulation.robots.all)
    if found.state == 'completed':
        assert all(each.active == CANDIDATE for each in simulation.robots.all)
    assert found.killed <= len(outages)


def test_it_is_the_same_again_with_the_same_seed():
    first, second = (Simulation(replace(SMALL, seed=5)).run() for _ in range(2))
    assert first == second


def test_a_killed_control_plane_loses_nothing_that_was_answered(tmp_path):
    scenario = replace(SMALL, faults=Faults(outages=((5.0, 4.0), (20.0, 30.0), (70.0, 1.0))))
    simulation = Simulation(scenario, f'sqlite:///{tmp_path}/fleet.db', check)
    assert simulation.run().killed == 3
    simulation.settle()
    assert booked(simulation) == driven(simulation)


def test_a_good_release_reaches_everybody_and_a_bad_one_nobody():
    good = Simulation(replace(SMALL, faults=NO_FAULTS, seed=1)).run()
    assert good.state == 'completed'
    assert len(good.stages) == 4
    bad = Simulation(replace(SMALL, faults=NO_FAULTS, seed=1, ratio=6.0))
    assert bad.run().state == 'rolled_back'
    bad.settle()
    assert {each.active for each in bad.robots.all} == {BASE}


def test_robots_that_are_offline_hold_nothing_up_and_are_not_failed():
    faults = replace(NO_FAULTS, offline=0.1, offline_h=(24.0, 96.0))
    found = Simulation(replace(SMALL, days=14.0, faults=faults)).run()
    assert found.state == 'completed'
    assert sum(each['offline'] for each in found.status['cohorts']) > 10
    assert sum(each['failed'] for each in found.status['cohorts']) == 0


def test_the_study_counts_what_it_saw():
    found = summary([Trial(1.0, number, 'rolled_back' if number == 0 else 'completed', 10.0, 4, 9.0)
                     for number in range(300)])
    assert found['1']['rolled_back_ratio'] == pytest.approx(1 / 300)
    assert found['1']['hours_p90'] == 10.0
    low, high = wilson(1, 300)
    assert low < 1 / 300 < high < 0.02


@pytest.mark.skipif(not KEPT.exists(), reason='no study is kept in reports/rollout: '
                    'python -m flywheel.fleet_sim.study --long makes it')
def test_the_kept_study_holds_its_promise():
    """The error rate of the study that is kept in the reports (made with --long)."""
    found = json.loads(KEPT.read_text())
    assert found['robots'] == 2000
    assert found['summary']['1']['rollouts'] >= 300
    assert found['summary']['1']['low'] <= Plan().alpha
    assert found['summary']['1.5']['rolled_back_ratio'] >= 0.9
