"""The pure parts: cohorts, plans, the sequential test, decisions, states, reports."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from fleet_rig import BASE, CANDIDATE, LIFE
from hypothesis import given
from hypothesis import strategies as st

from flywheel.rollout import cohort, reports
from flywheel.rollout.decision import Stand, Verdict, decide
from flywheel.rollout.errors import RolloutError
from flywheel.rollout.plan import Plan, Stage, from_mapping
from flywheel.rollout.reports import Counter, Report, ReportError, parse
from flywheel.rollout.sequential import RATIOS, RateTest, expected_hours
from flywheel.rollout.states import ENDED, Order, after

IDS = [f'robot-{number}' for number in range(500)]


def test_the_order_is_stable_and_another_for_each_salt():
    assert cohort.ordered(IDS, 'a') == cohort.ordered(reversed(IDS), 'a')
    first = set(cohort.ordered(IDS, 'a')[:50])
    assert len(first & set(cohort.ordered(IDS, 'b')[:50])) < 20
    assert cohort.rank('robot-1', 'a') == 14634211595854517173


@given(st.integers(2, 3000), st.floats(0.01, 0.5), st.lists(st.floats(0.001, 1.0), min_size=1,
                                                           max_size=5))
def test_a_stage_never_holds_more_than_its_share(fleet, control_share, shares):
    shares = sorted(set(shares))
    if int(fleet * shares[0] + 1e-9) == 0:
        with pytest.raises(RolloutError, match='no robot'):
            cohort.sizes(fleet, shares, control_share)
        return
    found = cohort.sizes(fleet, shares, control_share)
    assert found.held_out >= 1
    for count, share in zip(found.stages, shares, strict=True):
        assert 1 <= count <= share * fleet + 1e-6
        assert count <= fleet - found.held_out


def test_a_share_that_is_no_robot_is_refused_with_the_smallest_that_is():
    with pytest.raises(RolloutError, match=r'smallest share of this fleet is 0\.1'):
        cohort.sizes(10, [0.01, 1.0], 0.05)
    with pytest.raises(RolloutError, match='a fleet of 1'):
        cohort.sizes(1, [1.0], 0.05)


@pytest.mark.parametrize(('change', 'said'), [
    ({'stages': ()}, 'at least one'), ({'stages': (Stage(0.5, 1.0),)}, 'the last one'),
    ({'stages': (Stage(0.5, 1.0), Stage(0.5, 1.0), Stage(1.0, 1.0))}, 'rising'),
    ({'stages': (Stage(1.0, 0.0),)}, 'above 0'), ({'stages': (Stage(1.0, math.nan),)}, 'above 0'),
    ({'alpha': 0.0}, 'alpha'), ({'alpha': 0.5}, 'alpha'), ({'control_share': 0.0}, 'control'),
    ({'hold_e_value': 1.0}, 'hold'), ({'hold_e_value': 1e9}, 'hold'),
    ({'tolerated_ratio': 0.5}, 'tolerated'), ({'tested': ()}, 'tested'),
    ({'tested': ('smiles',)}, 'tested'), ({'max_failed_share': 0.0}, 'failed'),
    ({'min_failed': 0}, 'min_failed'), ({'offline_after_s': math.inf}, 'offline')])
def test_a_plan_that_makes_no_sense_is_refused(change, said):
    with pytest.raises(RolloutError, match=said):
        Plan(**change)


def test_a_plan_comes_back_from_its_mapping():
    plan = Plan(alpha=0.02, tested=('e_stops',))
    assert from_mapping(plan.to_mapping()) == plan
    assert plan.stop_e_value == 50
    with pytest.raises(RolloutError, match='alhpa'):
        from_mapping({'alhpa': 0.01})
    with pytest.raises(RolloutError, match='cannot be read'):
        from_mapping({'stages': [{'share': 'much'}]})


def binomial_log_ratio(ratio, treated, control, treated_h, control_h):
    """The definition, with the binomial's probabilities written out."""
    def log_likelihood(r):
        share = r * treated_h / (r * treated_h + control_h)
        return treated * math.log(share) + control * math.log1p(-share)
    return log_likelihood(ratio) - log_likelihood(1.0)


@given(st.integers(0, 30), st.integers(0, 300), st.floats(0.1, 500), st.floats(0.1, 5000))
def test_the_statistic_is_the_conditional_binomials_likelihood_ratio(treated, control, treated_h,
                                                                     control_h):
    found = RateTest().after(treated, control, treated_h, control_h)
    for ratio, value in zip(RATIOS, found.log_ratios, strict=True):
        assert value == pytest.approx(
            binomial_log_ratio(ratio, treated, control, treated_h, control_h), abs=1e-6)


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.integers(1, 12), st.floats(0.3, 1.0))
def test_one_interval_multiplies_by_one_on_average_where_nothing_is_worse(treated_h, control_h,
                                                                          events, ratio):
    """E[e] <= 1 for each true ratio up to the tolerated one, exactly summed: the e-process."""
    share = ratio * treated_h / (ratio * treated_h + control_h)
    mean = sum(math.comb(events, count) * share ** count * (1 - share) ** (events - count)
               * RateTest().after(count, events - count, treated_h, control_h).e_value
               for count in range(events + 1))
    assert mean <= 1 + 1e-9


@pytest.mark.parametrize('ratio', [1.0, 1.5])
def test_error_rate_and_power_with_a_rate_that_changes_with_the_hour(ratio):
    """200 rollouts of 480 looks with the fleet's rate swinging by +-60 %: at alpha = 0.05 at most
    5 % (of 200 draws: 9 % with a margin) of good ones are ever stopped, most bad ones are."""
    rng = np.random.default_rng(7)
    stopped = 0
    for _ in range(200):
        test = RateTest()
        for hour in range(480):
            rate = 0.02 * (1 + 0.6 * math.sin(hour / 24 * 2 * math.pi))
            treated_h = 10 if hour < 240 else 50
            test = test.after(int(rng.poisson(ratio * rate * treated_h)),
                              int(rng.poisson(rate * 400)), treated_h, 400)
            if test.e_value >= 20:
                stopped += 1
                break
    assert stopped <= 18 if ratio == 1.0 else stopped >= 180


def test_an_interval_without_control_compares_nothing():
    with pytest.raises(ValueError, match='compares nothing'):
        RateTest().after(1, 0, 1.0, 0.0)
    with pytest.raises(ValueError, match='counts'):
        RateTest().after(-1, 0, 1.0, 1.0)


def test_enough_events_do_not_overflow():
    assert RateTest().after(10_000_000, 0, 1.0, 1.0).e_value == pytest.approx(math.exp(690))


def test_planning_says_how_long_a_bad_policy_stays():
    """1.5 x 0.02 e-stops an hour at an e-value of 200: some 3,400 h; twice the rate, half of it."""
    hours = expected_hours(0.02, 1.5, 200)
    assert 3000 < hours < 3800
    assert expected_hours(0.04, 1.5, 200) == pytest.approx(hours / 2)
    assert expected_hours(0.02, 1.5, 200, treated_to_control=1.0) > hours


GOOD = Stand(0, 300.0, 5000.0, {'e_stops': 0.5, 'interventions': 0.5}, 20, 20, 0)


@pytest.mark.parametrize(('change', 'verdict', 'said'), [
    ({}, Verdict.ADVANCE, 'without cause'), ({'treated_h': 199.9}, Verdict.HOLD, 'of 200 h'),
    ({'control_h': 1.0}, Verdict.HOLD, 'control robots'),
    ({'e_values': {'e_stops': 6.0, 'interventions': 0.0}}, Verdict.HOLD, 'suspicious'),
    ({'e_values': {'e_stops': 0.1, 'interventions': 200.0}}, Verdict.STOP, 'interventions are too'),
    ({'failed': 5, 'loaded': 15}, Verdict.STOP, '5 of the 20'),
    ({'failed': 1, 'loaded': 0}, Verdict.ADVANCE, 'without'),
    ({'failed': 2, 'loaded': 0, 'treated_h': 0.0}, Verdict.STOP, '2 of the 2'),
    ({'loaded': 1, 'asked': 20}, Verdict.ADVANCE, 'without')])
def test_stop_wins_over_hold_and_hold_over_advance(change, verdict, said):
    found = decide(Plan(), replace(GOOD, **change))
    assert found.verdict is verdict
    assert said in '; '.join(found.reasons)


def test_what_has_ended_never_runs_again():
    """Every sequence of five orders from an ended state."""
    for state in ENDED:
        for orders in itertools.product(set(Order) - {Order.PLAN}, repeat=5):
            here = state
            for order in orders:
                try:
                    here = after(here, order)
                except RolloutError:
                    continue
                assert here in (*ENDED,)


REPORT = Report('robot-1', LIFE, 3, 2, BASE, CANDIDATE, 'failed', CANDIDATE, 'no memory', 'Ben: x',
                (Counter('r1.t', BASE, 5, 1, 0),))


def test_a_report_comes_back_from_its_mapping():
    assert parse(REPORT.to_mapping()) == REPORT


BAD = [('robot_id', '../x'), ('robot_id', 'x' * 65), ('robot_id', 7), ('life', 'x'),
       ('sequence', -1), ('sequence', True), ('sequence', 1.0), ('sequence', 1 << 53),
       ('revision', None), ('actual_release', 'a' * 63), ('fallback_release', '../x'),
       ('phase', 'fine'), ('phase', []), ('failure', 'x' * 301), ('failure', 'a\nb'),
       ('held_by', '\x1b[31m'), ('counters', {}), ('counters', [{}]),
       ('counters', [REPORT.to_mapping()['counters'][0]] * 17), ('schema_version', 2),
       ('surplus', 1)]


@pytest.mark.parametrize(('name', 'value'), BAD)
def test_a_report_with_anything_odd_is_refused(name, value):
    with pytest.raises(ReportError):
        parse(REPORT.to_mapping() | {name: value})


@pytest.mark.parametrize('change', [{'assignment': 'r1'}, {'assignment': "r1.t' OR 1=1"},
                                    {'exposure_ms': -1}, {'e_stops': '1'}, {'release': ''}])
def test_a_counter_with_anything_odd_is_refused(change):
    content = REPORT.to_mapping()
    content['counters'][0] |= change
    with pytest.raises(ReportError):
        parse(content)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=8)


@given(st.dictionaries(st.sampled_from([*REPORT.to_mapping(), 'other']), JSON), JSON)
def test_no_json_makes_the_parser_fall_over(changes, other):
    for content in (REPORT.to_mapping() | changes, other):
        try:
            found = parse(content)
        except ReportError:
            continue
        assert reports.is_robot_id(found.robot_id)
