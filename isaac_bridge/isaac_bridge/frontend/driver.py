"""When a world goes on: freely on the steady clock, in lock-step with its answers, or by request.

Everything here runs in one thread, between the executor's callbacks; whatever takes long gives way
to them at every frame.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future

from ..pace import Pace
from ..parameters import Parameters
from ..world import World
from .lockstep import Gate
from .machine import Answer, Code, Machine, State
from .runner import Runner

MOST_STEPS = 1_000_000
_GIVE_WAY = 50          # steps between two looks at what else there is to do


class Driver:
    """`tick` is to be called by a steady timer of `tick_s`, `answered` for each answer."""

    def __init__(self, node: Node, world: World, runner: Runner, machine: Machine, gate: Gate,
                 settings: Parameters) -> None:
        self._node, self._world, self._runner = node, world, runner
        self._machine, self._gate = machine, gate
        self.lockstep = settings.mode == 'lockstep'
        self._pauses = settings.on_silence == 'pause'
        self._requests_wait = self.lockstep and settings.requests_wait
        self._pace = Pace(world.step_ns, settings.real_time_factor, slack=runner.steps_a_scan)
        self._pace.real_time_factor(time.monotonic_ns())    # from here on
        factor = settings.lockstep_real_time_factor
        self._cycle_ns = runner.steps_a_scan * world.step_ns / factor if factor > 0.0 else 0.0
        self._due_ns = 0.0
        self._opening: Future | None = None
        self._queued = False
        self.cycles = 0
        self.newly_silent: tuple[str, ...] = ()     # since somebody last took it
        if self.lockstep:
            self.tick_s = 0.001 if factor > 0.0 else 0.02
        else:
            self.tick_s = max(world.step_ns * 1e-9 / settings.real_time_factor, 0.001)

    def real_time_factor(self) -> float:
        """Simulated over steady time since this was last asked."""
        return self._pace.real_time_factor(time.monotonic_ns())

    def answered(self, topic: str, stamp_ns: int) -> None:
        if not self.lockstep:
            return
        self._gate.heard(topic, stamp_ns, self._world.t_ns)
        if self._gate.open:
            self._opened()
            self._cycle()

    def began(self) -> None:
        """After a load or a reset."""
        self._gate.clear()
        self._opened()
        self._runner.began()

    def played(self) -> None:
        """The state became PLAYING."""
        self._gate.restart(time.monotonic_ns())
        self._cycle()

    def tick(self) -> None:
        playing = self._machine.state == State.PLAYING
        if not self.lockstep:
            if playing:
                due = self._pace.due(time.monotonic_ns(), self._runner.to_scan())
                if due:
                    self._runner.advance(due)
            return
        if playing or self._opening is not None:
            self._watch()
        self._cycle()

    def _watch(self) -> None:
        """The watchdog: nobody's silence holds the world for ever."""
        late = self._gate.timed_out(time.monotonic_ns())
        if not late:
            return
        self.newly_silent = late
        self._node.get_logger().warning(
            f'no answer from {", ".join(late)} to the scan of {self._runner.scan_ns} ns; the world '
            f'{"pauses" if self._pauses else "goes on"}', throttle_duration_sec=5.0)
        if self._pauses and self._machine.state == State.PLAYING:
            self._machine.set(State.PAUSED)
        self._opened(late)

    def _cycle(self) -> None:
        """On to the next scan, if this one is answered and the pace allows."""
        self._queued = False
        if not (self.lockstep and self._machine.state == State.PLAYING and self._gate.open):
            return
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            return
        # A cycle that was late by more than its length is not made up: no burst.
        self._due_ns = max(self._due_ns + self._cycle_ns, float(now_ns))
        steps = self._runner.to_scan()
        self._runner.advance(steps)
        self._pace.count(steps)
        self.cycles += 1
        self._expect()
        if self._gate.open and self._cycle_ns == 0.0 and not self._queued:
            self._queued = True     # nobody is waited for: on, after what else there is to do
            self._executor.create_task(self._cycle)

    def _expect(self) -> None:
        if self._runner.scan_ns is not None:
            self._gate.expect(self._runner.scan_ns, time.monotonic_ns())

    def _opened(self, late: tuple[str, ...] = ()) -> None:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            opening.set_result(late)

    async def steps(self, count: int, told: Callable[[int], None] | None = None,
                    cancelled: Callable[[], bool] | None = None) -> tuple[Answer, int]:
        """Exactly so many physics steps of a paused world, and how many there were.

        It returns when all that was due on the way has left. told: called after each step with how
        many are done; cancelled: asked before each.
        """
        may = self._machine.may_step(count, MOST_STEPS)
        if not may.ok:
            return may, 0
        self._machine.busy = f'{count} step{"s" if count > 1 else ""}'
        done = 0
        shown = True
        try:
            while done < count:
                if cancelled is not None and cancelled():
                    return Answer(Code.OK, f'cancelled after {done} of {count} steps'), done
                refused = await self._allowed()
                if refused:
                    return Answer(Code.OPERATION_FAILED, f'{refused}, after {done} of {count} '
                                  'steps'), done
                size = 1 if told is not None else min(count - done, self._runner.to_frame())
                scan_ns = self._runner.scan_ns
                shown = self._runner.advance(size)
                done += size
                if self.lockstep and self._runner.scan_ns != scan_ns:
                    self._expect()
                if told is not None:
                    told(done)
                if done % _GIVE_WAY == 0:
                    await self.others()
            return Answer(), done
        finally:
            if not shown:
                self._runner.show_clock()
            self._machine.busy = ''

    async def _allowed(self) -> str:
        """Why the next step of a request may not be made; empty when it may."""
        if self._machine.state != State.PAUSED:
            return f'the simulation is {self._machine.state.name}'
        if self._requests_wait and not self._gate.open:
            self._gate.restart(time.monotonic_ns())
            self._opening = Future(executor=self._executor)
            late = await self._opening
            if late and self._pauses:
                return f'no answer from {", ".join(late)}'
        return ''

    async def others(self) -> None:
        """Let every other callback that is due run first."""
        turn: Future = Future(executor=self._executor)
        self._executor.create_task(turn.set_result, None)
        await turn

    @property
    def _executor(self) -> Executor:
        executor = self._node.executor
        assert executor is not None     # it is what runs this
        return executor

    def describe(self) -> Iterator[tuple[str, Any]]:
        """For diagnostics."""
        yield 'cycles', self.cycles
        yield 'waiting_for', ', '.join(self._gate.waiting)
        for topic in self._gate.topics:
            yield f'unanswered {topic}', self._gate.unanswered[topic]
            yield f'stamps of the future {topic}', self._gate.strangers[topic]
