"""The capacity calculation: by hand once, then as laws that hold for any fleet."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.capacity import embodiments
from flywheel.capacity.__main__ import main
from flywheel.capacity.model import ASSUMPTION_NOTES, Assumptions, Needs, needs
from flywheel.capacity.table import rows, size

ROOT = Path(__file__).resolve().parents[3]

LINEAR = ('requests_per_s', 'peak_requests_per_s', 'gpus_exact', 'up_bytes_per_s',
          'peak_up_bytes_per_s', 'down_bytes_per_s', 'reports_per_s', 'case_bytes_per_day',
          'status_bytes_per_day', 'stored_nearline_bytes', 'stored_coldline_bytes')
GROWING = ('robots', 'duty', 'inference_rate_hz', 'cloud_share', 'hedge_ratio', 'request_bytes',
           'reply_bytes', 'reports_per_s', 'report_bytes', 'status_bytes_stored',
           'cases_per_robot_day', 'case_bytes', 'case_standard_days', 'case_nearline_days',
           'case_coldline_days', 'status_standard_days', 'status_nearline_days', 'release_bytes',
           'releases_per_month', 'gpu_usd_per_hour', 'standard_usd_per_gb_month',
           'egress_usd_per_gb', 'database_usd_per_month', 'gpu_headroom', 'gpu_spares',
           'peak_active', 'robots_with_model_on_board')

fleets = st.builds(
    Assumptions, robots=st.integers(1, 50_000), duty=st.floats(0.01, 0.5),
    peak_active=st.floats(0.5, 1.0), inference_rate_hz=st.floats(0.1, 50.0),
    cloud_share=st.floats(0.01, 1.0), hedge_ratio=st.floats(0.0, 0.05),
    gpu_requests_per_s=st.floats(1.0, 1000.0), gpu_headroom=st.floats(0.0, 0.8),
    gpu_spares=st.integers(0, 5), cases_per_robot_day=st.floats(0.0, 100.0),
    case_bytes=st.floats(0.0, 1e9), robots_with_model_on_board=st.floats(0.0, 1.0))


def test_a_small_fleet_by_hand():
    found = needs(Assumptions(
        robots=100, duty=0.5, peak_active=1.0, inference_rate_hz=2.0, cloud_share=0.5,
        hedge_ratio=0.0, request_bytes=1000.0, reply_bytes=100.0, gpu_requests_per_s=20.0,
        gpu_headroom=0.5, gpu_spares=1, reports_per_s=0.1, report_bytes=1000.0,
        status_bytes_stored=100.0, cases_per_robot_day=1.0, case_bytes=864e5,
        release_bytes=1e9, releases_per_month=2.0, database_usd_per_month=0.0,
        gpu_usd_per_hour=1.0), months_of_releases=10.0)
    assert found.requests_per_s == 50.0            # 100 * 0.5 * 2 * 0.5
    assert found.peak_requests_per_s == 100.0
    assert found.gpus_exact == 10.0                # 100 / (20 * 0.5)
    assert found.gpus == 11
    assert found.gpus_mean == 6.0
    assert found.case_bytes_per_day == 8.64e9
    assert found.up_bytes_per_s == pytest.approx(50_000 + 10 * 1000 + 1e5)
    assert found.down_bytes_per_s == 5000.0
    assert found.status_bytes_per_day == 86.4e6
    assert found.stored_coldline_bytes == 8.64e9 * 610
    assert found.stored_standard_bytes == pytest.approx(8.64e9 * 30 + 86.4e6 * 30 + 20e9)
    assert found.usd_gpus_per_month == pytest.approx(11 * 30.4375 * 24)


@given(fleets, st.integers(2, 10))
def test_needs_grow_in_proportion_to_the_robots(fleet, times):
    small, large = needs(fleet), needs(replace(fleet, robots=fleet.robots * times))
    for name in LINEAR:
        assert getattr(large, name) == pytest.approx(times * getattr(small, name), rel=1e-9)


@given(fleets, st.sampled_from(GROWING), st.floats(1.0, 3.0))
def test_more_of_anything_never_needs_less(fleet, name, factor):
    field = {f.name: f for f in fields(Assumptions)}[name]
    value = getattr(fleet, name)
    more = value * factor
    if isinstance(field.default, int):
        more = math.ceil(more)
    if name in ('duty', 'peak_active', 'cloud_share', 'hedge_ratio', 'robots_with_model_on_board'):
        more = min(more, fleet.peak_active if name == 'duty' else 1.0)
    if name == 'gpu_headroom':
        more = min(more, 0.95)
    before, after = needs(fleet), needs(replace(fleet, **{name: more}))
    for each in fields(Needs):
        if each.name != 'usd_per_robot_month':
            assert getattr(after, each.name) >= getattr(before, each.name) * (1 - 1e-12), each.name


@given(fleets)
def test_the_gpus_carry_the_peak_even_when_the_spares_are_gone(fleet):
    found = needs(fleet)
    usable = fleet.gpu_requests_per_s * (1.0 - fleet.gpu_headroom)
    assert (found.gpus - fleet.gpu_spares) * usable >= found.peak_requests_per_s * (1 - 1e-12)
    assert (found.gpus - fleet.gpu_spares - 1) * usable < found.peak_requests_per_s * (1 + 1e-12)
    assert found.gpus_mean <= found.gpus


@given(fleets)
def test_the_sum_is_the_sum(fleet):
    found = needs(fleet)
    assert found.usd_per_month == pytest.approx(
        found.usd_gpus_per_month + found.usd_storage_per_month + found.usd_network_per_month
        + found.usd_database_per_month)
    assert found.usd_per_robot_month * fleet.robots == pytest.approx(found.usd_per_month)


@given(fleets)
def test_a_policy_on_board_needs_no_gpu_in_the_cloud(fleet):
    found = needs(replace(fleet, cloud_share=0.0))
    assert (found.requests_per_s, found.gpus, found.usd_gpus_per_month) == (0.0, 0, 0.0)


@pytest.mark.parametrize(('change', 'word'), [
    ({'robots': -1}, 'robots is -1'), ({'duty': 1.5}, 'it is a share'),
    ({'duty': float('nan')}, 'duty is nan'), ({'gpu_requests_per_s': 0.0}, 'above 0'),
    ({'gpu_headroom': 1.0}, 'below 1'), ({'duty': 0.9, 'peak_active': 0.5}, 'peak_active is 0.5'),
    ({'case_bytes': math.inf}, 'case_bytes is inf')])
def test_what_cannot_be_is_named(change, word):
    with pytest.raises(ValueError, match=word):
        Assumptions(**change)


def test_every_assumption_says_where_it_comes_from():
    assert set(ASSUMPTION_NOTES) == {field.name for field in fields(Assumptions)}


def test_the_command_prints_every_assumption_and_every_need(capsys):
    assert main(['--robots', '300', '--inference-rate-hz', '2']) == 0
    text = capsys.readouterr().out
    for name in ASSUMPTION_NOTES:
        assert name in text
    for what, amount, _ in rows(needs(Assumptions(robots=300, inference_rate_hz=2.0))):
        assert what in text
        assert amount in text


def test_json_holds_both_and_equals_the_function(capsys):
    assert main(['--robots', '300', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['assumptions'] == vars(Assumptions(robots=300))
    assert found['needs'] == vars(needs(Assumptions(robots=300)))


@pytest.mark.parametrize('arguments', [
    ['--duty', '2'], ['--embodiment', 'nowhere.yaml'],
    ['--embodiment', 'X', '--request-bytes', '1'],
    ['--embodiment', str(ROOT / 'config/embodiments/amr.yaml'), '--image', 'big'],
    ['--embodiment', str(ROOT / 'config/robots/amr.yaml')]])
def test_a_mistake_is_one_sentence(arguments, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('flywheel capacity: ')
    assert error.count('\n') == 1


def test_request_bytes_of_an_embodiment():
    so100 = embodiments.load(ROOT / 'config/embodiments/so100.yaml')
    raw = embodiments.request_bytes(so100, 256, 256, jpeg=False)
    assert raw == 3 * 256 * 256 + 4 * 6 + 800      # one camera, six joints, headers and text
    assert embodiments.request_bytes(so100, 256, 256, jpeg=True) == 22_000 + 24 + 800
    assert embodiments.jpeg_bytes(480 * 640) == 102_000
    two = embodiments.load(ROOT / 'config/embodiments/droid.yaml')
    assert embodiments.request_bytes(two, 256, 256, False) == 2 * 3 * 65536 + 4 * 8 + 800


@given(st.floats(0, 1e18))
def test_sizes_read_back_to_three_digits(value):
    number, unit = size(value).split()
    scale = {'B': 1, 'kB': 1e3, 'MB': 1e6, 'GB': 1e9, 'TB': 1e12, 'PB': 1e15}[unit]
    assert float(number) * scale == pytest.approx(value, rel=0.0051, abs=1e-300)
