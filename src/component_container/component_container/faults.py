"""What went wrong in which node, when, and how often: for the log and for diagnostics."""

import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field

OK, WARN, ERROR = 0, 1, 2  # diagnostic_msgs/DiagnosticStatus
LOG_EVERY_NS = 5_000_000_000
FRESH_NS = 10_000_000_000
MAX_GONE = 100


@dataclass(frozen=True)
class Fault:
    """An exception in a callback of a node."""

    node: str
    callback: str
    error: str
    trace: str

    @classmethod
    def of(cls, node: str, callback: str, error: BaseException) -> 'Fault':
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:
            trace = trace.tb_next  # the first frame is the container's own
        lines = traceback.format_exception(type(error), error, trace)
        return cls(node, callback, explain(error), ''.join(lines).rstrip())


def explain(error: BaseException) -> str:
    """An exception in a line: its type, its text and where it was raised."""
    text = ' '.join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else ''
    return f'{type(error).__name__}{": " + text if text else ""}{place}'


@dataclass
class _Entry:
    fault: Fault
    count: int = 0
    last_ns: int = 0
    logged_ns: int | None = None


@dataclass(frozen=True)
class Status:
    """A diagnostic_msgs/DiagnosticStatus in plain words."""

    name: str
    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)


class FaultLog:
    """The faults of the nodes, one entry a node and callback. Used from several threads.

    `busy_ns`: how long a callback may run before it is worth a warning.
    """

    def __init__(self, busy_ns: int) -> None:
        self._busy_ns = busy_ns
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._gone: dict[str, str] = {}
        self._lock = threading.Lock()

    def count(self, node: str, callback: str, error: BaseException,
              now_ns: int) -> tuple[Fault, int] | None:
        """Note an exception. The fault and how often it came, if it is time to log it.

        A callback that fails at 200 Hz must not fill the disk: a line every 5 s is enough.
        """
        with self._lock:
            entry = self._entries.get((node, callback))
            if entry is None:
                entry = self._entries[node, callback] = _Entry(Fault.of(node, callback, error))
            entry.count += 1
            entry.last_ns = now_ns
            if entry.logged_ns is not None and now_ns - entry.logged_ns < LOG_EVERY_NS:
                return None
            entry.logged_ns = now_ns
            entry.fault = Fault.of(node, callback, error)
            return entry.fault, entry.count

    def gone(self, node: str, what: str) -> None:
        """The node was taken out because of a fault; it stays an error until it is back."""
        with self._lock:
            self._gone[node] = what
            if len(self._gone) > MAX_GONE:
                del self._gone[next(iter(self._gone))]

    def forget(self, node: str) -> None:
        """The node was loaded anew, or unloaded on purpose."""
        with self._lock:
            self._gone.pop(node, None)
            for key in [key for key in self._entries if key[0] == node]:
                del self._entries[key]

    def statuses(self, running: Iterable[tuple[str, str, tuple[str, int] | None]],
                 now_ns: int) -> list[Status]:
        """One status a node: those loaded, as (name, plugin, Gate.longest), and those gone.

        ERROR: it raised in the last 10 s, or was taken out. WARN: it raised before that, or has
        been in one callback for more than busy_ns, which stops its thread's other nodes as well.
        """
        with self._lock:
            latest: dict[str, _Entry] = {}
            for (node, _), entry in self._entries.items():
                if node not in latest or entry.last_ns > latest[node].last_ns:
                    latest[node] = entry
            statuses = [self._running(name, plugin, inside, latest.get(name), now_ns)
                        for name, plugin, inside in running if name not in self._gone]
            return statuses + [Status(name, ERROR, what, _values(latest.get(name), now_ns))
                               for name, what in self._gone.items()]

    def _running(self, name: str, plugin: str, inside: tuple[str, int] | None,
                 entry: _Entry | None, now_ns: int) -> Status:
        values = {'plugin': plugin} | _values(entry, now_ns)
        if inside is not None and now_ns - inside[1] > self._busy_ns:
            seconds = (now_ns - inside[1]) / 1e9
            return Status(name, WARN, f'in {inside[0]} for {seconds:.1f} s', values)
        if entry is not None:
            level = ERROR if now_ns - entry.last_ns < FRESH_NS else WARN
            return Status(name, level, f'{entry.fault.callback} raised {entry.fault.error}', values)
        return Status(name, OK, 'running', values)


def _values(entry: _Entry | None, now_ns: int) -> dict[str, str]:
    if entry is None:
        return {}
    return {'callback': entry.fault.callback, 'exception': entry.fault.error,
            'count': str(entry.count), 'age_s': f'{(now_ns - entry.last_ns) / 1e9:.0f}',
            'traceback': entry.fault.trace}
