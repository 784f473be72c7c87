"""What the URL of a Redis or Valkey means."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from ccproxy_sanic.redis_client import client_of


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_server_by_name_database_and_password(scheme: str) -> None:
    pool = client_of(f"{scheme}://ann:secret@cache.example:6380/3").connection_pool
    wanted = {"host": "cache.example", "port": 6380, "db": 3, "username": "ann", "password": "secret"}
    assert pool.connection_class is Connection
    assert wanted.items() <= pool.connection_kwargs.items()


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
@pytest.mark.parametrize(
    ("query", "reqs", "checks"), [("", ssl.CERT_REQUIRED, True), ("?ssl_cert_reqs=none", ssl.CERT_NONE, False)]
)
def test_tls_with_and_without_a_look_at_the_certificate(
    scheme: str, query: str, reqs: ssl.VerifyMode, checks: bool
) -> None:
    pool = client_of(f"{scheme}://cache.example:6380{query}").connection_pool
    assert pool.connection_class is SSLConnection
    connection = pool.make_connection()
    assert isinstance(connection, SSLConnection)
    context = connection.ssl_context.get()
    assert (context.verify_mode, context.check_hostname) == (reqs, checks)


def test_a_unix_socket() -> None:
    pool = client_of("unix:///run/redis.sock?db=2").connection_pool
    assert pool.connection_class is UnixDomainSocketConnection
    assert {"path": "/run/redis.sock", "db": 2}.items() <= pool.connection_kwargs.items()


def test_what_is_no_url_of_a_server_is_refused() -> None:
    with pytest.raises(ValueError):
        client_of("https://cache.example")


def test_without_a_url_nothing_of_it_is_imported() -> None:
    code = "import sys, ccproxy_sanic.server; print([name for name in ('redis', 'aiocache') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
