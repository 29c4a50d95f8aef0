"""Every module but node.py imports without rclpy, so that it runs in a test, a tool or a replay."""

import subprocess
import sys
from pathlib import Path

import policy_client

_PACKAGE = Path(policy_client.__file__).parent


def test_every_pure_module_imports_without_rclpy():
    modules = ['policy_client.' + '.'.join(path.relative_to(_PACKAGE).with_suffix('').parts)
               for path in sorted(_PACKAGE.rglob('*.py'))
               if path.name not in ('node.py', '__init__.py')]
    assert 'policy_client.pilot' in modules
    assert 'policy_client.policies.triton' in modules
    code = 'import sys; sys.modules["rclpy"] = None\n' + '\n'.join(
        f'import {name}' for name in modules)
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, result.stderr
