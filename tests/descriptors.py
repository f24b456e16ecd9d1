"""A server that has run out of file descriptors, in a program of its own."""

from __future__ import annotations

# follows a program that imports resource, socket and threading, and made `server`; leaves `waiting` and `held` open
USE_UP_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
threading.Thread(target=server.serve_forever, daemon=True).start()
waiting = [socket.socket() for _ in range(12)]
for one in waiting:
    one.connect(server.server_address)
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
"""
