"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def reserved_port() -> int:
    """Return a port that the system gives to nobody for the next minute but to a server that asks for it by number.

    A connection whose server closed it first leaves the port in TIME_WAIT: nobody is given it who asks for any that is
    free, and with SO_REUSEADDR, which servers set, it can be bound. A port that merely was free could be taken by then.
    """
    with socket.create_server((HOST, 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection((HOST, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # first, so that the wait is this port's
            client.recv(1)
    return port
