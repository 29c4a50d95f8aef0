from pathlib import Path

from isaac_bridge.parameters import Parameters
from node_kit import document


def test_every_parameter_is_in_the_readme():
    readme = Path(__file__).resolve().parents[1] / 'README.md'
    assert document(Parameters) in readme.read_text(encoding='utf-8')
