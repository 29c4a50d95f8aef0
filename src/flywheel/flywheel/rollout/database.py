"""The database by its URL: SQLite in a file for a desk and a site, PostgreSQL for a fleet.

The schema comes from the migrations alone (Alembic, `migrations/versions`).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from .errors import RolloutError

_BUSY_MS = 20_000


class Database:
    """Transactions on one database. Threads may share it.

    url: `sqlite:///FILE`, `sqlite://` (in memory, one thread) or `postgresql://USER@HOST/NAME`.
    durable: a commit has reached the disk (SQLite: synchronous=FULL). PostgreSQL's own settings
        decide there.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.engine = _engine(url, durable)
        self.is_sqlite = self.engine.dialect.name == 'sqlite'

    def migrate(self) -> None:
        """Bring the schema to the newest revision; what is there stays. Raises RolloutError."""
        with self._told(), self.engine.begin() as connection:
            if not self.is_sqlite:
                # Two processes that start together: the second waits, and finds nothing to do.
                connection.exec_driver_sql('SELECT pg_advisory_xact_lock(7351001)')
            configuration = _configuration()
            configuration.attributes['connection'] = connection
            command.upgrade(configuration, 'head')

    def revision(self) -> tuple[str | None, str | None]:
        """The schema's revision, and the newest one that this software knows."""
        with self._told(), self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        return current, ScriptDirectory.from_config(_configuration()).get_current_head()

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, undone by an exception.

        SQLite's takes the write lock at its beginning, so what was read stays true until it ends.
        """
        with self._told(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A database that is away, full or locked is one sentence; integrity errors stay."""
        try:
            yield
        except DBAPIError as error:
            if type(error).__name__ in ('OperationalError', 'InterfaceError'):
                reason = str(error.orig).strip().splitlines()[0]
                where = self.engine.url.render_as_string(hide_password=True)
                raise RolloutError(f'the database {where}: {reason}') from error
            raise


def _engine(url: str, durable: bool) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername == 'postgresql':
            parsed = parsed.set(drivername='postgresql+psycopg')
        if parsed.get_backend_name() not in ('sqlite', 'postgresql'):
            raise RolloutError(f'a database of {parsed.get_backend_name()}: sqlite and postgresql '
                               'are known')
        options: dict[str, Any] = {}
        if parsed.get_backend_name() == 'postgresql':
            # A connection that the server has closed is noticed when it is taken after a while.
            options = {'pool_size': 4, 'max_overflow': 2, 'pool_recycle': 300}
        elif not parsed.database:
            options = {'poolclass': StaticPool, 'connect_args': {'check_same_thread': False}}
        engine = create_engine(parsed, **options)
    except ArgumentError as error:
        raise RolloutError(f'the database\'s url cannot be read: {error}') from None
    if engine.dialect.name == 'sqlite':
        _prepare_sqlite(engine, durable)
    return engine


def _prepare_sqlite(engine: Engine, durable: bool) -> None:
    """The write lock is taken at BEGIN; the driver's own late BEGIN is switched off."""
    @event.listens_for(engine, 'connect')
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ('journal_mode=WAL', f'busy_timeout={_BUSY_MS}', 'foreign_keys=ON',
                       f'synchronous={"FULL" if durable else "OFF"}', 'cache_size=-65536',
                       'temp_store=MEMORY'):
            connection.execute(f'PRAGMA {pragma}')

    @event.listens_for(engine, 'begin')
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql('BEGIN IMMEDIATE')


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option('script_location',
                                  str(Path(__file__).parent / 'migrations').replace('%', '%%'))
    configuration.set_main_option('path_separator', 'os')
    return configuration
