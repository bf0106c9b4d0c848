"""Where a server listens and who may ask it: this machine alone by default, any other address only with a key."""

import ipaddress
import os
import socket
from dataclasses import dataclass, field

from slm.errors import InputError


@dataclass(frozen=True)
class Address:
    """A host, a port, and the key that every request has to bring; made by `make_address`."""

    host: str
    port: int
    key: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The API's root as a client on this machine reaches it."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    def listen(self) -> socket.socket:
        """A socket that takes connections from now on. Raises InputError for an address that is not free."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=1024)
        except OSError as error:
            raise InputError(
                f"cannot listen there: {error.strerror or error}",
                where=f"{self.host}:{self.port}",
                expected="an address of this machine, and a port that nobody uses",
                hint="another --port; 0 is any free one",
            ) from None


def make_address(host: str, port: int, *, key_env: str | None) -> Address:
    """The address with the key that the environment variable `key_env` holds.

    Raises InputError for a variable that is not set, and for an address of a network without a key.
    """
    key = os.environ.get(key_env, "").strip() if key_env else None
    if key_env and not key:
        raise InputError("the environment variable is not set", where=key_env, expected="the server's key in it")
    if key is not None and not key.isascii():
        raise InputError("the key has characters that no HTTP header takes", where=key_env, expected="ASCII")
    if key is None and not _is_loopback(host):
        raise InputError(
            "an address that other machines reach needs a key",
            where=f"--host {host}",
            expected="--host 127.0.0.1, or --key-env with the name of an environment variable that holds a key",
            hint="export SLM_KEY=$(openssl rand -hex 32), then slm serve … --key-env SLM_KEY",
        )
    return Address(host, port, key)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
