"""A few thousand hostile rules, files, definitions and messages for the recorder's triggers."""

import fuzz_triggers
import pytest

from edge_case_recorder.triggering import limits, parser, steps


@pytest.mark.parametrize('seed', [21, 22])
def test_hostile_rules_break_nothing(seed):
    shown = fuzz_triggers.fuzz(seed, 4000)
    # Rules that were all refused, or never fired, would prove nothing.
    for what in ('compiled', 'refused', 'fired', 'files read', 'files refused'):
        assert shown['counts'][what] > 50, what


def test_an_exception_is_found(monkeypatch):
    """The fuzzer's own tests: it finds what is planted."""
    monkeypatch.setattr(steps.Arithmetic, 'next', lambda self, values, moment: 1 / 0)
    with pytest.raises(ZeroDivisionError) as found:
        fuzz_triggers.fuzz(21, 4000)
    assert 'seed 21, input' in found.value.__notes__[0]


def test_a_tree_that_is_printed_wrongly_is_found(monkeypatch):
    monkeypatch.setattr(fuzz_triggers, 'text_of', lambda tree: 'a.flag')
    with pytest.raises(fuzz_triggers.RuleBroken, match='another tree'):
        fuzz_triggers.fuzz(21, 4000)


def test_a_limit_that_is_forgotten_is_found(monkeypatch):
    monkeypatch.setattr(limits, 'MAX_CHARACTERS', 10 ** 9)
    monkeypatch.setattr(parser.limits, 'MAX_DEPTH', 10 ** 9)
    with pytest.raises(RecursionError):
        fuzz_triggers.fuzz(21, 4000)


def test_a_value_of_no_kind_is_found(monkeypatch):
    monkeypatch.setattr(steps.Not, 'next', lambda self, values, moment: 'perhaps')
    with pytest.raises(fuzz_triggers.RuleBroken, match='neither true nor false'):
        fuzz_triggers.fuzz(21, 4000)
