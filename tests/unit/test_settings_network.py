"""Which engine and which proxy lead to an upstream."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ccproxy_sanic import settings_network
from ccproxy_sanic.settings import SettingsError, examine, load, reread
from ccproxy_sanic.settings_network import Network, Reach, no_proxy, proxy

OPENAI = "https://api.openai.com/v1"
NEAR, FAR = "http://127.0.0.1:3128", "http://proxy.corp:3128"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reached(base_url: str, environ: dict[str, str]) -> str:
    """The proxy's URL, or "" for none."""
    found = load({**environ, "OPENAI_BASE_URL": base_url}).network.reach(base_url)
    assert found.engine == ("h1" if found.proxy is None else "httpx")
    return str(found.proxy or "")


def test_the_scheme_of_the_upstream_picks_the_proxy_and_all_is_for_the_rest() -> None:
    both = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2"}
    assert reached(OPENAI, both) == "http://secure:2"
    assert reached("http://h.example/v1", both) == "http://plain:1"
    for url in (OPENAI, "http://h.example/v1"):
        assert reached(url, {"ALL_PROXY": FAR}) == FAR
        assert reached(url, {}) == ""
    assert reached(OPENAI, {"HTTP_PROXY": FAR}) == ""
    assert reached(OPENAI, {**both, "ALL_PROXY": FAR}) == "http://secure:2"


def test_lower_case_goes_first_and_an_empty_value_takes_the_proxy_away(tmp_path: Path) -> None:
    assert reached(OPENAI, {"https_proxy": "http://low:1", "HTTPS_PROXY": FAR}) == "http://low:1"
    assert reached(OPENAI, {"https_proxy": "", "HTTPS_PROXY": FAR}) == ""
    assert reached(OPENAI, {"HTTPS_PROXY": FAR, "no_proxy": "openai.com"}) == ""
    (tmp_path / ".env").write_text(f"https_proxy=http://file:1\nOPENAI_BASE_URL={OPENAI}\n")
    assert str(load({}, tmp_path / ".env").https_proxy) == "http://file:1"
    assert str(load({"HTTPS_PROXY": FAR}, tmp_path / ".env").https_proxy) == FAR


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8", "api.localhost"])
def test_this_machine_is_reached_through_a_proxy_only_if_that_is_here_too(host: str) -> None:
    assert reached(f"http://{host}:8000/v1", {"ALL_PROXY": FAR}) == ""
    assert reached(f"http://{host}:8000/v1", {"ALL_PROXY": NEAR}) == NEAR


@pytest.mark.parametrize(
    ("entries", "hosts", "others"),
    [
        (
            "h.example",
            ["h.example", "a.h.example", "H.Example", "h.example."],
            ["xh.example", "example", "h.example.org"],
        ),
        (".h.example", ["h.example", "a.h.example"], ["xh.example"]),
        ("*.h.example", ["h.example", "a.h.example"], ["xh.example"]),
        ("*", ["h.example", "10.0.0.1", "[fd00::1]"], []),
        ("a.example,*", ["h.example"], []),
        ("a.example, b.example\tc.example", ["a.example", "b.example", "c.example"], ["d.example"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.11", "1.10.0.0", "a.10.0.0.1"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["11.0.0.1", "10.example"]),
        ("fd00::/8", ["[fd00::1]", "[fd12::9]"], ["[fe00::1]", "10.0.0.1"]),
        ("::2", ["[::2]"], ["[::3]"]),
        ("[::2]", ["[::2]"], ["[::3]"]),
        ("[::2]:8000", ["[::2]"], ["[::3]"]),
        ("h.example:8000", ["h.example", "a.h.example"], ["g.example"]),
        ("10.0.0.0/8:8000", ["10.9.9.9"], ["11.0.0.1"]),
        ("h.example:8001,10.0.0.0/8:8001,[::2]:8001", [], ["h.example", "10.9.9.9", "[::2]"]),
        ("http://h.example", ["h.example"], ["g.example"]),
        (", ,", [], ["h.example"]),
        ("*.", [], ["h.example"]),
    ],
)
def test_no_proxy_takes_hosts_away(entries: str, hosts: list[str], others: list[str]) -> None:
    environ = {"ALL_PROXY": FAR, "NO_PROXY": entries}
    assert [host for host in hosts if reached(f"http://{host}:8000/v1", environ)] == []
    assert [host for host in others if not reached(f"http://{host}:8000/v1", environ)] == []


def test_a_port_that_is_not_said_is_the_schemes_own() -> None:
    environ = {"ALL_PROXY": FAR, "NO_PROXY": "h.example:443"}
    assert (reached("https://h.example/v1", environ), reached("http://h.example/v1", environ)) == ("", FAR)


@pytest.mark.parametrize(
    ("text", "shown", "url", "credential"),
    [
        ("proxy.corp:3128", "http://proxy.corp:3128", "http://proxy.corp:3128", None),
        ("HTTPS://Proxy.corp", "https://proxy.corp", "https://Proxy.corp", None),
        ("http://ann:p%40ss@proxy.corp:1/", "http://proxy.corp:1", "http://ann:p%40ss@proxy.corp:1/", "p@ss"),
        ("http://token@proxy.corp:1", "http://proxy.corp:1", "http://token@proxy.corp:1", "token"),
        ("http://[::1]:1", "http://[::1]:1", "http://[::1]:1", None),
        ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080", None),
    ],
)
def test_a_proxy_is_read_and_prints_without_credentials(
    text: str, shown: str, url: str, credential: str | None
) -> None:
    found = proxy(text)
    assert (str(found), found.url.reveal()) == (shown, url)
    assert (found.credential.reveal() if found.credential else None) == credential
    assert "p%40ss" not in repr(found)
    assert "token" not in repr(found)


@pytest.mark.parametrize(
    "text", ["http://", "http://h:port", "http://h:99999", "http://[::1", "http://ann:secret@", "a b", "http://h/path"]
)
def test_what_is_no_proxy_is_a_fault_that_quotes_nothing(text: str) -> None:
    found = {fault.name: fault.reason for fault in examine({"https_proxy": text}).faults}
    assert found == {"HTTPS_PROXY": "is no address of a proxy, as in http://host:port"}


def test_a_socks_proxy_is_a_fault_only_where_it_would_be_used() -> None:
    socks = {"all_proxy": "socks5://127.0.0.1:1080", "OPENAI_API_KEY": "k"}
    [fault] = examine(socks).faults
    assert fault.name == "ALL_PROXY"
    assert "upstream openai would be reached through socks5://127.0.0.1:1080" in fault.reason
    for more in ({"HTTPS_PROXY": FAR}, {"NO_PROXY": "api.openai.com"}, {"OPENAI_API_KEY": ""}):
        assert examine({**socks, **more}).faults == ()


def test_a_reload_refuses_an_upstream_that_only_a_socks_proxy_leads_to(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    rule = '[[rule]]\ntargets = [{upstream = "a"}]\n'
    path.write_text('[upstream.a]\nbase_url = "http://127.0.0.1:1/v1"\n' + rule)
    environ = {"CCPROXY_ROUTES": str(path), "ALL_PROXY": "socks5://proxy.corp:1080"}
    running = load(environ)
    path.write_text('[upstream.a]\nbase_url = "https://h.example/v1"\n' + rule)
    with pytest.raises(SettingsError, match="upstream a would be reached through socks5"):
        reread(running, environ)


def test_remarks_name_what_is_not_reached_plainly_and_the_demo_is_never_proxied() -> None:
    settings = load({"OPENAI_API_KEY": "k", "HTTPS_PROXY": "http://ann:secret@proxy.corp:3128"})
    assert settings.network.remarks(settings.base_urls) == [
        "upstream openai is reached through the proxy http://proxy.corp:3128 with the httpx engine"
    ]
    assert [secret.reveal() for secret in settings.secrets] == ["k", "secret"]
    for environ in ({"ALL_PROXY": FAR}, {"ALL_PROXY": NEAR}, {"CCPROXY_ENGINE": "httpx"}):
        settings = load(environ)
        assert settings.network.remarks(settings.base_urls) == []


def test_http2_is_for_https_and_takes_the_httpx_engine() -> None:
    network = Network("h1", True, None, proxy(FAR), None, no_proxy("h.example"))
    assert network.reach("http://api.openai.com/v1") == Reach("h1")
    assert network.reach("https://h.example/v1") == Reach("httpx", http2=True)
    assert network.reach(OPENAI) == Reach("httpx", True, proxy(FAR), "HTTPS_PROXY")
    assert network.remarks({"a": "https://h.example", "b": OPENAI, "c": "http://h.example"}) == [
        "upstream a is reached over HTTP/2 where it has that with the httpx engine",
        "upstream b is reached through the proxy http://proxy.corp:3128 and over HTTP/2 where it has that "
        "with the httpx engine",
    ]


@pytest.mark.parametrize(
    ("name", "text", "package", "extra"),
    [("CCPROXY_ENGINE", "aiohttp", "httpx-aiohttp", "aiohttp"), ("CCPROXY_HTTP2", "1", "h2", "http2")],
)
def test_what_needs_a_package_more_says_which(
    name: str, text: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_network, "find_spec", lambda wanted: None)
    found = {fault.name: fault.reason for fault in examine({name: text}).faults}
    assert found == {name: f"needs {package}, which is missing: pip install 'ccproxy-sanic[{extra}]'"}
    monkeypatch.setattr(settings_network, "find_spec", lambda wanted: find_spec("httpx"))
    assert examine({name: text}).faults == ()
