"""Locks of folders: one process at a time trains in a folder. The system drops the lock if the process ends in any way.

A process holds the lock, not a call: within one process, training may stop and begin again in the same folder.
"""

import os
import pathlib
import typing

LOCK = ".lock"


class _Held(typing.NamedTuple):
    descriptor: int
    users: int


_held: dict[pathlib.Path, _Held] = {}


def take(folder: pathlib.Path) -> None:
    """Lock a folder for this process, until `release` has been called as often, or the process ends.

    Args:
        folder: the folder, created if it does not exist.

    Raises:
        ValueError: if another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if folder in _held:
        _held[folder] = _held[folder]._replace(users=_held[folder].users + 1)
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        other = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ValueError(
            f"Expected {folder} to be used by one process at a time, got process {other or 'of another machine'} in "
            "it. Wait until that has ended, or choose another folder."
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    _held[folder] = _Held(descriptor, 1)


def release(folder: pathlib.Path) -> None:
    """Unlock a folder locked by `take`; do nothing if it is not locked."""
    folder = folder.resolve()
    held = _held.pop(folder, None)
    if held is None:
        return
    if held.users > 1:
        _held[folder] = held._replace(users=held.users - 1)
    else:
        os.close(held.descriptor)
