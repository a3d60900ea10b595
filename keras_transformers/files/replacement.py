"""Replacement of a folder by a new one in one step of the file system.

    english-french/            old ──┐ exchanged  ┌── new
    .english-french.partial/   new ──┘            └── old, removed after

If the system cannot exchange two folders, the old one is renamed to `.<name>.old` first; `recover` puts it back if the
program stopped between the two renames.
"""

import collections.abc
import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import sys
import typing


def recover(folder: str | os.PathLike[str]) -> None:
    """Put back a folder whose replacement was interrupted; do nothing if there is none.

    Args:
        folder: the path of the folder. If it exists, nothing happens.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.exists() and beside(folder)[1].exists():
        with locked(folder.parent):
            put_back(folder)


def carry_over(folder: pathlib.Path, partial: pathlib.Path, dropped: typing.Any) -> None:
    """Copy the old folder's files, except those `dropped`, to the new one; as hard links if possible."""
    if not folder.is_dir():
        return
    for item in folder.iterdir():
        target = partial / item.name
        if target.exists() or any(item.match(pattern) for pattern in dropped):
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.copytree(item, target, symlinks=True, copy_function=_link)
        else:
            _link(item, target)


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def beside(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Return the paths of the new folder before the exchange, and of the old one between two renames."""
    return folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")


def put_back(folder: pathlib.Path) -> None:
    """Rename the old folder back if the new one did not take its place."""
    old = beside(folder)[1]
    if old.exists() and not folder.exists():
        os.rename(old, folder)


def put_in_place(partial: pathlib.Path, folder: pathlib.Path, old: pathlib.Path) -> None:
    """Replace `folder` by `partial`. The old folder is in `partial` or `old` afterwards."""
    if not folder.exists():
        os.rename(partial, folder)
    elif not _exchange(partial, folder):
        os.rename(folder, old)
        os.rename(partial, folder)


def _exchange(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Exchange two folders in one step; return False if the system has no such call."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        swap = 2  # RENAME_SWAP, <sys/stdio.h>
        failed = library.renamex_np(*names, ctypes.c_uint(swap))
    elif hasattr(library, "renameat2"):
        current_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: <fcntl.h>, <linux/fs.h>
        failed = library.renameat2(current_folder, names[0], current_folder, names[1], ctypes.c_uint(exchange))
    else:
        return False
    if failed and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(first), None, os.fspath(second))
    return not failed


def sync(path: pathlib.Path) -> None:
    """Force a file, or a folder's list of names, to disk."""
    posix = os.name == "posix"
    if not posix and os.path.isdir(path):
        return  # other systems cannot open folders
    descriptor = os.open(path, os.O_RDONLY if posix else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> collections.abc.Iterator[None]:
    """Let one program at a time save in `folder`. The system drops the lock if its holder ends in any way."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock folders; concurrent saves are not kept apart there.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
