import pytest

from node_kit import ParameterError, build, document
from policy_client.parameters import Parameters, check, endpoints


def test_endpoints_are_named_routes_in_their_order():
    parameters = build(Parameters, {'endpoints': ['board=grpc://127.0.0.1:8001',
                                                  'cloud=grpc://triton.example:443']})
    assert endpoints(parameters) == {'triton:board': 'grpc://127.0.0.1:8001',
                                     'triton:cloud': 'grpc://triton.example:443'}


@pytest.mark.parametrize('entries', [
    ['grpc://127.0.0.1:8001'], ['=grpc://a:1'], ['a=http://a:1'], ['hold=grpc://a:1'],
    ['onnx=grpc://a:1'], ['a b=grpc://a:1'], ['a=grpc://a:1', 'a=grpc://b:1']])
def test_a_wrong_endpoint_is_named(entries):
    with pytest.raises(ParameterError, match='parameter endpoints') as error:
        endpoints(build(Parameters, {'endpoints': entries}))
    assert entries[-1] in str(error.value) or 'is taken' in str(error.value)


def test_a_deadline_beyond_the_age_of_observations_is_refused():
    with pytest.raises(ParameterError, match='deadline_ms = 1500: must be below max_age_ms'):
        check(build(Parameters, {'deadline_ms': 1500.0}))
    check(build(Parameters, {'deadline_ms': 300.0}))


def test_every_parameter_is_in_the_readme(root):
    readme = (root / 'src/policy_client/README.md').read_text()
    assert document(Parameters) in readme
