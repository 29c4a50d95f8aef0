"""A gateway as stands before a server in a cloud: lets a bearer token in, forwards the rest.

    python token_gateway.py UPSTREAM TOKEN_FILE

Prints its port. What it refuses it repeats in its error, which a client must not pass on.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


class Gateway(grpc.GenericRpcHandler):
    def __init__(self, upstream, token_file):
        self._channel = grpc.insecure_channel(upstream)
        self._token_file = token_file

    def service(self, details):
        forward = self._channel.unary_unary(details.method)
        given = dict(details.invocation_metadata).get('authorization', 'nothing')

        def handle(request, context):
            if given != f'Bearer {self._token_file.read_text()}':
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f'{given!r} may not come in')
            try:
                return forward(request, timeout=context.time_remaining())
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(handle)


def main():
    server = grpc.server(ThreadPoolExecutor(4),
                         handlers=[Gateway(sys.argv[1], Path(sys.argv[2]))])
    port = server.add_insecure_port('127.0.0.1:0')
    server.start()
    print(port, flush=True)
    sys.stdin.read()  # until whoever started it closes the pipe, or ends
    server.stop(0)


if __name__ == '__main__':
    main()
