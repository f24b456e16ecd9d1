"""Control who may connect: allowed addresses, and a TLS handshake that does not delay others."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any

from cxr_infer.node.config import Receive

Tell = Callable[..., None]


class Door:
    """Shared by the servers of both protocols. tls: handshakes run in the connection's own thread, see `secured`."""

    def __init__(self, receive: Receive, tls: ssl.SSLContext | None, tell: Tell) -> None:
        self._networks = [ipaddress.ip_network(each) for each in receive.addresses]
        self._tls, self._tell = tls, tell

    def lets_in(self, client_address: Any) -> bool:
        """Whether this peer may connect."""
        address = ipaddress.ip_address(client_address[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if self._networks and not any(address in network for network in self._networks):
            self._tell("stranger", reason="address not allowed", address=str(address))
            return False
        return True

    def secured(self, request: socket.socket, client_address: Any) -> socket.socket | None:
        """Return the connection after its handshake; None if that failed and the connection must be closed."""
        if self._tls is None:
            return request
        try:
            return self._tls.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            self._tell("stranger", reason=f"TLS: {reason}", address=str(client_address[0]))
            return None
