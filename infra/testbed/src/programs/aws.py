"""Serves ministack on a free port of 127.0.0.1, which is written to the file PORT.

usage: aws.py FOLDER PORT
"""

import asyncio
import os
import socket
import sys

folder, told = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
os.environ.update(
    BIND_HOST="127.0.0.1",
    GATEWAY_PORT=port,
    S3_DATA_DIR=f"{folder}/s3",
    STATE_DIR=f"{folder}/state",
    # These listen on fixed ports of all interfaces.
    IOT_MTLS_ENABLED="0",
    SFTP_ENABLED="0",
    # It would remove containers that another one left.
    DOCKER_HOST=f"unix://{folder}/no-docker",
)
with open(f"{told}.new", "w") as file:
    file.write(port)
os.rename(f"{told}.new", told)

# They read the environment when they are loaded.
from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack.app import app  # noqa: E402

config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.keep_alive_timeout = 75
asyncio.run(serve(app, config))
