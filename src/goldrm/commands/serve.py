"""`goldrm serve`: the command that starts the service."""

import socket
from contextlib import suppress
from typing import Annotated

import typer

from goldrm.commands.options import Model
from goldrm.common.errors import GoldrmError

# At a time, each with a request in memory; more are told to come again. OpenRLHF asks for each
# completion of a rollout by a request of its own, all at once.
MAX_CONNECTIONS = 512


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    model: Model = None,
) -> None:
    """Score over HTTP, as OpenRLHF asks a remote reward model: POST /score; /health; /metrics.

    It listens at the loopback address unless told otherwise: it asks nobody who they are. It needs
    the extra serve (`pip install 'goldrm[serve]'`).
    """
    import uvicorn

    from goldrm.commands.own_scale import load_shown
    from goldrm.commands.service import Service

    trained = load_shown(model)
    config = uvicorn.Config(
        Service(trained).app(),
        log_level="warning",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
    )
    with listening(host, port) as bound, suppress(KeyboardInterrupt):
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{bound.getsockname()[1]}"
        typer.echo(f"{trained.folder.name} at {url}; Ctrl-C ends it", err=True)
        uvicorn.Server(config).run(sockets=[bound])


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        GoldrmError: when there is no such address here, or the port is in use or not allowed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no host has such a name"
        raise GoldrmError(
            f"nothing can listen at {host:.80}, port {port}: {reason}. Choose another --port or "
            "--host."
        ) from None
