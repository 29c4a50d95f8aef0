"""The tree of an expression, and its text. Trees are equal when they mean the same.

`at` is where a node begins in the text it came from; it takes no part in comparisons.
"""

from dataclasses import dataclass, field

from edge_case_recorder.triggering.names import KEYWORDS, PLAIN_STEP, PLAIN_TOPIC


@dataclass(frozen=True)
class Number:
    """unit: '' or one of units.UNITS; the value is in that unit."""

    value: float
    unit: str = ''
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Truth:
    value: bool
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Text:
    value: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Span:
    """A part of an array, first to last (not included), as in Python; `[:]` is 0 to -1: all."""

    first: int = 0
    last: int = -1


@dataclass(frozen=True)
class Path:
    """A topic, and the way to a field in its messages; without steps, the topic itself."""

    topic: str
    steps: tuple[str | int | Span, ...] = ()
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Unary:
    """operator: `not` or `-`."""

    operator: str
    operand: 'Node'
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Binary:
    """operator: + - * / or a comparison."""

    operator: str
    left: 'Node'
    right: 'Node'
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Logic:
    """operator: `and` or `or`, of two or more."""

    operator: str
    operands: tuple['Node', ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Among:
    """`operand in (choice, ..)`."""

    operand: 'Node'
    choices: tuple[Number | Text, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple['Node', ...]
    at: int = field(default=0, compare=False)


type Node = Number | Truth | Text | Path | Unary | Binary | Logic | Among | Call

_COMPARISONS = ('<', '<=', '>', '>=', '==', '!=')
# How tightly an operator binds; operands that bind less need parentheses.
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _NEGATION, _ATOM = range(8)


def text_of(node: Node) -> str:
    """The expression as it would be written; parsing it gives an equal tree."""
    return _write(node)[0]


def _write(node: Node) -> tuple[str, int]:
    match node:
        case Number(value, unit):
            digits = repr(int(value)) if value.is_integer() and value < 1e15 else repr(value)
            return (f'{digits} {unit}' if unit else digits), _ATOM
        case Truth(value):
            return ('true' if value else 'false'), _ATOM
        case Text(value):
            return quoted(value), _ATOM
        case Path():
            return path_text(node), _ATOM
        case Unary(operator, operand):
            binding = _NOT if operator == 'not' else _NEGATION
            return f'{operator} {_within(operand, binding)}', binding
        case Binary(operator, left, right) if operator in _COMPARISONS:
            return f'{_within(left, _SUM)} {operator} {_within(right, _SUM)}', _COMPARISON
        case Binary(operator, left, right):
            binding = _SUM if operator in '+-' else _PRODUCT
            return f'{_within(left, binding)} {operator} {_within(right, binding + 1)}', binding
        case Logic(operator, operands):
            binding = _OR if operator == 'or' else _AND
            return f' {operator} '.join(_within(each, binding + 1) for each in operands), binding
        case Among(operand, choices):
            inside = ', '.join(_write(choice)[0] for choice in choices)
            return f'{_within(operand, _SUM)} in ({inside})', _COMPARISON
        case Call(function, arguments):
            return f'{function}({", ".join(_write(each)[0] for each in arguments)})', _ATOM


def _within(node: Node, binding: int) -> str:
    text, own = _write(node)
    return text if own >= binding else f'({text})'


def path_text(path: Path) -> str:
    """`topic.field[3].'a name'`."""
    plain = PLAIN_TOPIC.fullmatch(path.topic) and path.topic not in KEYWORDS
    parts = [path.topic if plain else quoted(path.topic)]
    for step in path.steps:
        match step:
            case int():
                parts.append(f'[{step}]')
            case Span(first, last):
                parts.append(f'[{first or ""}:{"" if last < 0 else last}]')
            case _:
                parts.append('.' + (step if PLAIN_STEP.fullmatch(step) else quoted(step)))
    return ''.join(parts)


def quoted(value: str) -> str:
    escaped = value.replace('\\', '\\\\').replace("'", "\\'").replace('\n', '\\n')
    return f"'{escaped.replace(chr(9), chr(92) + 't')}'"


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Unary(_, operand):
            return (operand,)
        case Among(operand, choices):
            return (operand, *choices)
        case Binary(_, left, right):
            return (left, right)
        case Logic(_, operands):
            return operands
        case Call(_, arguments):
            return arguments
        case _:
            return ()
