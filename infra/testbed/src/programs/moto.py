"""Serves moto on a free port of 127.0.0.1, which is written to the file PORT.

usage: moto.py PORT
"""

import os
import socket
import sys
import threading

(told,) = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
os.environ["MOTO_PORT"] = str(port)
with open(f"{told}.new", "w") as file:
    file.write(str(port))
os.rename(f"{told}.new", told)

# It reads the environment when it is loaded.
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402

application = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ, start_response):
    """Moto compares a condition first and writes then: of two at once both would pass."""
    with turn:
        answer = application(environ, start_response)
        try:
            return list(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()


make_server(
    "127.0.0.1",
    port,
    one_at_a_time,
    threaded=True,
    request_handler=MotoRequestHandler,
    fd=listener.fileno(),
).serve_forever()
