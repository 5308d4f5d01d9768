"""The parent of the servers: starts them, and ends them when whoever started it is gone.

usage: keeper.py FOLDER

Each line of standard input orders a server: its name and the words that start it, separated by NUL. It writes to
FOLDER/NAME.log; when it ends, how it ended is written to FOLDER/NAME.ended. At the end of standard input, which comes
with the end of whoever holds its other end, killed or not, all servers are killed and FOLDER is removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading


class Server:
    def __init__(self, folder, name, words):
        self.told = f"{folder}/{name}.ended"
        # Should the keeper itself be killed, the server dies with it.
        words = ["setpriv", "--pdeathsig", "KILL", "--", *words]
        with open(f"{folder}/{name}.log", "wb") as log:
            self.process = subprocess.Popen(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.watch = threading.Thread(target=self.tell, daemon=True)
        self.watch.start()

    def tell(self):
        """Tells how the server ended."""
        # Leaves the dead unburied, so that nobody else gets its number before `kill`.
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        how = "exit code" if ended.si_code == os.CLD_EXITED else "signal"
        with open(f"{self.told}.new", "w") as file:
            file.write(f"{how} {ended.si_status}")
        os.rename(f"{self.told}.new", self.told)

    def kill(self):
        # What a server started itself is of its group.
        os.killpg(self.process.pid, signal.SIGKILL)

    def bury(self):
        self.watch.join()
        self.process.wait()


def main():
    folder, servers = sys.argv[1], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for line in sys.stdin.buffer:
            name, *words = os.fsdecode(line).removesuffix("\n").split("\0")
            servers.append(Server(folder, name, words))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for server in servers:
            server.kill()
        for server in servers:
            server.bury()
        shutil.rmtree(folder, ignore_errors=True)


main()
