"""What needs no ROS: plugins, arguments, faults, the gate."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from component_container import arguments, faults, guard, plugins
from component_container.arguments import ArgumentError, from_request
from component_container.faults import ERROR, OK, WARN, FaultLog
from component_container.guard import DROPPED, Gate
from component_container.parameters import Parameters
from component_container.plugins import Plugin, PluginError
from node_kit import document

README = Path(__file__).parents[1] / 'README.md'


def test_pure_modules_import_without_rclpy() -> None:
    modules = [f'component_container.{name}' for name in (
        'arguments', 'faults', 'guard', 'main', 'parameters', 'plugins', 'registry')]
    code = f"import sys; sys.modules['rclpy'] = None; import {', '.join(modules)}"
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


def test_readme_has_the_parameters() -> None:
    assert document(Parameters) in README.read_text()


# plugins

TALKER = Plugin('demo_nodes', 'Talker', 'demo_nodes.talk:TalkerNode')
EAR = Plugin('demo_nodes', 'demo_nodes::Ear', 'demo_nodes.hear:Ear')
OTHER = Plugin('other-dist', 'Thing', 'other_pkg.thing:Thing')
ALL = [TALKER, EAR, OTHER]


@pytest.mark.parametrize(('package', 'name', 'found'), [
    ('demo_nodes', 'Talker', TALKER),
    ('demo-nodes', 'Talker', TALKER),
    ('demo_nodes', 'demo_nodes::Talker', TALKER),
    ('demo_nodes', 'TalkerNode', TALKER),
    ('demo_nodes', 'demo_nodes.talk.TalkerNode', TALKER),
    ('demo_nodes', 'demo_nodes.talk:TalkerNode', TALKER),
    ('demo_nodes', 'Ear', EAR),
    ('demo_nodes', 'demo_nodes::Ear', EAR),
    ('', 'demo_nodes::Talker', TALKER),
    ('other_pkg', 'Thing', OTHER),
    ('other_dist', 'Thing', OTHER),
])
def test_a_plugin_is_found_by_each_spelling(package: str, name: str, found: Plugin) -> None:
    assert plugins.find(ALL, package, name) == found


def test_an_entry_point_s_own_name_wins() -> None:
    first, second = Plugin('p', 'A', 'p.m:B'), Plugin('p', 'B', 'p.m:C')
    assert plugins.find([first, second], 'p', 'B') == second


@pytest.mark.parametrize(('package', 'name', 'words'), [
    ('demo_nodes', 'Tolker', "'demo_nodes' does not offer the plugin 'Tolker'; it offers: Talker"),
    ('nowhere', 'Talker', "package 'nowhere' is not installed, so there is no plugin 'Talker'; "
                          'packages with components: demo_nodes, other-dist'),
    ('pytest', 'Talker', "package 'pytest' offers no components"),
    ('demo_nodes', 'other::Talker', 'does not offer'),
    ('', 'Talker', "got package_name '', plugin_name 'Talker'"),
    ('demo_nodes', '', 'needs a package_name and a plugin_name'),
])
def test_what_is_not_there_is_said(package: str, name: str, words: str) -> None:
    with pytest.raises(PluginError) as error:
        plugins.find(ALL, package, name)
    assert words in str(error.value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_find_answers_or_refuses_whatever_it_is_asked(package: str, name: str) -> None:
    with contextlib.suppress(PluginError):
        assert plugins.find(ALL, package, name) in ALL


@pytest.mark.parametrize(('value', 'words'), [
    ('no_module_of_this_name:X', "plugin 'X' of package 'p' cannot be imported from "
                                 'no_module_of_this_name:X: ModuleNotFoundError'),
    ('json:X', "AttributeError: module 'json' has no attribute 'X'"),
    ('json:JSONDecoder', 'is not a node: json:JSONDecoder is the class JSONDecoder'),
    ('json:loads', 'is of type function'),
])
def test_what_cannot_be_loaded_is_said(value: str, words: str) -> None:
    with pytest.raises(PluginError) as error:
        plugins.load(Plugin('p', 'X', value), Exception)
    assert words in str(error.value)


def test_load_gives_the_class() -> None:
    assert plugins.load(Plugin('p', 'X', 'json:JSONDecodeError'), ValueError) is \
        __import__('json').JSONDecodeError


def test_a_constructor_without_kwargs_is_said() -> None:
    class Closed:
        def __init__(self) -> None:
            pass
    with pytest.raises(PluginError, match=r'Closed.__init__ must take \*\*kwargs'):
        plugins.check_constructor(TALKER, Closed, {'cli_args': []})


def test_list_prints_what_is_installed_without_ros(site: Path) -> None:
    code = ("import sys; sys.modules['rclpy'] = None; "
            "from component_container.main import main; raise SystemExit(main(['--list']))")
    shown = subprocess.run([sys.executable, '-c', code], check=True, timeout=60,
                           capture_output=True, text=True)
    assert 'demo_components::Talker  (demo_components.nodes:Talker)' in shown.stdout


# arguments

def parameter(name: str, value: Any) -> SimpleNamespace:
    kind = 1 if isinstance(value, bool) else 4
    return SimpleNamespace(name=name, value=SimpleNamespace(type=kind, bool_value=value))


@dataclass
class Request:
    node_name: str = ''
    node_namespace: str = ''
    log_level: int = 0
    remap_rules: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    extra_arguments: list[Any] = field(default_factory=list)


def test_an_empty_request_leaves_everything_to_the_node() -> None:
    asked = from_request(Request())
    assert asked.cli_args == ('--ros-args',)
    assert (asked.name, asked.namespace, asked.log_level, asked.full_name) == (None,) * 4


def test_node_options_are_passed_on_only_when_given() -> None:
    assert from_request(Request()).node_options == {}
    asked = from_request(Request(extra_arguments=[parameter('enable_rosout', False)]))
    assert asked.node_options == {'enable_rosout': False}


def test_names_come_before_remaps() -> None:
    asked = from_request(Request('ear', 'robot/arm', 10, ['chatter:=/c', '__ns:=/late']))
    assert asked.cli_args == ('--ros-args', '-r', '__node:=ear', '-r', '__ns:=/robot/arm',
                              '-r', 'chatter:=/c', '-r', '__ns:=/late')
    assert asked.full_name == '/robot/arm/ear'
    assert asked.log_level == 10
    assert from_request(Request('ear', '/')).full_name == '/ear'


@pytest.mark.parametrize(('request_', 'words'), [
    (Request(node_name='2fast'), "node_name '2fast'"),
    (Request(node_name='a' * 300), 'at most 255'),
    (Request(node_name='a\n'), 'node_name'),
    (Request(node_namespace='/a//b'), "node_namespace '/a//b'"),
    (Request(node_namespace='/a b'), 'node_namespace'),
    (Request(log_level=15), 'log_level 15: must be 0 (unchanged), 10, 20, 30, 40, 50'),
    (Request(remap_rules=['chatter']), "remap rule 'chatter': must be 'from:=to'"),
    (Request(remap_rules=['a:=']), "remap rule 'a:='"),
    (Request(remap_rules=['a:=b c']), 'without blanks'),
    (Request(remap_rules=['a:=b'] * 1001), '1000 is the limit'),
    (Request(parameters=[None] * 10_001), '10000 is the limit'),
    (Request(extra_arguments=[parameter('colour', True)]),
     "extra argument 'colour' is unknown to this container; it knows use_intra_process_comms, "
     'forward_global_arguments, enable_rosout, start_parameter_services, enable_logger_service'),
    (Request(extra_arguments=[parameter('use_intra_process_comms', 'yes')]),
     "extra argument 'use_intra_process_comms' must be true or false"),
])
def test_a_bad_request_names_the_field(request_: Request, words: str) -> None:
    with pytest.raises(ArgumentError) as error:
        from_request(request_)
    assert words in str(error.value)


def test_global_arguments_come_only_when_asked_and_never_rename() -> None:
    ros_args = ['-r', '__node:=box', '--remap', '__ns:=/robot', '-r', 'a:=b', '-p', 'x:=1',
                '-r', 'other:__ns:=/o', '--params-file', 'p.yaml', '--log-level', 'debug']
    assert from_request(Request(), ros_args).cli_args == ('--ros-args',)
    asked = from_request(Request('n', extra_arguments=[
        parameter('forward_global_arguments', True)]), ros_args)
    assert asked.cli_args == (
        '--ros-args', '-r', '__node:=n', '-r', 'a:=b', '-p', 'x:=1', '-r', 'other:__ns:=/o',
        '--params-file', 'p.yaml')


def test_ros_arguments_are_told_from_the_programs() -> None:
    argv = ['--executor', 'multi', '--ros-args', '-r', 'a:=b', '--', '--thread-num', '3',
            '--ros-args', '-p', 'x:=1']
    assert arguments.split_ros_args(argv) == (
        ['--executor', 'multi', '--thread-num', '3'], ['-r', 'a:=b', '-p', 'x:=1'])


# faults

S = 1_000_000_000
PLUGIN = "plugin 'Talker' of package 'demo_nodes'"


def error_of(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_fault_is_logged_at_once_then_every_five_seconds() -> None:
    log = FaultLog(5 * S)
    logged = [log.count('/a', 'timer', error_of('boom'), tick * S // 10) for tick in range(101)]
    assert [counted[1] for counted in logged if counted] == [1, 51, 101]
    assert logged[0] is not None
    assert logged[0][0].error.startswith('ValueError: boom (')


def test_statuses_go_from_error_to_warning_and_end_with_a_new_load() -> None:
    log = FaultLog(5 * S)
    running = [('/a', PLUGIN, None)]
    assert [s.level for s in log.statuses(running, 0)] == [OK]
    log.count('/a', 'timer', error_of('boom'), 0)
    status, = log.statuses(running, 9 * S)
    assert (status.level, status.values['count'], status.values['age_s']) == (ERROR, '1', '9')
    assert log.statuses(running, 11 * S)[0].level == WARN
    log.gone('/a', 'unloaded: boom')
    status, = log.statuses([], 99 * S)
    assert (status.name, status.level, status.message) == ('/a', ERROR, 'unloaded: boom')
    assert 'ValueError: boom' in status.values['traceback']
    log.forget('/a')
    assert log.statuses([], 99 * S) == []


def test_a_callback_that_does_not_return_is_a_warning() -> None:
    status, = FaultLog(5 * S).statuses([('/a', PLUGIN, ('timer of 1 s (T.tick)', 2 * S))], 8 * S)
    assert (status.level, status.message) == (WARN, 'in timer of 1 s (T.tick) for 6.0 s')


def test_what_is_gone_is_bounded() -> None:
    log = FaultLog(5 * S)
    for number in range(150):
        log.gone(f'/{number}', 'x')
    assert [s.name for s in log.statuses([], 0)] == [f'/{number}' for number in range(50, 150)]


# the gate

class Recorder:
    def __init__(self) -> None:
        self.errors: list[tuple[str, BaseException]] = []
        self.gate = Gate(lambda: 7, lambda what, error: self.errors.append((what, error)))


def test_a_guarded_callback_works_raises_and_stops() -> None:
    recorder = Recorder()

    def divide(a: int, b: int) -> float:
        return a / b
    guarded = recorder.gate.guard('division', divide)
    assert guarded(6, 3) == 2
    assert guarded(1, 0) is DROPPED
    (what, error), = recorder.errors
    assert (what, type(error)) == ('division', ZeroDivisionError)
    recorder.gate.close()
    assert guarded(6, 3) is DROPPED
    assert recorder.gate.longest() is None
    assert recorder.gate.wait_idle(0)


def test_a_sys_exit_in_a_callback_stays_inside() -> None:
    recorder = Recorder()
    assert recorder.gate.guard('exit', sys.exit)(3) is DROPPED
    assert isinstance(recorder.errors[0][1], SystemExit)


def test_a_guard_keeps_what_rclpy_looks_at() -> None:
    import inspect
    gate = Recorder().gate

    async def coroutine(request: Any, response: Any) -> Any:
        return response
    assert inspect.iscoroutinefunction(gate.guard('c', coroutine))
    for callback in (lambda message: None, lambda message, info: None):
        assert inspect.signature(gate.guard('s', callback)) == inspect.signature(callback)


def test_close_waits_for_who_is_inside() -> None:
    gate = Recorder().gate
    entered, go = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        go.wait(10)
    thread = threading.Thread(target=gate.guard('hold', hold))
    thread.start()
    assert entered.wait(10)
    gate.close()
    assert not gate.wait_idle(0.01)
    assert gate.longest() == ('hold', 7)
    go.set()
    assert gate.wait_idle(10)
    thread.join()


def test_nobody_is_inside_after_wait_idle_whatever_the_interleaving() -> None:
    for _ in range(30):
        gate = Recorder().gate
        inside: list[int] = []
        destroyed: list[bool] = []

        def work(inside: list[int] = inside, destroyed: list[bool] = destroyed) -> None:
            inside.append(1)
            assert not destroyed
            inside.pop()
        guarded = gate.guard('work', work)
        threads = [threading.Thread(target=lambda g=guarded: [g() for _ in range(300)])
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        gate.close()
        assert gate.wait_idle(10)
        assert not inside
        destroyed.append(True)
        for thread in threads:
            thread.join()


def test_a_waiting_coroutine_is_outside_and_ends_with_the_gate() -> None:
    recorder = Recorder()
    ended: list[str] = []

    async def ask() -> str:
        try:
            return await future
        finally:
            ended.append('closed')

    async def story() -> Any:
        nonlocal future
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(recorder.gate.guard('ask', ask)())
        await asyncio.sleep(0)
        assert recorder.gate.longest() is None
        recorder.gate.close()
        recorder.gate.release_awaited()
        return await task
    future: Any = None
    assert asyncio.run(story()) is DROPPED
    assert ended == ['closed']
    assert recorder.errors == []


def test_a_coroutine_answers_and_reports() -> None:
    recorder = Recorder()

    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b
    assert asyncio.run(recorder.gate.guard('add', add)(1, 2)) == 3
    assert asyncio.run(recorder.gate.guard('add', add)(1, 'x')) is DROPPED
    assert isinstance(recorder.errors[0][1], TypeError)


def test_a_stray_error_is_traced_to_its_node() -> None:
    class Node:
        def fail(self) -> None:
            raise ValueError
    mine, other = Node(), Node()
    with pytest.raises(ValueError) as caught:
        raise ValueError
    assert guard.owner(caught.value.with_traceback(None), [mine]) is None
    with pytest.raises(ValueError) as caught:
        mine.fail()
    trace = caught.value.__traceback__
    assert trace is not None
    error = caught.value.with_traceback(trace.tb_next)  # without this frame, which knows both
    assert guard.owner(error, [other, mine]) is mine
    assert guard.owner(error, [other]) is None


def test_explain_is_one_line_with_a_place() -> None:
    text = faults.explain(error_of('two\nlines'))
    assert text.startswith('ValueError: two lines (')
    assert '\n' not in text
    assert f'{Path(__file__).name}, line' in text
