"""Serves moto on a free port of 127.0.0.1, which is written to the file PORT.

usage: moto.py PORT
"""

import os
import socket
import sys

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

make_server(
    "127.0.0.1",
    port,
    DomainDispatcherApplication(create_backend_app),
    threaded=True,
    request_handler=MotoRequestHandler,
    fd=listener.fileno(),
).serve_forever()
