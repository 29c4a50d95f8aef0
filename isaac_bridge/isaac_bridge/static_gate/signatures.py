"""Whether the arguments of a call fit a function, by their sources."""

import ast

from .modules import Class, Function, Index


def problems(call: ast.Call, function: Function, index: Index, receiver: Class | None,
             bound: bool) -> list[str]:
    """What is wrong with a call's arguments.

    bound: the first parameter is not given by the call. receiver: the class that it is called on,
    or that it makes; a class method that hands its keywords to `cls(..)` is held against that
    class's own `__init__`.
    """
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if bound else 0:]
    names = {argument.arg for argument in arguments.args} | {
        argument.arg for argument in arguments.kwonlyargs}
    found = []
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(
            keyword.arg is None for keyword in call.keywords):
        found.append('its arguments are unpacked, so they cannot be checked: write them out')
        return found
    if len(call.args) > len(positional) and arguments.vararg is None:
        found.append(f'takes {len(positional)} arguments by position, not {len(call.args)}')
    given = {argument.arg for argument in positional[:len(call.args)]}
    extra = []
    for keyword in call.keywords:
        assert keyword.arg is not None
        if keyword.arg in given:
            found.append(f'gets {keyword.arg} twice')
        given.add(keyword.arg)
        if keyword.arg not in names:
            extra.append(keyword)
    if extra and arguments.kwarg is None:
        found.extend(f'has no argument {keyword.arg}' for keyword in extra)
    elif extra and receiver is not None and _hands_on(function):
        found.extend(_of_constructor(extra, receiver, index))
    defaults = len(arguments.defaults)
    needed = positional[:len(positional) - defaults] if defaults else positional
    found.extend(f'lacks {argument.arg}' for argument in needed if argument.arg not in given)
    found.extend(f'lacks {argument.arg}'
                 for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults,
                                              strict=True)
                 if default is None and argument.arg not in given)
    return found


def _hands_on(function: Function) -> bool:
    """Whether a class method ends in `cls(.., **keywords)`."""
    keywords = function.node.args.kwarg
    return function.kind == 'class' and keywords is not None and any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
        and part.func.id == function.node.args.args[0].arg
        and any(given.arg is None and isinstance(given.value, ast.Name)
                and given.value.id == keywords.arg for given in part.keywords)
        for part in ast.walk(function.node))


def _of_constructor(extra: list[ast.keyword], receiver: Class, index: Index) -> list[str]:
    made = index.of_class(receiver, '__init__')
    if not isinstance(made, Function) or made.node.args.kwarg is not None:
        return [f'hands {keyword.arg} on to a constructor that cannot be read' for keyword in extra]
    arguments = made.node.args
    names = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}
    return [f'hands {keyword.arg} on to {receiver.node.name}, which has no such argument'
            for keyword in extra if keyword.arg not in names]


def literals(call: ast.Call, function: Function, index: Index, bound: bool) -> list[str]:
    """What is wrong with strings where the function's annotation lists the allowed ones."""
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if bound else 0:]
    annotated = {argument.arg: argument.annotation
                 for argument in (*positional, *arguments.kwonlyargs)}
    pairs = [(argument.arg, value) for argument, value in zip(positional, call.args, strict=False)]
    pairs += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
    found = []
    for name, value in pairs:
        allowed = _allowed(annotated.get(name), function.module, index)
        given = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
        for item in given:
            if (allowed and isinstance(item, ast.Constant) and isinstance(item.value, str)
                    and item.value not in allowed):
                found.append(f'{name} is one of {", ".join(sorted(allowed))}, not {item.value!r}')
    return found


def _allowed(annotation: ast.expr | None, module: str, index: Index) -> set[str]:
    """The strings of the Literal in an annotation, which may stand under a name of the module."""
    from .modules import Variable
    allowed: set[str] = set()
    for part in ast.walk(annotation) if annotation is not None else ():
        if isinstance(part, ast.Name):
            symbol = index.member(module, part.id)
            if isinstance(symbol, Variable) and symbol.value is not None:
                allowed |= _allowed(symbol.value, symbol.module, index)
        elif isinstance(part, ast.Subscript) and ast.unparse(part.value).endswith('Literal'):
            allowed |= {item.value for item in ast.walk(part.slice)
                        if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    return allowed
