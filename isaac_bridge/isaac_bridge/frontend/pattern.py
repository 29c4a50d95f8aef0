"""POSIX extended regular expressions in time linear in the text: a filter must not stall a world.

Thompson's construction: a set of states goes through the text, so nothing is ever tried twice.
Concatenation, |, (), *, +, ?, {m,n}, ., [..] with ranges and [:classes:], ^, $, and \\ before a
character. No back references, which extended expressions do not have.
"""

import string
from collections.abc import Callable

MAX_PATTERN, MAX_NODES, MAX_REPEAT, MAX_DEPTH = 256, 4000, 64, 8
_CLASSES = {
    'alpha': string.ascii_letters, 'digit': string.digits, 'upper': string.ascii_uppercase,
    'alnum': string.ascii_letters + string.digits, 'lower': string.ascii_lowercase,
    'punct': string.punctuation, 'space': string.whitespace, 'blank': ' \t',
    'xdigit': string.hexdigits}
Test = Callable[[str], bool]
_ONCE: int | None = 1


class PatternError(ValueError):
    """One sentence about a pattern that is none."""


class Pattern:
    """Raises PatternError."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise PatternError(f'the filter is longer than {MAX_PATTERN} characters')
        self._text, self._at, self._depth = text, 0, 0
        # A state: ('test', Test, next), ('split', next, next), ('begin'|'end', next), or None.
        self._states: list[tuple | None] = [None]
        self._first = self._choice(0)
        if self._at < len(text):
            raise PatternError(f'the filter has an unmatched {text[self._at]!r}')

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in the text."""
        now: set[int] = set()
        for i in range(len(text) + 1):
            self._follow(self._first, now, i == 0, i == len(text))
            if 0 in now:
                return True
            after: set[int] = set()
            for state in now:
                entry = self._states[state]
                if entry and entry[0] == 'test' and i < len(text) and entry[1](text[i]):
                    self._follow(entry[2], after, False, i + 1 == len(text))
            now = after
            if 0 in now:
                return True
        return False

    def _follow(self, state: int, into: set[int], begin: bool, end: bool) -> None:
        todo = [state]
        while todo:
            at = todo.pop()
            if at in into:
                continue
            into.add(at)
            entry = self._states[at]
            if entry is None or entry[0] == 'test':
                continue
            if entry[0] == 'split':
                todo += entry[1:]
            elif begin if entry[0] == 'begin' else end:
                todo.append(entry[1])

    def _add(self, *entry: object) -> int:
        if len(self._states) >= MAX_NODES:
            raise PatternError('the filter is too large: its repetitions multiply')
        self._states.append(entry)
        return len(self._states) - 1

    # Each parser below takes the state that follows, and gives the state that begins. The text is
    # read again for each copy of a repeated part, so parts are kept as (from, to) of it.
    def _choice(self, then: int) -> int:
        begins = [self._sequence(then)]
        while self._peek() == '|':
            self._at += 1
            begins.append(self._sequence(then))
        first = begins.pop()
        while begins:
            first = self._add('split', begins.pop(), first)
        return first

    def _sequence(self, then: int) -> int:
        parts: list[tuple[int, int, int, int | None]] = []      # from, to, least, most
        while self._peek() not in ('', '|', ')'):
            begin = self._at
            self._skip_atom()
            end = self._at
            least, most = 1, _ONCE
            while self._peek() and self._peek() in '*+?{':
                if (least, most) != (1, _ONCE):
                    raise PatternError('the filter repeats a repetition: put it in ( )')
                least, most = self._repeat()
            parts.append((begin, end, least, most))
        after, here = self._at, then
        for begin, _, least, most in reversed(parts):
            here = self._repeated(begin, least, most, here)
        self._at = after
        return here

    def _repeated(self, begin: int, least: int, most: int | None, then: int) -> int:
        here = then
        if most is None:
            loop = self._add('split', then, then)
            self._states[loop] = ('split', self._atom_at(begin, loop), then)
            here = loop
        else:
            for _ in range(most - least):
                here = self._add('split', self._atom_at(begin, here), then)
        for _ in range(least):
            here = self._atom_at(begin, here)
        return here

    def _repeat(self) -> tuple[int, int | None]:
        sign = self._take()
        if sign != '{':
            return {'*': (0, None), '+': (1, None), '?': (0, 1)}[sign]
        end = self._text.find('}', self._at)
        body = self._text[self._at:end] if end >= 0 else ''
        low, comma, high = body.partition(',')
        if not low.isascii() or not low.isdigit() or (high and not high.isdigit()):
            raise PatternError('the filter has a { that is not {m}, {m,} or {m,n}')
        self._at = end + 1
        least, most = int(low), int(high) if high else None if comma else int(low)
        if least > MAX_REPEAT or (most is not None and not least <= most <= MAX_REPEAT):
            raise PatternError(f'the filter repeats {{{body}}} times: 0 to {MAX_REPEAT}, in order')
        return least, most

    def _skip_atom(self) -> None:
        """Go behind it; what it builds here leads nowhere and is never entered."""
        kept = len(self._states)
        self._atom(0)
        del self._states[kept:]

    def _atom_at(self, begin: int, then: int) -> int:
        self._at = begin
        return self._atom(then)

    def _atom(self, then: int) -> int:
        sign = self._take()
        if sign == '(':
            self._depth += 1
            if self._depth > MAX_DEPTH:     # each level is read twice as often as the one around it
                raise PatternError(f'the filter has more than {MAX_DEPTH} groups in each other')
            inner = self._choice(then)
            self._depth -= 1
            if self._take() != ')':
                raise PatternError("the filter has a '(' without its ')'")
            return inner
        if sign in '*+?{':
            raise PatternError(f'the filter has a {sign!r} with nothing to repeat')
        if sign in '^$':
            return self._add('begin' if sign == '^' else 'end', then)
        return self._add('test', self._test(sign), then)

    def _test(self, sign: str) -> Test:
        if sign == '.':
            return lambda _: True
        if sign == '[':
            return self._bracket()
        if sign == '\\':
            sign = self._take()
        return lambda character: character == sign

    def _bracket(self) -> Test:
        negated = self._peek() == '^'
        self._at += negated
        singles, ranges, first = '', [], True
        while first or self._peek() != ']':
            first = False
            sign = self._take()
            if sign == '[' and self._peek() == ':':
                end = self._text.find(':]', self._at)
                name = self._text[self._at + 1:end] if end > 0 else ''
                if name not in _CLASSES:
                    raise PatternError(f'the filter has no class [:{name}:]')
                singles, self._at = singles + _CLASSES[name], end + 2
            elif self._peek() == '-' and self._text[self._at + 1:self._at + 2] not in ('', ']'):
                self._at += 1
                ranges.append((sign, self._take()))
            else:
                singles += sign
        self._at += 1
        return lambda character: negated != (
            character in singles or any(low <= character <= high for low, high in ranges))

    def _peek(self) -> str:
        return self._text[self._at:self._at + 1]

    def _take(self) -> str:
        sign = self._peek()
        if not sign:
            raise PatternError('the filter ends in the middle')
        self._at += 1
        return sign
