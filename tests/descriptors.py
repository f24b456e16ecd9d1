"""A program in which a server has run out of file descriptors."""

from __future__ import annotations

# Append to a program that imports resource, socket, threading and time, and creates `server`. The descriptors run out
# before the clients connect, so that no connection is accepted. Leaves `held` and `waiting` open; prints the fraction
# of a CPU that the server uses while it cannot accept.
USE_UP_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
waiting = [socket.socket() for _ in range(3)]
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
threading.Thread(target=server.serve_forever, daemon=True).start()
for one in waiting:
    one.connect(server.server_address)
before, started = time.process_time(), time.monotonic()
time.sleep(0.8)
print((time.process_time() - before) / (time.monotonic() - started), flush=True)
"""
