"""Programs that begin where Keras is imported: PyTorch and Keras take longer to import than most of them run.

One process imports Keras and waits at a socket. Each program is a fork of it, with the folder, the environment, the
input and the outputs of whoever asks. So a shell's commands run as in a terminal, and a program can be killed.
`python -S tests/forks.py SOCKET MODULE ARGUMENT...` asks as `python -m MODULE ARGUMENT...` would, and imports nothing.
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Forks:
    """The process that waits; `stop` ends it.

    Args:
        folder: where its socket lies.
        modules: what it imports.
    """

    def __init__(self, folder, *modules):
        self._path = str(folder / "socket")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "tests.forks", "--wait", self._path, *modules]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"
        # The words before a module and its arguments in a shell's command.
        self.command = [sys.executable, "-S", __file__, self._path]

    def start(self, module, *arguments):
        """Start a program: a `Program`."""
        return Program(self._path, module, *arguments)

    def stop(self):
        self._process.kill()
        self._process.communicate()


class Program:
    """A program that runs in a fork, with the folder, environment, input and outputs of this process."""

    def __init__(self, path, *argv):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        asked = json.dumps({"argv": argv, "folder": os.getcwd(), "environment": dict(os.environ)}).encode() + b"\n"
        socket.send_fds(self._socket, [asked[:1]], [0, 1, 2])
        self._socket.sendall(asked[1:])
        self._answers = self._socket.makefile()
        self._pid = int(self._answers.readline())

    def has_ended(self):
        return bool(select.select([self._socket], [], [], 0)[0])

    def kill(self):
        os.kill(self._pid, signal.SIGKILL)

    def wait(self, seconds=None):
        """The exit status, -9 of a program that was killed; a program that takes longer is an error."""
        with self._socket, self._answers:
            if not select.select([self._socket], [], [], seconds)[0]:
                self.kill()
                raise TimeoutError(f"The program took more than {seconds} seconds.")
            return int(self._answers.readline())


def _wait(path, *modules):
    for name in modules:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that serve
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(path)
        waiting.listen()
        print("ready", flush=True)
        while True:
            asked, _ = waiting.accept()
            if os.fork() == 0:
                waiting.close()
                _serve(asked)
            asked.close()


def _serve(asked):
    """In a fork: run the program in a fork of this one, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, files, _, _ = socket.recv_fds(asked, 1, 3)
    values = json.loads(data.decode() + asked.makefile().readline())
    pid = os.fork()
    if pid == 0:
        asked.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        _run(**values)
    for file in files:
        os.close(file)
    asked.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    asked.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _run(argv, folder, environment):
    import runpy
    import traceback

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, status = argv, 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "--wait":
        _wait(*sys.argv[2:])
    sys.exit(Program(*sys.argv[1:]).wait())
