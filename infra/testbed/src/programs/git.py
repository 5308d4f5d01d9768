"""Serves git repositories by git's smart HTTP over TLS on a free port of 127.0.0.1, written to the file PORT.

usage: git.py ROOT CERTIFICATE KEY PORT

`git http-backend` does the work (git-http-backend(1), "ENVIRONMENT"); whoever asks may fetch and push.
"""

import contextlib
import http.server
import os
import ssl
import subprocess
import sys
import threading
import urllib.parse

root, certificate, key, told = sys.argv[1:]

SETTINGS = {"http.receivepack": "true", "safe.directory": "*"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def environment(self):
        path, _, query = self.path.partition("?")
        variables = {
            **os.environ,
            "GIT_PROJECT_ROOT": root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": urllib.parse.unquote(path),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": str(len(SETTINGS)),
        }
        if "Content-Length" in self.headers:
            variables["CONTENT_LENGTH"] = self.headers["Content-Length"]
        for number, (name, value) in enumerate(SETTINGS.items()):
            variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return variables

    def run(self, length):
        """Yields so many bytes of the request in pieces."""
        while length > 0:
            piece = self.rfile.read(min(length, 1 << 16))
            if not piece:
                raise ConnectionError("the request ends too early")
            length -= len(piece)
            yield piece

    def body(self):
        """Yields the body of the request in pieces."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield from self.run(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.run(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def feed(self, stdin):
        """Hands the whole request to the backend, or away when that is no longer listening."""
        try:
            for piece in self.body():
                with contextlib.suppress(BrokenPipeError):
                    stdin.write(piece)
        finally:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()

    def answer(self, stdout):
        status, headers = "200 OK", []
        while line := stdout.readline().decode("latin-1").strip():
            name, _, value = line.partition(": ")
            if name.lower() == "status":
                status = value
            else:
                headers.append((name, value))
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := stdout.read1(1 << 16):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def serve(self):
        pipe = subprocess.PIPE
        words = ["git", "http-backend"]
        with subprocess.Popen(words, env=self.environment(), stdin=pipe, stdout=pipe) as backend:
            feeder = threading.Thread(target=self.feed, args=(backend.stdin,))
            feeder.start()
            self.answer(backend.stdout)
            feeder.join()

    do_GET = do_POST = serve


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
# Each client's thread shakes hands, so that none holds up the others.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(f"{told}.new", "w") as file:
    file.write(str(server.server_port))
os.rename(f"{told}.new", told)
server.serve_forever()
