"""How ROS 2's security variables become the DDS Security properties of a participant.

Property names: OMG DDS Security 1.1, tables 43 and 61; library names: Cyclone DDS's own plugins.
"""

from collections.abc import Mapping
from pathlib import Path

ENCLAVE = '/spinal/watchdog'
_FILES = {
    'dds.sec.auth.identity_ca': 'identity_ca.cert.pem',
    'dds.sec.auth.identity_certificate': 'cert.pem',
    'dds.sec.auth.private_key': 'key.pem',
    'dds.sec.access.permissions_ca': 'permissions_ca.cert.pem',
    'dds.sec.access.governance': 'governance.p7s',
    'dds.sec.access.permissions': 'permissions.p7s',
}
_PLUGINS = {
    'auth': ('dds_security_auth', 'authentication'),
    'crypto': ('dds_security_crypto', 'crypto'),
    'access': ('dds_security_ac', 'access_control'),
}


def enabled(environment: Mapping[str, str]) -> bool:
    """Whether ROS 2 would ask for a secured domain. Unlike rclpy, nothing here is permissive."""
    value = environment.get('ROS_SECURITY_ENABLE', '') or 'false'
    if value not in ('true', 'false'):
        raise ValueError(f'ROS_SECURITY_ENABLE = {value}: must be true or false')
    return value == 'true'


def properties(environment: Mapping[str, str]) -> dict[str, str]:
    """The properties of the watchdog's participant; raises ValueError when a file is missing."""
    keystore = environment.get('ROS_SECURITY_KEYSTORE', '')
    if not keystore:
        raise ValueError('ROS_SECURITY_ENABLE=true without ROS_SECURITY_KEYSTORE')
    enclave = environment.get('ROS_SECURITY_ENCLAVE_OVERRIDE') or ENCLAVE
    folder = Path(keystore) / 'enclaves' / enclave.lstrip('/')
    found = {}
    for name, file in _FILES.items():
        if not (folder / file).is_file():
            raise ValueError(f'the enclave {enclave} lacks {folder / file}')
        found[name] = f'file:{folder / file}'
    for kind, (library, function) in _PLUGINS.items():
        found[f'dds.sec.{kind}.library.path'] = library
        found[f'dds.sec.{kind}.library.init'] = f'init_{function}'
        found[f'dds.sec.{kind}.library.finalize'] = f'finalize_{function}'
    return found
