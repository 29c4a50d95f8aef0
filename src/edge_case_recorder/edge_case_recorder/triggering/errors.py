"""What is wrong with a rule, and where."""


class RuleError(ValueError):
    """A rule cannot be used. `sentence` says why; `line` and `column` (from 1) say where.

    str() is the sentence, then the line of the rule, then a caret under the place.
    """

    def __init__(self, sentence: str, source: str = '', at: int = 0) -> None:
        at = min(max(at, 0), len(source))
        before = source[:at]
        self.sentence = sentence
        self.at = at
        self.line = before.count('\n') + 1
        self.column = at - (before.rfind('\n') + 1) + 1
        lines = source.split('\n')
        self.excerpt, self.caret = _excerpt(lines[self.line - 1], self.column)
        where = f'line {self.line}, column {self.column}: {sentence}'
        super().__init__(f'{where}\n  {self.excerpt}\n  {self.caret}' if source else where)


def _excerpt(line: str, column: int, width: int = 90) -> tuple[str, str]:
    """The part of a long line around the column, and a caret below it; controls are blanks."""
    first = max(0, min(column - 1 - width // 2, len(line) - width))
    shown = ''.join(c if c.isprintable() else ' ' for c in line[first:first + width])
    return shown.rstrip(), ' ' * (column - 1 - first) + '^'
