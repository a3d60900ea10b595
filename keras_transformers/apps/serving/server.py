"""A server's process: the socket, the models, and the end after SIGTERM."""

import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Sequence

import uvicorn
from fastapi import FastAPI

from keras_transformers.apps.serving.app import make_app
from keras_transformers.apps.serving.desk import Desk
from keras_transformers.apps.serving.served import Served, load
from keras_transformers.apps.serving.settings import Address, Limits


def serve(
    models: Sequence[tuple[str, str, str, str]], address: Address, limits: Limits, keys: Sequence[str] = ()
) -> None:
    """Serve models until SIGINT or SIGTERM. Requests that have begun are answered; new ones are refused.

    Args:
        models: names, presets, tasks and languages, as of `served.read_names`.
        address: where to listen.
        limits: what the server takes.
        keys: the keys of clients; none if anybody may ask.

    Raises:
        OSError: for a port that is in use.
        FileNotFoundError, ValueError: as `served.load`.
    """
    with listen(address) as listening:
        loaded = []
        for each in models:
            print(f"loading {each[0]} from {each[1]}", file=sys.stderr, flush=True)
            loaded.append(load(*each))
        host, port = listening.getsockname()[:2]
        if not keys and not ipaddress.ip_address(host).is_loopback:
            print("Whoever reaches this machine may ask: --api-key has clients send a key.", file=sys.stderr)
        shown = f"[{host}]" if ":" in host else host
        print(
            f"serving {', '.join(each.name for each in loaded)} at http://{shown}:{port}", file=sys.stderr, flush=True
        )
        make_server(loaded, limits, keys).run(sockets=[listening])


def make_server(models: Sequence[Served], limits: Limits, keys: Iterable[str] = ()) -> uvicorn.Server:
    """A server of loaded models, to `run` on sockets."""
    desk = Desk(models, limits, keys)
    app = make_app(desk)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.stop()

    app.router.lifespan_context = lifespan
    # Uvicorn waits so long for the requests that have begun, and ends the others.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=limits.stop_wait, server_header=False
    )
    return uvicorn.Server(config)


def listen(address: Address) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: for a port that is in use, or an address that the machine does not have.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise OSError(f"Expected an address of this machine, got {address.host}:{address.port}: {error}.") from None
        raise OSError(
            f"Expected a free port, got {address.port}, which another program listens on. Choose another: --port 0 "
            "takes a free one."
        ) from None
    return listening
