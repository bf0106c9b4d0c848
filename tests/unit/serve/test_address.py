"""Only this machine is served without a key, and a key is shown nowhere."""

import socket

import pytest

from slm.errors import InputError
from slm.serve import Address, make_address

KEY = "s3cret-key"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_key(host):
    assert make_address(host, 8000, key_env=None).key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "example.org", "localhost.example.org"])  # noqa: S104
def test_any_other_address_needs_one(host, monkeypatch):
    with pytest.raises(InputError, match="needs a key"):
        make_address(host, 8000, key_env=None)
    monkeypatch.setenv("SLM_TEST_KEY", KEY)
    address = make_address(host, 8000, key_env="SLM_TEST_KEY")
    assert address.key == KEY
    assert KEY not in repr(address)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_key_that_is_not_there_is_an_error(value, monkeypatch):
    monkeypatch.delenv("SLM_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SLM_TEST_KEY", value)
    with pytest.raises(InputError, match="SLM_TEST_KEY: the environment variable is not set"):
        make_address("127.0.0.1", 8000, key_env="SLM_TEST_KEY")


def test_a_key_that_no_header_takes_is_an_error_without_the_key(monkeypatch):
    monkeypatch.setenv("SLM_TEST_KEY", "schlüssel")
    with pytest.raises(InputError) as raised:
        make_address("127.0.0.1", 8000, key_env="SLM_TEST_KEY")
    assert "schl" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/v1"),
        ("0.0.0.0", "http://127.0.0.1:80/v1"),  # noqa: S104
        ("::", "http://[::1]:80/v1"),
        ("10.0.0.1", "http://10.0.0.1:80/v1"),
    ],
)
def test_the_url_is_one_that_a_client_here_reaches(host, url):
    assert Address(host, 80).url == url


def test_a_port_in_use_is_an_error_that_names_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen there: Address already in use"):
            Address("127.0.0.1", port).listen()
    with Address("127.0.0.1", 0).listen() as free:
        assert free.getsockname()[1] > 0
