"""A qemu-storage-daemon that aborts where a part is asked for: a real one behind a wrapper."""

import sys
from pathlib import Path

WRAPPER = """\
#!{python}
import os, select, socket, subprocess, sys, time

daemon, words = {daemon!r}, sys.argv[1:]
listening = next((word for word in words if "path=" in word), None)
if listening is None:
    os.execv(daemon, [daemon, *words])
path = listening.partition("path=")[2].partition(",")[0]
process = subprocess.Popen([daemon, *(word.replace(path, path + "2") for word in words)])
inside, server = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
while inside.connect_ex(path + "2"):
    time.sleep(0.01)
server.bind(path)
server.listen()
outside, _ = server.accept()
other = {{inside: outside, outside: inside}}
while True:
    for one in select.select(list(other), [], [])[0]:
        data = one.recv(65536)
        if one is outside and {asked!r} in data:
            print("x.c:1: check: Assertion `!locked' failed.", file=sys.stderr, flush=True)
            os.abort()
        if not data:
            sys.exit(process.wait())
        other[one].sendall(data)
"""


def crashing_at(asked, daemon, path):
    """Write a daemon to ``path`` that aborts at the first command in which ``asked`` stands."""
    source = WRAPPER.format(python=sys.executable, daemon=str(daemon), asked=asked.encode())
    path.write_text(source)
    path.chmod(0o755)
    return Path(path)
