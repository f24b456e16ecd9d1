"""What every server here does where the process, or the machine, has no more of what a connection takes."""

from __future__ import annotations

import errno
import socketserver
import time
from typing import Any

SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.2  # s, before it is tried again


class PatientServer(socketserver.TCPServer):
    """Waits for room. To be the first of a server's base classes."""

    def get_request(self) -> tuple[Any, Any]:
        """Return the next connection. One without room stays waiting, and would be asked for without end."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SHORT_OF:
                time.sleep(PAUSE)
            raise
