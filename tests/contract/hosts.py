"""Hosts that are not the database one hoped for: each speaks as much of MariaDB's protocol as its failure needs."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from lab.certificates import Certificates

TLS = 1 << 11
CAPABILITIES = 0x81BFF7FE & ~TLS
# Source: MariaDB Knowledge Base, "Connecting to the server: initial handshake packet".
GREETING = b"\x0a10.11.6-MariaDB\x00" + struct.pack("<I", 1) + b"12345678\x00"
Behave = Callable[[socket.socket], None]


@contextmanager
def host(behave: Behave) -> Iterator[int]:
    """Port of a host that treats every caller this way."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as listening:
        threading.Thread(target=_serve, args=(listening, behave), daemon=True).start()
        yield int(listening.getsockname()[1])


def _serve(listening: socket.socket, behave: Behave) -> None:
    while True:
        try:
            caller, _ = listening.accept()
        except OSError:
            return
        with closing(caller), suppress(OSError):
            behave(caller)


def silent(caller: socket.socket) -> None:
    """Accepts and says nothing until the caller gives up."""
    caller.settimeout(5)
    caller.recv(1)


def hangs_up(_: socket.socket) -> None:
    """Accepts and closes."""


def says(text: bytes) -> Behave:
    def behave(caller: socket.socket) -> None:
        caller.sendall(text)
        silent(caller)

    return behave


def packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def greeting(capabilities: int) -> bytes:
    low, high = capabilities & 0xFFFF, capabilities >> 16
    middle = struct.pack("<HBHHB", low, 0x21, 2, high, 21)
    return packet(0, GREETING + middle + bytes(10) + b"123456789012\x00mysql_native_password\x00")


without_tls = says(greeting(CAPABILITIES))


def garbled_tls(caller: socket.socket) -> None:
    """Offers TLS and then speaks something else."""
    caller.sendall(greeting(CAPABILITIES | TLS))
    caller.recv(100)
    caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    time.sleep(0.05)


def with_tls(certificates: Certificates, error: int = 0, text: str = "") -> Behave:
    """TLS with this certificate; whoever logs in gets the error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_file, certificates.server_key_file)

    def behave(caller: socket.socket) -> None:
        caller.sendall(greeting(CAPABILITIES | TLS))
        caller.recv(36)  # the request for TLS, after which the handshake begins
        with context.wrap_socket(caller, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(packet(3, b"\xff" + struct.pack("<H", error) + b"#28000" + text.encode()))
            silent(secured)

    return behave
