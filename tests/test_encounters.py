"""Sixty encounters in the embedded world, or two thousand:

    ./dev shell env SPINAL_LONG=1 python -m pytest -s tests/test_encounters.py
"""

import os
from dataclasses import replace

import encounters
import pytest
from closed_loop import PROFILE
from encounters import Floor, drawn, table

from safety_reflex.fields import derived_sets

RUNS = 2000 if os.environ.get('SPINAL_LONG') else 60
SEED = 1


@pytest.fixture(scope='module')
def floor():
    floor = Floor()
    yield floor
    floor.close()


def test_no_moving_robot_touches_anybody_it_could_have_avoided(floor):
    outcomes = [floor.run(encounter) for encounter in drawn(SEED, RUNS)]
    print('\n' + table(outcomes))
    assert [outcome for outcome in outcomes if outcome.avoidable or outcome.unavoidable] == []
    # They were worth it: robots that drove, and people who came close.
    assert sum(outcome.top_mps > 0.15 for outcome in outcomes) > 0.95 * RUNS
    assert sum(outcome.stops > 0 for outcome in outcomes) > 0.8 * RUNS
    assert sum(outcome.min_gap_m < 0.3 for outcome in outcomes) > 0.5 * RUNS


def test_without_a_reflex_the_same_people_are_touched(floor):
    """The test's own test: no contact is the reflex's doing."""
    outcomes = [floor.run(encounter, reflex=False) for encounter in drawn(SEED, 20)]
    assert sum(outcome.avoidable for outcome in outcomes) >= 12


def test_fields_for_slower_people_are_found_out():
    """Fields derived for somebody who walks at 0.3 m/s do not do for one who walks at 1.6 m/s."""
    approach = replace(PROFILE.approach, walking_speed_mps=0.3, side_walking_speed_mps=0.3)
    speeds = [field_set.outline_mps for field_set in PROFILE.sets]
    sets, slow = derived_sets(approach, speeds, PROFILE.footprint)
    careless = Floor(replace(PROFILE, approach=approach, sets=sets, slow=slow))
    outcomes = [careless.run(encounter) for encounter in drawn(SEED, 40)]
    careless.close()
    assert sum(outcome.avoidable for outcome in outcomes) >= 5


def test_every_delay_within_the_reaction_time_gets_its_turn():
    chosen = drawn(SEED, 2000)
    lates = {encounter.late for encounter in chosen}
    assert len(lates) == 15
    assert (3, 3) not in lates      # 25 ms and twice 75 ms are more than 150 ms
    assert {encounter.motion[0] for encounter in chosen} == set(encounters.SPEEDS_MPS)
    assert {encounter.motion[1] for encounter in chosen} == set(encounters.TURNS_RADPS)
    assert max(encounter.walking_mps for encounter in chosen) == 1.6
