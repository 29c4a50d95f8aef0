"""What stands between an executor and the callbacks of one loaded node.

An executor that meets an exception stops: EventsExecutor and SingleThreadedExecutor at once, with
no word of whose it was, MultiThreadedExecutor with the next event. EventsExecutor even forgets the
messages of the same batch. So no exception may reach it: every callback of a loaded node runs
behind a gate, which reports what is raised, knows what is running, and lets nothing in once closed.

Nothing here imports rclpy: entities are known by their attributes.
"""

import functools
import inspect
import itertools
import threading
import types
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

# What a callback returns that was not run, or not to its end. No answer is sent for it: a made-up
# response would be a lie, while silence is what the client of a dead node sees.
DROPPED = object()

_CREATORS = ('create_subscription', 'create_timer', 'create_service', 'add_waitable')


class UnsupportedCallback(TypeError):
    """The container's executor cannot run this callback; the message says which and what to do."""


class Gate:
    """Who is inside a node's callbacks, and whether anybody may still enter.

    `enter` and `leave` run on executor threads with every callback and take no lock: a caller
    first writes itself down and then reads `closed`, `close` does it the other way round, so one
    of the two always sees the other. `now_ns` is a steady clock in nanoseconds; `on_error` gets
    the callback's description and the exception, on the thread that raised it.
    """

    def __init__(self, now_ns: Callable[[], int],
                 on_error: Callable[[str, BaseException], None]) -> None:
        self._now_ns = now_ns
        self._on_error = on_error
        self._inside: dict[int, tuple[str, int]] = {}
        self._tokens = itertools.count()
        self._closed = False
        self._left = threading.Condition()
        self._awaited: set[Any] = set()

    @property
    def closed(self) -> bool:
        return self._closed

    def enter(self, what: str) -> int | None:
        """A token for `leave`, or None if the gate is closed."""
        token = next(self._tokens)
        self._inside[token] = (what, self._now_ns())
        if self._closed:
            self.leave(token)
            return None
        return token

    def leave(self, token: int) -> None:
        del self._inside[token]
        if self._closed:
            with self._left:
                self._left.notify_all()

    def close(self) -> None:
        """Let nobody in any more; who is inside finishes."""
        self._closed = True

    def wait_idle(self, timeout_s: float | None) -> bool:
        """After `close`: wait until nobody is inside; False if that took too long."""
        with self._left:
            return self._left.wait_for(lambda: not self._inside, timeout_s)

    def longest(self) -> tuple[str, int] | None:
        """The callback that has been inside longest and the time it entered, in nanoseconds."""
        return min(dict(self._inside).values(), key=lambda item: item[1], default=None)

    def release_awaited(self) -> None:
        """After `close`: end the coroutines that wait for a future, which may never be done."""
        for future in list(self._awaited):
            future.cancel()

    def guard(self, what: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The callback behind the gate, with its signature and its kind kept."""
        if inspect.iscoroutinefunction(callback):
            @functools.wraps(callback)
            async def guarded_coroutine(*args: Any) -> Any:
                return await self._drive(what, callback(*args))
            return guarded_coroutine

        @functools.wraps(callback)
        def guarded(*args: Any) -> Any:
            token = self.enter(what)
            if token is None:
                return DROPPED
            try:
                return callback(*args)
            except (Exception, SystemExit) as error:
                # SystemExit too: a component must not end its neighbours.
                self._on_error(what, error)
                return DROPPED
            finally:
                self.leave(token)
        return guarded

    def watch_silent(self, what: str, callback: Callable[..., Any],
                     on_error: Callable[[str, BaseException], None]) -> Callable[..., Any]:
        """The callback with its exceptions told to `on_error` and raised on."""
        @functools.wraps(callback)
        def watched(*args: Any) -> Any:
            try:
                return callback(*args)
            except Exception as error:
                on_error(what, error)
                raise
        return watched

    @types.coroutine
    def _drive(self, what: str, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run a coroutine so that only its running pieces, not its waits, count as inside."""
        step = functools.partial(coroutine.send, None)
        while True:
            token = self.enter(what)
            if token is None:
                coroutine.close()
                return DROPPED
            try:
                awaited = step()
            except StopIteration as stop:
                return stop.value
            except (Exception, SystemExit) as error:
                self._on_error(what, error)
                return DROPPED
            finally:
                self.leave(token)
            if awaited is not None:
                self._awaited.add(awaited)
            step = functools.partial(coroutine.send, None)
            try:
                yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # asyncio throws a cancellation in
                step = functools.partial(coroutine.throw, error)
            finally:
                self._awaited.discard(awaited)


class Watch:
    """Puts every entity of a node behind its gate: those it has, and those it creates later.

    `one_argument` says that the executor is rclpy's EventsExecutor, which calls subscriptions with
    the message alone and awaits nothing; a callback that needs more raises UnsupportedCallback,
    from here for the entities that exist, and from `create_*` in the node for later ones.
    """

    def __init__(self, node: Any, gate: Gate, one_argument: bool,
                 on_transition_error: Callable[[str, BaseException], None]) -> None:
        self._node = node
        self._gate = gate
        self._one_argument = one_argument
        self._on_transition_error = on_transition_error
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        self.sweep()
        self._watch_transitions()
        for name in _CREATORS:
            setattr(node, name, self._sweeping(getattr(node, name)))

    def remove(self) -> None:
        """Take the hooks off the node, which would keep it alive until a garbage collection."""
        for name in _CREATORS:
            vars(self._node).pop(name, None)

    def sweep(self) -> None:
        """Guard what is not guarded yet; raises UnsupportedCallback."""
        node = self._node
        for subscription in self._new(node.subscriptions):
            self._guard_callback(subscription, f"subscription to '{subscription.topic_name}'")
        for timer in self._new(node.timers):
            if timer.callback is not None:
                self._guard_callback(timer, f'timer of {timer.timer_period_ns / 1e9:g} s')
        for service in self._new(node.services):
            self._guard_callback(service, f"service '{service.srv_name}'")
            service.send_response = self._sending(service.send_response)
        for waitable in self._new(node.waitables):
            what = f'{type(waitable).__name__} ({_name(getattr(waitable, "callback", waitable))})'
            waitable.take_data = self._gate.guard(what, waitable.take_data)
            waitable.execute = self._gate.guard(what, waitable.execute)

    def _new(self, entities: Iterable[Any]) -> list[Any]:
        found = [entity for entity in list(entities) if entity not in self._seen]
        self._seen.update(found)
        return found

    def _guard_callback(self, entity: Any, what: str) -> None:
        callback = entity.callback
        what = f'{what} ({_name(callback)})'
        if self._one_argument:
            why = _unsupported(entity, callback)
            if why:
                raise UnsupportedCallback(
                    f'{what} {why}: start the container with --executor single or multi')
        entity.callback = self._gate.guard(what, callback)

    def _sweeping(self, create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        def create_and_sweep(*args: Any, **kwargs: Any) -> Any:
            entity = create(*args, **kwargs)
            try:
                self.sweep()
            except UnsupportedCallback:
                getattr(self._node, create.__name__.replace('create', 'destroy'))(entity)
                raise
            return entity
        return create_and_sweep

    def _sending(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def send_unless_dropped(response: Any, header: Any) -> None:
            if response is DROPPED:
                return
            try:
                send(response, header)
            except Exception:
                # An unload may destroy the service between the callback and its answer.
                if not self._gate.closed:
                    raise
        return send_unless_dropped

    def _watch_transitions(self) -> None:
        """rclpy swallows what a lifecycle transition raises and goes to error processing."""
        transitions = getattr(self._node, '_callbacks', None)
        if hasattr(self._node, 'trigger_configure') and isinstance(transitions, dict):
            for state, callback in transitions.items():
                transitions[state] = self._gate.watch_silent(
                    f'transition ({_name(callback)})', callback, self._on_transition_error)


def owner(error: BaseException, nodes: Iterable[Any]) -> Any | None:
    """Whose exception it is that came past the gates: the node that its frames have in hand.

    Done-callbacks of futures are such: executors run them as tasks that know of no node.
    """
    nodes = list(nodes)
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        for value in list(frame.f_locals.values()):
            for node in nodes:
                if value is node:
                    return node
    return None


def _unsupported(entity: Any, callback: Callable[..., Any]) -> str:
    if inspect.iscoroutinefunction(callback):
        return 'is a coroutine, which the EventsExecutor does not await'
    if hasattr(entity, 'msg_type'):
        try:
            inspect.signature(callback).bind(object())
        except TypeError:
            return "takes the message's info as well, which the EventsExecutor does not give"
    return ''


def _name(callback: Any) -> str:
    if isinstance(callback, functools.partial):
        callback = callback.func
    return getattr(callback, '__qualname__', type(callback).__qualname__)
