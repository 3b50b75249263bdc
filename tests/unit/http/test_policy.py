"""Who may talk to a server on loopback."""

from __future__ import annotations

import pytest

from lambdabox.http.policy import HostPolicy, split_host


def refusal(policy=None, *, host="127.0.0.1", port=9001, **headers):
    return (policy or HostPolicy()).guard(host, port).refusal({name.replace("_", "-"): value for name, value in headers.items()})


def guard_refuses(guard, host):
    return guard.refusal({"host": host}) is not None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:9001", "127.0.0.1", "127.9.9.9:9001", "localhost:9001", "LOCALHOST:9001", "localhost.:9001", "my.localhost:9001",
     "[::1]:9001", "[::1]", "sandbox.localdomain:9001"],
)  # fmt: skip
def test_names_of_loopback_are_accepted(host):
    assert not guard_refuses(HostPolicy().guard("127.0.0.1", 9001), host)


@pytest.mark.parametrize(
    "host",
    ["evil.example:9001", "evil.example", "localhost.evil.example:9001", "127.0.0.1:80", "10.0.0.1:9001", "", "localhost:x"],
)
def test_other_names_are_refused(host):
    assert guard_refuses(HostPolicy().guard("127.0.0.1", 9001), host)


def test_a_request_without_a_host_is_no_web_page():
    assert refusal() is None


def test_the_bound_address_is_accepted():
    guard = HostPolicy().guard("10.0.0.1", 9001)
    assert [guard_refuses(guard, "10.0.0.1:9001"), guard_refuses(guard, "10.0.0.2:9001")] == [False, True]


def test_a_server_on_every_address_accepts_addresses_but_no_names():
    guard = HostPolicy().guard("0.0.0.0", 9001)
    assert [guard_refuses(guard, "10.0.0.2:9001"), guard_refuses(guard, "host.docker.internal:9001")] == [False, True]


def test_allowed_hosts_are_accepted_with_any_port_unless_they_name_one():
    guard = HostPolicy(allowed_hosts=("host.docker.internal", "Other:1")).guard("127.0.0.1", 9001)
    assert [guard_refuses(guard, host) for host in ("host.docker.internal:77", "host.docker.internal", "other:1", "other:2")] == [
        False,
        False,
        False,
        True,
    ]


def test_allow_any_accepts_every_host_but_not_every_origin():
    policy = HostPolicy(allow_any=True)
    assert refusal(policy, host="x", sec_fetch_site="cross-site") is not None
    assert not guard_refuses(policy.guard("127.0.0.1", 9001), "evil.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:5173", "http://127.0.0.1:9002"])
def test_foreign_origins_are_refused_by_name(origin):
    assert origin in str(HostPolicy().guard("127.0.0.1", 9001).refusal({"host": "127.0.0.1:9001", "origin": origin}))


def test_a_page_of_our_own_may_call_us():
    assert HostPolicy().guard("127.0.0.1", 9001).refusal({"host": "localhost:9001", "origin": "http://localhost:9001"}) is None


@pytest.mark.parametrize("allowed", ["http://localhost:5173", "*", "http://LOCALHOST:5173/"])
def test_allowed_origins_are_accepted_across_sites(allowed):
    policy = HostPolicy(allowed_origins=(allowed,))
    assert refusal(policy, origin="http://localhost:5173", sec_fetch_site="cross-site") is None


@pytest.mark.parametrize(
    ("site", "is_refused"), [("cross-site", True), ("same-site", False), ("same-origin", False), ("none", False)]
)
def test_a_cross_site_request_is_refused(site, is_refused):
    assert is_refused == (refusal(sec_fetch_site=site) is not None)


@pytest.mark.parametrize(
    ("host", "parts"),
    [("a:1", ("a", "1")), ("a", ("a", None)), ("[::1]:1", ("::1", "1")), ("[::1]", ("::1", None)), ("::1", ("::1", None))],
)
def test_a_host_header_splits_into_name_and_port(host, parts):
    assert parts == split_host(host)
