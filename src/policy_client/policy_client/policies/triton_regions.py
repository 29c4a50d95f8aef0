"""What a Triton server is asked about system shared memory."""

from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from policy_client.policies.base import PolicyUnavailable
from policy_client.policies.triton_channel import Connection
from policy_client.policies.triton_memory import Refused


class TritonRegions:
    """triton_memory.Server over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def version(self, timeout_s: float) -> str:
        return str(self._ask('ServerMetadata', service_pb2.ServerMetadataRequest(),
                             timeout_s).version)

    def register(self, name: str, size: int, timeout_s: float) -> None:
        self._ask('SystemSharedMemoryRegister', service_pb2.SystemSharedMemoryRegisterRequest(
            name=name, key=f'/{name}', byte_size=size), timeout_s)

    def unregister(self, name: str, timeout_s: float) -> None:
        self._ask('SystemSharedMemoryUnregister', service_pb2.SystemSharedMemoryUnregisterRequest(
            name=name), timeout_s)

    def registered(self, timeout_s: float) -> set[str]:
        return set(self._ask('SystemSharedMemoryStatus',
                             service_pb2.SystemSharedMemoryStatusRequest(), timeout_s).regions)

    def _ask(self, method: str, message: Any, timeout_s: float) -> Any:
        try:
            return self._connection.call(method, message, timeout_s)
        except grpc.RpcError as error:
            raise Refused(self._connection.sentence(error)) from None
        except PolicyUnavailable as error:
            raise Refused(str(error)) from None
        except ValueError:
            raise Refused('closed') from None
