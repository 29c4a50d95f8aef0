"""What the README says of parameters and reasons is what the code has."""

from pathlib import Path

from node_kit import document
from safety_reflex.parameters import MonitorParameters, ReflexParameters
from safety_reflex.promises import table
from safety_reflex.reasons import Reason

README = (Path(__file__).resolve().parents[1] / 'README.md').read_text()


def test_every_parameter_is_documented_as_it_is():
    assert document(ReflexParameters) in README
    assert document(MonitorParameters) in README


def test_every_reason_is_documented():
    assert [reason for reason in Reason if f'`{reason}`' not in README] == []


def test_every_promise_is_the_one_that_is_tested():
    assert table(ReflexParameters(), 25.0) in README
