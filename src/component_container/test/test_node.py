"""The container in its own process, asked over its services, once with each executor."""

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container_harness import Client, Container, free_domain, running
from diagnostic_msgs.msg import DiagnosticArray
from example_interfaces.action import Fibonacci
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter, parameter_value_to_python
from std_msgs.msg import Int64
from std_srvs.srv import Trigger

EXECUTORS = ('events', 'single', 'multi')


@pytest.fixture(scope='module')
def client() -> Iterator[Client]:
    with free_domain() as domain:
        client = Client(domain)
        yield client
        client.close()


@pytest.fixture(scope='module', params=EXECUTORS)
def shared(request: pytest.FixtureRequest, client: Client, site: Path,
           tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp(request.param)
    with running(client, folder, f'{request.param}_box', '--executor', request.param,
                 '--thread-num', '4', ros_args=('-p', 'diagnostics_period_s:=0.2')) as container:
        yield container
        assert container.stop()[0] == 0, container.log()


@pytest.fixture
def box(shared: Container) -> Iterator[Container]:
    """An empty container, and empty again at the end."""
    assert shared.nodes() == {}
    yield shared
    shared.client.forget()
    shared.unload_all()


def executor_of(box: Container) -> str:
    return box.name.strip('/').removesuffix('_box')


# loading, listing, unloading

def test_load_list_unload(box: Container) -> None:
    first = box.load('demo_components::Talker')
    second = box.load('Relay', node_name='ear', node_namespace='/robot/arm')
    assert (first.success, first.error_message) == (True, '')
    assert (first.full_node_name, second.full_node_name) == ('/talker', '/robot/arm/ear')
    assert box.nodes() == {first.unique_id: '/talker', second.unique_id: '/robot/arm/ear'}
    box.client.spin_until(lambda: {'/talker', '/robot/arm/ear'} <= box.client.names(), 'the graph')

    assert box.unload(first.unique_id).success
    assert box.nodes() == {second.unique_id: '/robot/arm/ear'}
    box.client.spin_until(lambda: '/talker' not in box.client.names(), 'the talker gone')
    again = box.unload(first.unique_id)
    assert not again.success
    assert again.error_message == (f'no node has the unique id {first.unique_id}; '
                                   f"loaded are {second.unique_id} '/robot/arm/ear'")
    third = box.load('Talker')
    assert third.unique_id > second.unique_id


def test_names_of_the_container_do_not_leak(box: Container) -> None:
    assert box.load('Talker').full_node_name == '/talker'
    assert box.load('Relay', extra={'forward_global_arguments': True}).full_node_name == '/relay'


def test_a_taken_name_is_refused(box: Container) -> None:
    assert box.load('Talker').success
    for fields in ({}, {'node_name': 'talker'}, {'node_namespace': '/'}):
        refused = box.load('Talker', **fields)
        assert not refused.success
        assert refused.error_message.startswith(
            "plugin 'Talker' of package 'demo_components' is not loaded: a node named '/talker' is "
            'already in this container')
    assert 'already registered' not in box.log()  # no namesake was built, not even for a moment
    assert box.load('Talker', node_namespace='/elsewhere').success
    refused = box.load('Talker', node_name=box.name.strip('/'))
    assert 'already in this container' in refused.error_message


def test_remaps_arrive(box: Container) -> None:
    heard = box.client.collect(Int64, '/x/there')
    assert box.load('Talker', node_namespace='/x', remap_rules=['chatter:=there']).success
    box.client.spin_until(lambda: heard, 'a message on the remapped topic')
    assert box.load('Relay', remap_rules=['__ns:=/y', 'chatter:=/x/there']).full_node_name == \
        '/y/relay'
    relayed = box.client.collect(Int64, '/y/relayed')
    box.client.spin_until(lambda: relayed, 'a message through the remapped subscription')


def test_parameters_of_every_type_arrive(box: Container) -> None:
    values: dict[str, Any] = {
        'bool': True, 'integer': -3, 'double': 0.5, 'string': 'ä', 'byte_array': [b'\x00', b'\xff'],
        'bool_array': [True, False], 'integer_array': [1, 2], 'double_array': [0.5, 1.5],
        'string_array': ['a', '']}
    assert set(values) == {kind.name.lower() for kind in Parameter.Type} - {'not_set'}
    assert box.load('Parametrised', node_name='p', parameters=values).success
    got = box.client.call(GetParameters, '/p/get_parameters',
                          GetParameters.Request(names=list(values)))
    arrived = [parameter_value_to_python(value) for value in got.values]
    assert dict(zip(values, arrived, strict=True)) == values


def test_a_parameter_that_nobody_declares_is_a_warning(box: Container) -> None:
    assert box.load('Talker', node_name='typo', parameters={'rate': 5.0}).success
    box.wait_for_log("node '/typo' has not declared rate: no effect unless it does later")


def test_log_level_arrives_and_goes_with_the_node(box: Container) -> None:
    for level, shown in ((Log.DEBUG, 'DEBUG'), (0, 'INFO')):
        loaded = box.load('Parametrised', node_namespace='/deep/er', log_level=level)
        answer = box.client.call(Trigger, '/deep/er/parametrised/log_level')
        assert answer.message == shown
        assert box.unload(loaded.unique_id).success


def test_intra_process_is_accepted_and_explained(box: Container) -> None:
    assert box.load('Talker', extra={'use_intra_process_comms': True}).success
    box.wait_for_log('use_intra_process_comms has no effect')


def test_node_options_arrive(box: Container) -> None:
    assert box.load('Talker', node_name='mute', extra={
        'start_parameter_services': False, 'enable_logger_service': True}).success

    def services() -> set[str]:
        return {name for name, _ in box.client.node.get_service_names_and_types()
                if name.startswith('/mute/')}
    box.client.spin_until(lambda: services() == {
        '/mute/get_logger_levels', '/mute/set_logger_levels'}, 'those two services only')


# errors

@pytest.mark.parametrize(('plugin', 'words'), [
    ('Nope', "package 'demo_components' does not offer the plugin 'Nope'; it offers: Awaits, "),
    ('Broken', "plugin 'Broken' of package 'demo_components' cannot be imported from "
               'demo_components.broken_import:Broken: ModuleNotFoundError: No module named '
               "'a_module_that_nobody_has'"),
    ('Missing', "has no attribute 'NoSuchClass'"),
    ('NotANode', "plugin 'NotANode' of package 'demo_components' is not a node"),
    ('Function', 'is of type function'),
    ('Unbuildable', "the constructor of plugin 'Unbuildable' of package 'demo_components' raised "
                    'RuntimeError: no such device ('),
    ('NoKwargs', 'NoKwargs.__init__ must take **kwargs and hand them to Node'),
    ('Uninitialised', "the constructor of plugin 'Uninitialised' of package 'demo_components' "
                      'raised AttributeError'),
])
def test_errors_say_which_and_why(box: Container, plugin: str, words: str) -> None:
    refused = box.load(plugin)
    assert not refused.success
    assert words in refused.error_message
    box.wait_for_log(refused.error_message)
    assert box.nodes() == {}
    box.client.spin_until(lambda: '/unbuildable' not in box.client.names(), 'nothing left behind')


def test_more_errors(box: Container) -> None:
    assert "package 'nowhere' is not installed" in box.load('X', package='nowhere').error_message
    refused = box.load('Deaf', node_name='ears')
    assert ('deaf to names, remaps and parameters: Deaf.__init__ must hand its **kwargs to Node'
            ) in refused.error_message
    assert "extra argument 'speed' is unknown" in box.load(
        'Talker', extra={'speed': True}).error_message
    assert "remap rule 'a'" in box.load('Talker', remap_rules=['a']).error_message
    assert box.load('Talker', remap_rules=['1#:=?']).error_message.startswith(
        "the constructor of plugin 'Talker'")
    assert box.load('Talker').success


def test_a_destructor_that_raises_does_not_keep_the_node(box: Container) -> None:
    loaded = box.load('BadEnd')
    assert box.unload(loaded.unique_id).success
    box.wait_for_log("destroy_node of node '/bad_end' raised RuntimeError: will not go")
    box.client.spin_until(lambda: '/bad_end' not in box.client.names(), 'the node gone')


# traffic

def test_unload_under_traffic(box: Container) -> None:
    """200 Hz through a relay that comes and goes, with a second one that must miss nothing."""
    assert box.load('Talker', node_namespace='/t').success
    assert box.load('Relay', node_name='steady', node_namespace='/t').success
    steady = box.client.collect(Int64, '/t/relayed')
    coming = box.client.collect(Int64, '/t/coming')
    for _ in range(6):
        loaded = box.load('Relay', node_name='guest', node_namespace='/t',
                          remap_rules=['relayed:=coming'])
        assert loaded.success, loaded.error_message
        count = len(coming)
        box.client.spin_until(lambda count=count: len(coming) > count + 3, 'the guest relaying')
        assert box.unload(loaded.unique_id).success
    assert box.process.poll() is None
    assert 'Traceback' not in box.log()
    numbers = [message.data for message in steady]
    assert len(numbers) > 30
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_many_cycles_leave_nothing(box: Container) -> None:
    assert box.load('Talker', node_namespace='/t').success
    cycle = [('Relay', '/t/relay'), ('Managed', '/t/managed'), ('Worker', '/t/worker')]

    def run(plugin: str) -> None:
        loaded = box.load(plugin, node_namespace='/t')
        assert loaded.success, loaded.error_message
        assert box.unload(loaded.unique_id).success
    for plugin, _ in cycle:
        run(plugin)
    before = memory_kb(box)
    for number in range(50 if executor_of(box) == 'events' else 20):
        run(cycle[number % len(cycle)][0])
    assert len(box.nodes()) == 1
    node = box.client.node
    box.client.spin_until(lambda: not {name for _, name in cycle} & box.client.names(), 'nodes')
    box.client.spin_until(lambda: node.count_subscribers('/t/chatter') == 0, 'subscriptions')

    def services() -> set[str]:
        return {name for name, _ in node.get_service_names_and_types()
                if name.startswith('/t/') and not name.startswith('/t/talker/')}
    box.client.spin_until(lambda: not services(), 'services')
    assert memory_kb(box) - before < 6_000
    assert 'Traceback' not in box.log()


def memory_kb(box: Container) -> int:
    status = Path(f'/proc/{box.process.pid}/status').read_text()
    return int(status.partition('VmRSS:')[2].split()[0])


def test_a_slow_import_holds_up_nobody(box: Container) -> None:
    assert box.load('Talker', node_namespace='/t').success
    heard = box.client.collect(Int64, '/t/chatter', lambda _: time.monotonic())
    box.client.spin_until(lambda: len(heard) > 5, 'traffic')
    begin = time.monotonic()
    assert box.load('SlowImport').success
    if executor_of(box) == 'events':  # the module stays imported: measured in each process once
        assert time.monotonic() - begin > 0.8
    gaps = [after - before for before, after in itertools.pairwise(heard)
            if before > begin]
    assert max(gaps) < 0.4


def test_a_slow_callback_delays_its_unload(box: Container) -> None:
    loaded = box.load('Slow', parameters={'seconds': 0.5})
    begun = box.client.collect(Int64, '/blocking')
    with box.client.latched('/block'):
        box.client.spin_until(lambda: begun, 'the callback')
        assert box.unload(loaded.unique_id).success
    assert 'Traceback' not in box.log().rpartition("loaded plugin 'Slow'")[2]


# lifecycle, actions, coroutines

def change(box: Container, node: str, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(box.client.call(ChangeState, f'{node}/change_state', request).success)


def test_a_lifecycle_node_lives_in_a_container(box: Container) -> None:
    loaded = box.load('Managed', node_name='m')
    heard = box.client.collect(Int64, '/chatter')
    assert change(box, '/m', Transition.TRANSITION_CONFIGURE)
    assert change(box, '/m', Transition.TRANSITION_ACTIVATE)
    box.client.spin_until(lambda: heard, 'a message while active')
    state = box.client.call(GetState, '/m/get_state').current_state
    assert state.id == State.PRIMARY_STATE_ACTIVE
    assert change(box, '/m', Transition.TRANSITION_DEACTIVATE)
    assert box.unload(loaded.unique_id).success
    box.client.spin_until(lambda: '/m' not in box.client.names(), 'the node gone')


def test_a_transition_that_raises_is_not_silent(box: Container) -> None:
    loaded = box.load('Managed', node_name='m', parameters={'raise_in': 'configure'})
    assert not change(box, '/m', Transition.TRANSITION_CONFIGURE)
    box.wait_for_log("node '/m': transition (Managed.on_configure) raised RuntimeError: no camera")
    assert 'RuntimeError: no camera' in box.wait_for_status('/m', 2).message
    assert box.nodes() == {loaded.unique_id: '/m'}  # error processing is the node's own business


def test_what_a_lifecycle_node_creates_later_is_guarded_too(box: Container) -> None:
    assert box.load('Managed', node_name='m', parameters={'raise_in': 'talk'}).success
    assert change(box, '/m', Transition.TRANSITION_CONFIGURE)
    box.wait_for_log("node '/m': timer of 0.01 s (Managed.talk) raised RuntimeError: talked too")
    box.client.spin_until(lambda: box.nodes() == {}, 'the node unloaded')


def test_an_action_server_works(box: Container) -> None:
    assert box.load('Worker').success
    action = ActionClient(box.client.node, Fibonacci, '/fibonacci')
    box.client.spin_until(action.server_is_ready, 'the action server')
    goal = action.send_goal_async(Fibonacci.Goal(order=3))
    handle = box.client.spin_until(lambda: goal.done() and goal.result(), 'acceptance')
    result = handle.get_result_async()
    box.client.spin_until(result.done, 'the result')
    assert list(result.result().result.sequence) == [0, 1, 1]
    action.destroy()


def test_callbacks_that_the_events_executor_lacks(box: Container) -> None:
    info, coroutine = box.load('WantsInfo'), box.load('Awaits')
    if executor_of(box) == 'events':
        assert info.error_message == (
            "plugin 'WantsInfo' of package 'demo_components', node '/wants_info': subscription to "
            "'/chatter' (WantsInfo.hear) takes the message's info as well, which the "
            'EventsExecutor does not give: start the container with --executor single or multi')
        assert 'is a coroutine, which the EventsExecutor does not await' in coroutine.error_message
        return
    relayed = box.client.collect(Int64, '/relayed')
    publisher = box.client.node.create_publisher(Int64, '/chatter', 10)

    def arrived() -> bool:
        publisher.publish(Int64(data=1))
        return bool(relayed)
    box.client.spin_until(arrived, 'a message through a callback with info')
    box.client.node.destroy_publisher(publisher)

    service = box.client.node.create_service(
        Trigger, '/elsewhere', lambda *_: Trigger.Response(success=True, message='there'))
    # A request that is sent before the component has discovered the service is lost.
    answer = box.client.spin_until(
        lambda: box.client.call(Trigger, '/awaits/ask', timeout_s=0.3), 'an answer')
    assert (answer.success, answer.message) == (True, 'there')
    box.client.node.destroy_service(service)
    assert box.client.call(Trigger, '/awaits/ask', timeout_s=0.3) is None  # waits for ever
    assert box.unload(coroutine.unique_id).success
    assert 'Traceback' not in box.log().rpartition("loaded plugin 'Awaits'")[2]


# crashes

@pytest.mark.parametrize(('where', 'callback', 'error'), [
    ('timer', 'timer of 0.02 s (Crasher.tick)', 'ValueError: timer boom ('),
    ('exit', 'timer of 0.02 s (Crasher.tick)', 'SystemExit: 3 ('),
    ('subscription', "subscription to '/crash' (Crasher.on_message)",
     'ValueError: subscription boom ('),
    ('service', "service '~/crash' (Crasher.on_request)", 'ValueError: service boom ('),
    ('future', 'a task', 'ValueError: future boom ('),
])
def test_a_crash_is_reported_and_takes_only_its_node(
        box: Container, where: str, callback: str, error: str) -> None:
    client = box.client
    alive = client.collect(Int64, '/calm/alive')
    calm = box.load('Crasher', node_namespace='/calm', parameters={'where': 'nowhere'})
    assert box.load('Crasher', parameters={'where': where}).success
    if where == 'service':  # no answer: a made-up one would be a lie
        assert client.call(Trigger, '/crasher/crash', timeout_s=0.5) is None
    latched = client.latched('/crash') if where == 'subscription' else contextlib.nullcontext()
    with latched:
        status = box.wait_for_status('/crasher', 2)
    assert status.message.startswith(f'unloaded: {callback} raised {error}')
    values = {value.key: value.value for value in status.values}
    assert 'Traceback' in values['traceback']
    box.wait_for_log(f"node '/crasher': {callback} raised {error}")
    box.wait_for_log('the node is unloaded\nTraceback')
    client.spin_until(lambda: box.nodes() == {calm.unique_id: '/calm/crasher'}, 'one node left')
    client.spin_until(lambda: '/crasher' not in client.names(), 'it gone from the graph')
    count = len(alive)
    client.spin_until(lambda: len(alive) > count + 5, 'the other node alive')

    loaded = box.load('Crasher', parameters={'where': 'nowhere'})
    assert loaded.success  # and the error is over with it
    assert box.wait_for_status('/crasher', 0).message == 'running'


@pytest.mark.parametrize('executor', ['events', 'multi'])
def test_report_lets_the_node_go_on(client: Client, site: Path, tmp_path: Path,
                                    executor: str) -> None:
    with running(client, tmp_path, f'tolerant_{executor}', '--executor', executor,
                 '--on-exception', 'report') as box:
        alive = client.collect(Int64, '/alive')
        loaded = box.load('Crasher', parameters={'where': 'timer'})
        client.spin_until(lambda: len(alive) > 20, 'the node going on')
        assert 'timer boom' in box.wait_for_status('/crasher', 2).message
        assert box.nodes() == {loaded.unique_id: '/crasher'}
        assert box.log().count('the node goes on') == 1  # not one line for each of them
        assert box.stop()[0] == 0


@pytest.mark.parametrize('executor', ['events', 'multi'])
def test_exit_ends_the_container_with_1(client: Client, site: Path, tmp_path: Path,
                                        executor: str) -> None:
    with running(client, tmp_path, f'strict_{executor}', ros_args=(
            '-p', f'executor:={executor}', '-p', 'on_exception:=exit')) as box:
        assert box.load('Crasher', parameters={'where': 'timer'}).success
        assert box.process.wait(10) == 1
        assert 'timer boom' in box.log()


# the process

@pytest.mark.parametrize(('executor', 'number'), [
    ('events', signal.SIGINT), ('events', signal.SIGTERM), ('single', signal.SIGTERM),
    ('multi', signal.SIGINT)])
def test_a_signal_ends_it_cleanly(client: Client, site: Path, tmp_path: Path, executor: str,
                                  number: int) -> None:
    with running(client, tmp_path, f'brief_{executor}_{number}',
                 '--executor', executor) as box:
        for plugin in ('Talker', 'Relay', 'Managed', 'BadEnd'):
            assert box.load(plugin, node_namespace='/brief').success
        status, seconds = box.stop(number)
        assert status == 0, box.log()
        assert seconds < 2
        assert 'Traceback' not in box.log()


@pytest.mark.parametrize('executor', ['events', 'multi'])
def test_a_hanging_callback_is_named_and_cannot_prevent_the_end(
        client: Client, site: Path, tmp_path: Path, executor: str) -> None:
    with running(client, tmp_path, f'stuck_{executor}', '--executor', executor, ros_args=(
            '-p', 'busy_timeout_s:=0.5', '-p', 'diagnostics_period_s:=0.2',
            '-p', 'shutdown_timeout_s:=1.0')) as box:
        loaded = box.load('Slow', parameters={'seconds': 60.0})
        callback = "in subscription to '/block' (Slow.block) for "
        with client.latched('/block'):
            assert box.wait_for_status('/slow', 1).message.startswith(callback)
        assert box.nodes() == {loaded.unique_id: '/slow'}  # the services answer all the same
        refused = box.unload(loaded.unique_id).error_message
        assert refused.startswith(f"node '/slow' has been {callback}")
        assert refused.endswith('unload it again when that has returned')
        if executor != 'multi':  # which has another thread
            refused = box.load('Talker').error_message
            assert ("cannot load plugin 'Talker' of package 'demo_components': the executor is "
                    f"busy; node '/slow' has been {callback}") in refused
        status, seconds = box.stop()
        assert status == 1
        assert 0.9 < seconds < 2
        assert 'exit without a clean end' in box.log()


def test_a_crash_beside_a_hanging_callback_is_unloaded_when_that_returns(
        client: Client, site: Path, tmp_path: Path) -> None:
    with running(client, tmp_path, 'half', '--executor', 'multi', '--thread-num', '3',
                 ros_args=('-p', 'busy_timeout_s:=0.3', '-p', 'diagnostics_period_s:=0.2')) as box:
        assert box.load('HalfStuck', parameters={'seconds': 1.5}).success
        with client.latched('/block'):
            assert 'half of me' in box.wait_for_status('/slow', 2).message
        box.wait_for_log("did not unload yet: node '/slow' has been in subscription to '/block' "
                         '(HalfStuck.block)')
        client.spin_until(lambda: box.nodes() == {}, 'the node unloaded')
        assert box.stop()[0] == 0


def test_a_component_that_shuts_ros_down_is_an_error(client: Client, site: Path,
                                                     tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(running(client, tmp_path, f'victim_{executor}',
                                             '--executor', executor)) for executor in EXECUTORS]
        for box in boxes:
            assert box.load('Saboteur', node_namespace=box.name).success
        with client.latched('/block'):
            for box in boxes:
                assert box.process.wait(10) == 1
                assert 'a component shut down the ROS context' in box.log()


@pytest.mark.parametrize(('args', 'words'), [
    (('-p', 'executor:=fast'), "parameter executor = 'fast': must be one of "
                               "'events', 'single', 'multi'\n"),
    (('-r', 'nonsense'), "Couldn't parse remap rule"),
])
def test_a_wrong_start_is_one_sentence(client: Client, site: Path, tmp_path: Path,
                                       args: tuple[str, ...], words: str) -> None:
    with running(client, tmp_path, 'wrong', ros_args=args) as box:
        assert box.process.wait(20) == 2
        assert 'component_container: cannot start: ' in box.log()
        assert words in box.log()
        assert 'Traceback' not in box.log()


def test_diagnostics_are_periodic(box: Container) -> None:
    arrays = box.client.collect(DiagnosticArray, '/diagnostics')
    assert box.load('Talker', node_namespace='/t').success

    def seen() -> int:
        return sum(status.name == '/t/talker' and status.level == b'\x00'
                   for array in arrays for status in array.status)
    box.client.spin_until(lambda: seen() >= 2, 'two statuses')
