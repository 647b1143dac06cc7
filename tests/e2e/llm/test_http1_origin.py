"""The connections to an origin: how they are made, kept and closed, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from actors.core.errors import FailureKind, SourceError
from actors.core.messages.tasks import Task
from actors.http1.exchange import Exchange
from actors.http1.origin import Origin
from actors.http1.request import head
from actors.sources.http import HttpSettings
from tests.e2e.support.scripted_server import KEY, ScriptedServer, ask, completion, open_endpoint

WITHIN_S = 30.0


@contextlib.asynccontextmanager
async def opened(url, **options):
    origin = Origin(URL(url), **{"connect_s": WITHIN_S, "keep_s": WITHIN_S, **options})
    yield origin
    await origin.close()


async def get(origin, url):
    exchange = Exchange(head("GET", URL(url), {}) + b"\r\n", lambda status: 1 << 20)
    await origin.send(exchange, WITHIN_S)
    return exchange.status


def at(*ports):
    """Return a look-up that finds all of these ports, in this order."""

    async def look_up(host, port):
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in ports]

    return look_up


# ---- making ----------------------------------------------------------------------------------------------


async def test_where_one_address_of_a_host_is_dead_another_is_taken(server):
    server.answer(b"yes")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    look_up = at(dead, URL(server.url).port)
    async with opened("http://many.test/", look_up=look_up) as origin:
        assert await asyncio.gather(*(get(origin, server.url) for _ in range(4))) == [200] * 4


async def test_a_connection_that_is_not_there_in_time_says_where_to_and_who_gives_up_harms_no_other(server):
    server.answer(b"yes")
    released = asyncio.Event()
    find = at(URL(server.url).port)

    async def look_up(host, port):
        await released.wait()
        return await find(host, port)

    async with opened("http://slow.test:81/", connect_s=0.05, look_up=look_up) as origin:
        with pytest.raises(ConnectionError, match=r"no connection to slow.test:81 within 0.05 s"):
            await get(origin, server.url)
    async with opened("http://slow.test:81/", look_up=look_up) as origin:
        first, second = (asyncio.create_task(get(origin, server.url)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        released.set()
        assert await second == 200


# ---- keeping ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening():
    """Yield the URL of a server that answers with nothing, and an event: a connection to it was closed."""
    closed = asyncio.Event()

    async def serve(reader, writer):
        while await reader.readline() not in (b"\r\n", b""):
            pass
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        closed.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", closed


async def test_closing_closes_the_connections_that_are_kept():
    async with listening() as (url, closed):
        async with opened(url) as origin:
            assert await get(origin, url) == 200
            assert not closed.is_set()
        async with asyncio.timeout(WITHIN_S):
            await closed.wait()


async def test_a_source_keeps_no_connection_to_where_it_was_sent(server, monkeypatch):
    monkeypatch.setattr("actors.sources.http._KEEP_S", 1e6)
    async with listening() as (elsewhere, closed):
        server.answer(b"", 302, Location=elsewhere)
        source = HttpSettings(name="api", kind="http", url=server.url, allow_private=True).build()
        with pytest.raises(SourceError, match="the response is not JSON"):
            await source.fetch(Task("k"))
        async with asyncio.timeout(WITHIN_S):
            await closed.wait()
        await source.close()


async def test_a_source_asks_again_where_a_kept_connection_closes_as_it_is_used(server):
    def hang_up(request):
        server.answer(b'["x"]')
        request.transport.abort()
        return asyncio.sleep(0, web.Response())

    url = server.url.replace("/v1", "/items")
    source = HttpSettings(name="api", kind="http", url=url, allow_private=True).build()
    server.answer(b'["x"]')
    await source.fetch(Task("k"))
    server.behaviour = hang_up
    assert len(await source.fetch(Task("k"))) == 1
    await source.close()
    assert len(server.requests) == 3


# ---- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """Return a certificate for 127.0.0.1 that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
async def secure(certificate):
    """Return a server that speaks TLS."""
    server = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


async def test_an_endpoint_is_asked_over_tls_and_its_connection_kept(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.answer(completion())
    async with open_endpoint(secure.url) as endpoint:
        ends = [await ask(endpoint, number=number) for number in range(3)]
    assert [end.values for end in ends] == [{"x": 0.5}] * 3
    assert len(secure.connections) == 1


async def test_who_shows_a_certificate_that_nobody_vouches_for_is_sent_nothing(secure):
    secure.answer(completion())
    async with open_endpoint(secure.url) as endpoint:
        ended = await ask(endpoint)
    assert ended.error.kind is FailureKind.TRANSIENT
    assert "certificate verify failed" in ended.error.message
    source = HttpSettings(name="api", kind="http", url=secure.url, allow_private=True).build()
    with pytest.raises(SourceError, match="the certificate is not valid"):
        await source.fetch(Task("k"))
    await source.close()
    assert secure.requests == []


# ---- proxies ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def forwarding(answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """Yield the URL of a proxy that forwards requests, and their heads."""
    heads = []

    async def copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.decode())
        method, target, _ = heads[-1].split(" ", 2)
        if method == "CONNECT":
            writer.write(answer)
            if not answer.startswith(b"HTTP/1.1 200"):
                writer.close()
                return
        place = URL(target if "://" in target else f"//{target}")
        onward = await asyncio.open_connection(place.host, place.port)
        if method != "CONNECT":
            onward[1].write(head.replace(target.encode(), place.raw_path_qs.encode()))
        await asyncio.gather(copy(reader, onward[1]), copy(onward[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield f"http://me:pass%20word@127.0.0.1:{proxy.sockets[0].getsockname()[1]}", heads


async def test_a_proxy_opens_a_tunnel_to_an_endpoint_with_tls(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "other.test")
    secure.answer(completion())
    async with forwarding() as (proxy, heads), open_endpoint(secure.url, proxy=proxy) as endpoint:
        ends = [await ask(endpoint, number=number) for number in range(3)]
    assert [end.values for end in ends] == [{"x": 0.5}] * 3
    assert len(heads) == 1, "the connection through the tunnel is kept"
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{URL(secure.url).port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk" in heads[0]
    assert KEY not in heads[0]


async def test_a_proxy_makes_the_request_to_an_endpoint_without_tls(server):
    server.answer(completion())
    async with forwarding() as (proxy, heads), open_endpoint(server.url, proxy=proxy) as endpoint:
        assert (await ask(endpoint)).values == {"x": 0.5}
    assert heads[0].startswith(f"POST {server.url}/chat/completions HTTP/1.1\r\n")


async def test_a_proxy_that_opens_no_tunnel_is_named_and_nothing_is_sent(secure):
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    async with forwarding(refusal) as (proxy, _), open_endpoint(secure.url, proxy=proxy) as endpoint:
        ended = await ask(endpoint)
    assert (ended.error.kind, ended.sent) == (FailureKind.TRANSIENT, False)
    assert f"the proxy 127.0.0.1:{URL(proxy).port} opens no tunnel" in ended.error.message
    assert "407 Proxy Authentication Required; check llm.endpoints.main.proxy" in ended.error.message
    assert secure.requests == []


async def test_a_host_that_no_proxy_names_is_reached_directly_and_no_variable_names_a_proxy(
    server, monkeypatch
):
    server.answer(completion())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with forwarding() as (proxy, heads):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        for given in ({"proxy": proxy}, {}):
            async with open_endpoint(server.url, **given) as endpoint:
                assert (await ask(endpoint)).values == {"x": 0.5}
    assert heads == []
