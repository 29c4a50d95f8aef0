"""An expression's text as tokens with their places.

A `/` where an operand may stand begins a topic (`/scan`), and joins words to one directly
(`policy/status`); behind an operand it divides. No topic's name is a number, so the two never meet.
"""

import re
from dataclasses import dataclass, field

from edge_case_recorder.triggering import limits
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.names import KEYWORDS, PLAIN_STEP, PLAIN_TOPIC, UNITS

_BLANK = re.compile(r'(?:[ \t\r\n]+|#[^\n]*)+')
_NUMBER = re.compile(
    r'(?:[0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})(?:[eE][+-]?[0-9]{1,3})?')
_INDEX = re.compile(r'\[ *([0-9]{0,6}) *(:?) *([0-9]{0,6}) *\]')
_SIGN = re.compile(r'<=|>=|==|!=|[<>()+\-*/,]')
_TEXT = re.compile(r"'(?:[^'\\\n]|\\.)*'|" r'"(?:[^"\\\n]|\\.)*"')
_ESCAPES = {'n': '\n', 't': '\t', '\\': '\\', "'": "'", '"': '"'}


@dataclass(frozen=True)
class Token:
    """kind: number, text, path, word (a keyword, a function's name), sign, end.

    steps: of a path, names and (first, last) of brackets; an index has None as its last.
    """

    kind: str
    text: str
    at: int
    value: float = 0.0
    unit: str = ''
    steps: tuple[str | tuple[int, int | None], ...] = field(default=())


def tokens(source: str) -> list[Token]:
    """All tokens and an `end`; raises RuleError."""
    if len(source) > limits.MAX_CHARACTERS:
        raise RuleError(f'the expression has {len(source)} characters: at most '
                        f'{limits.MAX_CHARACTERS} are taken')
    found: list[Token] = []
    at = _after_blank(source, 0)
    while at < len(source):
        token, at = _next(source, at, bool(found) and _is_operand(found[-1]))
        found.append(token)
        at = _after_blank(source, at)
    found.append(Token('end', '', len(source)))
    return found


def _is_operand(token: Token) -> bool:
    """Whether an operand ends with it, so that an operator may stand next."""
    return token.kind in ('number', 'text', 'path') or token.text in (')', 'true', 'false')


def _next(source: str, at: int, operand_stood: bool) -> tuple[Token, int]:
    if match := _NUMBER.match(source, at):
        return _number(source, match)
    if not operand_stood and (match := PLAIN_TOPIC.match(source, at)):
        word, end = match[0], match.end()
        behind = _after_blank(source, end)
        if '/' not in word and source[end:end + 1] not in ('.', '[') and (
                word in KEYWORDS or source[behind:behind + 1] == '('):
            return Token('word', word, at), end
        return _path(source, at, word, end)
    if match := PLAIN_STEP.match(source, at):   # behind an operand
        if match[0] not in KEYWORDS:
            raise RuleError(f'an operator was expected, not {match[0][:40]!r}', source, at)
        return Token('word', match[0], at), match.end()
    if source[at] in '\'"':
        value, end = _text(source, at)
        if source[end:end + 1] in ('.', '[') and not operand_stood:
            return _path(source, at, value, end)
        return Token('text', value, at), end
    if match := _SIGN.match(source, at):
        return Token('sign', match[0], at), match.end()
    meant = {'=': '==', '&': 'and', '|': 'or', '!': 'not'}.get(source[at])
    advice = f'; did you mean {meant!r}?' if meant else ''
    raise RuleError(f'{source[at]!r} means nothing here{advice}', source, at)


def _number(source: str, match: re.Match[str]) -> tuple[Token, int]:
    at, end = match.start(), match.end()
    value = float(match[0])   # 1e999 is inf, which is larger
    if value > limits.MAX_NUMBER:
        raise RuleError(f'{match[0]} is larger than {limits.MAX_NUMBER:g}', source, at)
    if source[end:end + 1] in tuple('0123456789.'):
        raise RuleError('this is not a number', source, at)
    word_at = _after_blank(source, end)
    word = PLAIN_STEP.match(source, word_at)
    if word is None or word[0] in KEYWORDS:
        if word is not None and word_at == end:
            raise RuleError(f'a blank is missing between {match[0]} and {word[0]!r}', source, end)
        return Token('number', match[0], at, value), end
    if word[0] not in UNITS:
        raise RuleError(f'{word[0]!r} is not a unit: use {", ".join(UNITS)}', source, word_at)
    return Token('number', match[0], at, value, word[0]), word.end()


def _path(source: str, at: int, topic: str, end: int) -> tuple[Token, int]:
    if not PLAIN_TOPIC.fullmatch(topic) or '__' in topic or len(topic) > limits.MAX_TOPIC:
        raise RuleError(f'{topic[:40]!r} is not the name of a topic', source, at)
    steps: list[str | tuple[int, int | None]] = []
    while source[end:end + 1] in ('.', '['):
        if len(steps) == limits.MAX_PATH_STEPS:
            raise RuleError(f'a path has at most {limits.MAX_PATH_STEPS} steps', source, end)
        if source[end] == '[':
            index, end = _index(source, end)
            steps.append(index)
        else:
            name, end = _name(source, end + 1)
            steps.append(name)
    return Token('path', topic, at, steps=tuple(steps)), end


def _name(source: str, at: int) -> tuple[str, int]:
    if source[at:at + 1] in ("'", '"'):
        value, end = _text(source, at)
        if not 0 < len(value) <= limits.MAX_NAME:
            raise RuleError(f'a name has 1 to {limits.MAX_NAME} characters', source, at)
        return value, end
    match = PLAIN_STEP.match(source, at)
    if match is None:
        raise RuleError("a field's name must stand behind the dot (quote a strange one: "
                        "diagnostics.'left motor'.'temperature C')", source, at)
    return match[0], match.end()


def _index(source: str, at: int) -> tuple[tuple[int, int | None], int]:
    match = _INDEX.match(source, at)
    if match is None or (not match[2] and not match[1]) or (not match[2] and match[3]):
        raise RuleError('an index is [3], a part is [10:20], [:20], [10:] or [:]', source, at)
    first = int(match[1] or 0)
    if not match[2]:
        last = None
    else:
        last = int(match[3]) if match[3] else -1
    if max(first, last or 0) > limits.MAX_INDEX:
        raise RuleError(f'an index is at most {limits.MAX_INDEX}', source, at)
    if last is not None and 0 <= last <= first:
        raise RuleError('this part of the array is empty', source, at)
    return (first, last), match.end()


def _text(source: str, at: int) -> tuple[str, int]:
    match = _TEXT.match(source, at)
    if match is None:
        raise RuleError('this text does not end on its line', source, at)
    parts, inside, escaped = [], match[0][1:-1], False
    for offset, character in enumerate(inside):
        if escaped:
            if character not in _ESCAPES:
                raise RuleError(f'\\{character} is not an escape: use \\\\ \\\' \\" \\n \\t',
                                source, at + offset)
            parts.append(_ESCAPES[character])
            escaped = False
        elif character == '\\':
            escaped = True
        else:
            parts.append(character)
    if len(parts) > limits.MAX_TEXT:
        raise RuleError(f'a text has at most {limits.MAX_TEXT} characters', source, at)
    return ''.join(parts), match.end()


def _after_blank(source: str, at: int) -> int:
    match = _BLANK.match(source, at)
    return match.end() if match else at
