from dataclasses import dataclass

import pytest

from node_kit import ParameterError, build, document, parameter


@dataclass(frozen=True)
class Example:
    rate_hz: float = parameter(50.0, 'how often', minimum=1.0, maximum=500.0)
    mode: str = parameter('steady', 'which clock', choices=('steady', 'sim'))
    names: tuple[str, ...] = parameter((), 'a list')
    count: int = parameter(3, 'how many', minimum=0)


def test_defaults_and_conversion():
    assert build(Example, {'rate_hz': 5, 'names': ['a']}) == Example(rate_hz=5.0, names=('a',))


@pytest.mark.parametrize(('values', 'message'), [
    ({'rate_hz': 0.5}, 'parameter rate_hz = 0.5: must be 1.0 to 500.0'),
    ({'rate_hz': float('nan')}, 'parameter rate_hz = nan: must be 1.0 to 500.0'),
    ({'mode': 'wall'}, "parameter mode = 'wall': must be one of 'steady', 'sim'"),
    ({'names': 'a'}, "parameter names = 'a': must be a list"),
    ({'count': True}, 'parameter count = True: must be int'),
    ({'count': -1}, 'parameter count = -1: must be at least 0'),
    ({'speed': 1.0}, "parameter 'speed' is not one of"),
])
def test_a_broken_rule_is_named(values, message):
    with pytest.raises(ParameterError) as error:
        build(Example, values)
    assert message in str(error.value)


def test_every_parameter_is_documented():
    table = document(Example)
    assert '| `rate_hz` | `50.0` | how often | 1.0 to 500.0 |' in table
