"""Write a keystore from a policy: a CA, and for each enclave what DDS Security asks for.

    ros2 run bringup make_keystore --out ~/robot_7_keys --namespace robot_7

    <out>/public/ca.cert.pem            may be shown to anybody
    <out>/private/ca.key.pem            stays off the robot: whoever has it can admit anybody
    <out>/enclaves/<path>/...           the six files that ROS 2 loads for that enclave
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import NameOID

from bringup.security.policy import (
    MAX_BYTES,
    MAX_DOMAIN,
    PolicyError,
    Rights,
    domains_xml,
    permissions_xml,
    read_policy,
)

CA_NAME = 'spinal_ca'
# A robot's clock may be a little behind the desk's.
_BACKDATED = timedelta(hours=1)
# Who is not authenticated does not match at all; whoever joins needs a permission for each topic.
# As `ros2 security` writes it.
_GOVERNANCE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation=\
"http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_governance.xsd">
  <domain_access_rules>
    <domain_rule>
      {domains}
      <allow_unauthenticated_participants>false</allow_unauthenticated_participants>
      <enable_join_access_control>true</enable_join_access_control>
      <discovery_protection_kind>ENCRYPT</discovery_protection_kind>
      <liveliness_protection_kind>ENCRYPT</liveliness_protection_kind>
      <rtps_protection_kind>SIGN</rtps_protection_kind>
      <topic_access_rules>
        <topic_rule>
          <topic_expression>*</topic_expression>
          <enable_discovery_protection>true</enable_discovery_protection>
          <enable_liveliness_protection>true</enable_liveliness_protection>
          <enable_read_access_control>true</enable_read_access_control>
          <enable_write_access_control>true</enable_write_access_control>
          <metadata_protection_kind>ENCRYPT</metadata_protection_kind>
          <data_protection_kind>ENCRYPT</data_protection_kind>
        </topic_rule>
      </topic_access_rules>
    </domain_rule>
  </domain_access_rules>
</dds>
"""


class KeystoreError(Exception):
    """The keystore cannot be written; the message says why."""


def governance_xml(domain: int | None) -> str:
    """What holds for every participant; a domain of None means every domain."""
    return _GOVERNANCE.format(domains=domains_xml(domain))


def make_keystore(out: Path, policy: dict[str, Rights], *, days: int, domain: int | None = None,
                  update: bool = False) -> None:
    """Write everything below `out`. With `update` the CA that is there signs again.

    Raises KeystoreError when a CA is there already (or, with `update`, is not).
    """
    ca_key_file, ca_file = out / 'private' / 'ca.key.pem', out / 'public' / 'ca.cert.pem'
    begins = datetime.now(UTC) - _BACKDATED
    ends = begins + timedelta(days=days)
    if update:
        ca_key, ca = _load_ca(ca_key_file, ca_file)
        ends = min(ends, ca.not_valid_after_utc)
    else:
        for path in (ca_key_file, ca_file):
            if path.exists():
                raise KeystoreError(f'{path} is there already: a new CA would shut out every '
                                    'enclave it signed; add --update, or name another --out')
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _certificate(CA_NAME, ca_key.public_key(), ca_key, CA_NAME, begins, ends, ca=True)
        _write_secret(ca_key_file, _pem(ca_key))
        _write(ca_file, ca.public_bytes(Encoding.PEM))
    governance = _signed(governance_xml(domain), ca, ca_key)
    for enclave, rights in policy.items():
        folder = out / 'enclaves' / enclave.lstrip('/')
        if not (folder / 'key.pem').exists():
            key = ec.generate_private_key(ec.SECP256R1())
            identity = _certificate(enclave, key.public_key(), ca_key, CA_NAME, begins, ends,
                                    ca=False)
            _write_secret(folder / 'key.pem', _pem(key))
            _write(folder / 'cert.pem', identity.public_bytes(Encoding.PEM))
        for name in ('identity_ca.cert.pem', 'permissions_ca.cert.pem'):
            _write(folder / name, ca.public_bytes(Encoding.PEM))
        permissions = permissions_xml(enclave, rights, begins, ends, domain)
        _write(folder / 'permissions.xml', permissions.encode())
        _write(folder / 'permissions.p7s', _signed(permissions, ca, ca_key))
        _write(folder / 'governance.p7s', governance)


def _certificate(name: str, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey,
                 issuer: str, begins: datetime, ends: datetime, *, ca: bool) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False)
    return (x509.CertificateBuilder()
            .subject_name(_name(name)).issuer_name(_name(issuer)).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins).not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)
            .add_extension(usage, True)
            .sign(signer, hashes.SHA256()))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _signed(text: str, ca: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    """S/MIME with the text in clear beside its signature (DDS Security 1.1, 9.4.1.2.1)."""
    return (pkcs7.PKCS7SignatureBuilder().set_data(text.encode())
            .add_signer(ca, key, hashes.SHA256())
            .sign(Encoding.SMIME, [pkcs7.PKCS7Options.Text, pkcs7.PKCS7Options.DetachedSignature]))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_ca(key_file: Path, file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise KeystoreError(f'--update finds no CA in {key_file.parent.parent}: {error}') from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeystoreError(f'{key_file} is no EC key')
    if certificate.public_key() != key.public_key():
        raise KeystoreError(f'{key_file} does not belong to {file}')
    return key, certificate


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_secret(path: Path, data: bytes) -> None:
    """Never readable by others, not even for a moment; never over an old one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'wb') as file:
        file.write(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 2 with one sentence that says what to do."""
    options = _parser().parse_args(arguments)
    try:
        policy_file = Path(options.policy) if options.policy else _installed_policy()
        with open(policy_file, encoding='utf-8') as file:
            text = file.read(MAX_BYTES + 1)
        namespace = '/' + options.namespace.strip('/')
        make_keystore(options.out, read_policy(text, namespace), days=options.days,
                      domain=options.domain, update=options.update)
    except (OSError, UnicodeDecodeError, PolicyError, KeystoreError) as error:
        print(f'make_keystore: {error}', file=sys.stderr)
        return 2
    print(f'{options.out}: written. Keep {options.out}/private off the robot; give each process '
          'its own enclave only (docs/security.md).')
    return 0


def _installed_policy() -> Path:
    from ament_index_python.packages import get_package_share_directory
    share = Path(get_package_share_directory('bringup'))
    return share / 'config' / 'security' / 'spinal.policy.xml'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='make_keystore', description='A keystore for ROS 2 from '
                                     'an SROS2 policy.')
    parser.add_argument('--policy', help='the policy (default: config/security/spinal.policy.xml)')
    parser.add_argument('--out', type=Path, required=True, help='the folder to write')
    parser.add_argument('--namespace', default='', help='of the robot; the policy is written for /')
    parser.add_argument('--domain', type=int, choices=range(MAX_DOMAIN + 1),
                        metavar=f'0..{MAX_DOMAIN}',
                        help='the only ROS_DOMAIN_ID it is good for (default: every one)')
    parser.add_argument('--days', type=_days, default=3650, help='valid for (default %(default)s)')
    parser.add_argument('--update', action='store_true',
                        help='sign again with the CA that is there: a changed policy, new enclaves')
    return parser


def _days(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 36500):
        raise argparse.ArgumentTypeError(f'{text}: must be 1 to 36500 days')
    return int(text)


if __name__ == '__main__':
    sys.exit(main())
