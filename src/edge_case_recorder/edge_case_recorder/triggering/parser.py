"""Tokens to a tree, by recursive descent. The grammar is in docs/triggers.md.

    or > and > not > comparison, in > + - > * / > - > atom

Depth and size are counted on the way down, so that no text can exhaust Python's stack.
"""

from collections.abc import Callable

from edge_case_recorder.triggering import limits
from edge_case_recorder.triggering.errors import RuleError
from edge_case_recorder.triggering.lexer import Token, tokens
from edge_case_recorder.triggering.tree import (
    Among,
    Binary,
    Call,
    Logic,
    Node,
    Number,
    Path,
    Span,
    Text,
    Truth,
    Unary,
    children,
)

_COMPARISONS = ('<', '<=', '>', '>=', '==', '!=')


def parse(source: str) -> Node:
    """The whole text as one expression; raises RuleError with the place."""
    parser = _Parser(source)
    tree = parser.alternatives()
    parser.must_end()
    _check_depth(tree, source)
    return tree


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokens(source)
        self._next = 0
        self._nested = 0
        self._nodes = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def alternatives(self) -> Node:
        return self._logic('or', lambda: self._logic('and', self._negation))

    def must_end(self) -> None:
        token = self._token
        if token.kind != 'end':
            what = 'an operator' if token.kind != 'sign' else 'the end'
            raise self._error(f'{what} was expected, not {token.text[:40]!r}')

    def _logic(self, operator: str, operand: Callable[[], Node]) -> Node:
        at = self._token.at
        operands = [operand()]
        while self._take('word', operator):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else self._made(
            Logic(operator, tuple(operands), at))

    def _negation(self) -> Node:
        at = self._token.at
        if not self._take('word', 'not'):
            return self._comparison()
        self._enter()
        operand = self._negation()
        self._nested -= 1
        return self._made(Unary('not', operand, at))

    def _comparison(self) -> Node:
        left: Node = self._sum()
        made: Node
        at, sign = self._token.at, self._token.text
        if self._token.kind == 'sign' and sign in _COMPARISONS:
            self._next += 1
            made = self._made(Binary(sign, left, self._sum(), at))
        elif self._take('word', 'in'):
            made = self._made(Among(left, self._choices(), at))
        else:
            return left
        if self._token.text in (*_COMPARISONS, 'in') and self._token.kind in ('sign', 'word'):
            raise self._error('comparisons cannot be chained: join two with and')
        return made

    def _sum(self) -> Node:
        left = self._product()
        while self._token.kind == 'sign' and self._token.text in ('+', '-'):
            at, sign = self._token.at, self._token.text
            self._next += 1
            left = self._made(Binary(sign, left, self._product(), at))
        return left

    def _product(self) -> Node:
        left = self._negative()
        while self._token.kind == 'sign' and self._token.text in ('*', '/'):
            at, sign = self._token.at, self._token.text
            self._next += 1
            left = self._made(Binary(sign, left, self._negative(), at))
        return left

    def _negative(self) -> Node:
        at = self._token.at
        if not self._take('sign', '-'):
            return self._atom()
        self._enter()
        operand = self._negative()
        self._nested -= 1
        return self._made(Unary('-', operand, at))

    def _atom(self) -> Node:
        token = self._token
        self._next += token.kind != 'end'
        match token.kind:
            case 'number':
                return self._made(Number(token.value, token.unit, token.at))
            case 'text':
                return self._made(Text(token.text, token.at))
            case 'path':
                return self._made(Path(token.text, _steps(token), token.at))
            case 'word' if token.text in ('true', 'false'):
                return self._made(Truth(token.text == 'true', token.at))
            case 'word' if self._take('sign', '('):
                return self._made(Call(token.text, self._arguments(), token.at))
            case 'sign' if token.text == '(':
                self._enter()
                inside = self.alternatives()
                self._must(')')
                self._nested -= 1
                return inside
        self._next -= token.kind != 'end'
        found = 'the end' if token.kind == 'end' else repr(token.text[:40])
        raise self._error(f'a field, a value or a function was expected, not {found}')

    def _arguments(self) -> tuple[Node, ...]:
        self._enter()
        arguments = [self.alternatives()]
        while self._take('sign', ','):
            arguments.append(self.alternatives())
        self._must(')')
        self._nested -= 1
        return tuple(arguments)

    def _choices(self) -> tuple[Number | Text, ...]:
        if not self._take('sign', '('):
            raise self._error("behind in stands a list: in ('hold', 'onnx')")
        choices: list[Number | Text] = []
        while True:
            at = self._token.at
            negative = self._take('sign', '-')
            choice = self._atom()
            if isinstance(choice, Number) and negative:
                choice = Number(-choice.value, choice.unit, at)
            elif not isinstance(choice, Number | Text) or negative:
                raise RuleError('behind in stand texts or numbers only', self._source, at)
            choices.append(choice)
            if len(choices) > limits.MAX_CHOICES:
                raise RuleError(f'behind in stand at most {limits.MAX_CHOICES} values',
                                self._source, at)
            if not self._take('sign', ','):
                break
        self._must(')')
        return tuple(choices)

    def _take(self, kind: str, text: str) -> bool:
        if self._token.kind == kind and self._token.text == text:
            self._next += 1
            return True
        return False

    def _must(self, sign: str) -> None:
        if not self._take('sign', sign):
            found = 'the end' if self._token.kind == 'end' else repr(self._token.text[:40])
            raise self._error(f'{sign!r} was expected, not {found}')

    def _enter(self) -> None:
        self._nested += 1
        if self._nested > limits.MAX_DEPTH:
            raise self._error(f'nested deeper than {limits.MAX_DEPTH}')

    def _made[T: Node](self, node: T) -> T:
        self._nodes += 1
        if self._nodes > limits.MAX_NODES:
            raise RuleError(f'more than {limits.MAX_NODES} parts: make two rules of it',
                            self._source, node.at)
        return node

    def _error(self, sentence: str) -> RuleError:
        return RuleError(sentence, self._source, self._token.at)


def _steps(token: Token) -> tuple[str | int | Span, ...]:
    steps: list[str | int | Span] = []
    for step in token.steps:
        if isinstance(step, str):
            steps.append(step)
        else:
            first, last = step
            steps.append(first if last is None else Span(first, last))
    return tuple(steps)


def _check_depth(tree: Node, source: str) -> None:
    """Long sums nest to the left without a parenthesis; the tree is walked without recursion."""
    level = [tree]
    for _ in range(limits.MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return
    raise RuleError(f'nested deeper than {limits.MAX_DEPTH}', source, level[0].at)
