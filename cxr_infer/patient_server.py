"""A server base class that waits if the process or machine has run out of descriptors, buffers or memory."""

from __future__ import annotations

import errno
import socketserver
import time
from typing import Any

SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.2  # s before the next attempt


class PatientServer(socketserver.TCPServer):
    """Waits for free resources. Must be the first base class of a server."""

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. Without resources it stays pending, so a pause avoids a busy loop."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SHORT_OF:
                time.sleep(PAUSE)
            raise
