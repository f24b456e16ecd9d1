"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def reserved_port() -> int:
    """Return a port that, for the next minute, is only given to a server that asks for it by number.

    A connection closed first by its server leaves the port in TIME_WAIT: the system does not give it to programs that
    ask for any free port, but with SO_REUSEADDR, which servers set, it can be bound by number. A port that is merely
    free could be taken in the meantime.
    """
    with socket.create_server((HOST, 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection((HOST, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server closes first, so that this port is in TIME_WAIT
            client.recv(1)
    return port
