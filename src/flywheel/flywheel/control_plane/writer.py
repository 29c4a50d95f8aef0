"""One thread that talks to the database, and reports that are committed in groups.

A commit costs a flush of the disk whether it holds one report or a hundred. So what comes within
a few milliseconds goes into one transaction; each robot is answered after its commit.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from flywheel.rollout.database import Database
from flywheel.rollout.intake import Ack, Intake
from flywheel.rollout.reports import Report

T = TypeVar('T')
MOST_WAITING = 20_000


class BusyError(RuntimeError):
    """More reports wait than the database takes; robots come again."""


class Writer:
    """window_s: how long the first report of a group waits for others."""

    def __init__(self, database: Database, clock_ms: Callable[[], int], window_s: float) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._window_s = window_s
        self._intake = Intake()
        self._thread = ThreadPoolExecutor(1, 'database')
        self._waiting: list[tuple[Sequence[Report], asyncio.Future[list[Ack]]]] = []
        self._count = 0
        self._some = asyncio.Event()

    async def take(self, reports: Sequence[Report]) -> list[Ack]:
        """Returns when they are committed; raises BusyError, and what the database raises."""
        if self._count + len(reports) > MOST_WAITING:
            raise BusyError('too many reports wait for the database')
        future: asyncio.Future[list[Ack]] = asyncio.get_running_loop().create_future()
        self._waiting.append((reports, future))
        self._count += len(reports)
        self._some.set()
        return await future

    async def call(self, work: Callable[[Connection], T]) -> T:
        """A transaction of its own, after those that wait already."""
        def run() -> T:
            with self._database.begin() as connection:
                return work(connection)
        return await self.run(run)

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def write_forever(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._window_s)
            group, self._waiting = self._waiting, []
            self._count = 0
            self._some.clear()
            try:
                acks = await self.run(lambda group=group: self._commit(  # type: ignore[misc]
                    [report for reports, _ in group for report in reports]))
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            first = 0
            for reports, future in group:
                if not future.done():
                    future.set_result(acks[first:first + len(reports)])
                first += len(reports)

    def close(self) -> None:
        self._thread.shutdown()

    def _commit(self, reports: Sequence[Report]) -> list[Ack]:
        with self._database.begin() as connection:
            return self._intake.take(connection, reports, self._clock_ms())
