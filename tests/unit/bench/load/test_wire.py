"""Responses and events are the same however their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.bench.load.wire import Events, Response, WireError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[left:right] for left, right in pairwise(edges)]


def read(pieces: list[bytes]) -> tuple[Response, bytes]:
    response = Response()
    return response, b"".join(response.feed(piece) for piece in pieces)


def chunked(bodies: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
PLACES = st.lists(st.integers(0, 10_000), max_size=20)


@given(BODIES, PLACES, st.sampled_from([b"", b";name=value"]), st.sampled_from([b"", b"Sum: 1\r\nMore: 2\r\n"]))
def test_chunks_are_joined(bodies, places, extension, trailer):
    response, body = read(cut(chunked(bodies, extension, trailer), places))
    assert body == b"".join(bodies)
    assert response.done
    assert response.keeps_alive
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6))
def test_a_chunk_a_piece(bodies):
    """As servers mostly send them."""
    response = Response()
    response.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    assert [response.feed(b"%X\r\n%b\r\n" % (len(body), body)) for body in bodies] == bodies
    assert not response.done
    assert response.feed(b"0\r\n\r\n") == b""
    assert response.done


@given(st.binary(max_size=60), PLACES)
def test_a_body_with_a_length(body, places):
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    response, seen = read(cut(data, places))
    assert (seen, response.done, response.keeps_alive) == (body, True, True)


@given(st.binary(max_size=60), PLACES)
def test_a_body_that_ends_with_its_connection(body, places):
    response, seen = read(cut(HEAD + b"\r\n" + body, places))
    assert (seen, response.done) == (body, False)
    response.end()
    assert response.done
    assert not response.keeps_alive


@given(BODIES, st.integers(1, 10_000))
def test_a_connection_that_ends_too_early_is_told(bodies, missing):
    data = chunked(bodies)
    response, _ = read([data[: len(data) - 1 - missing % len(data)]])
    with pytest.raises(WireError):
        response.end()


@pytest.mark.parametrize("header", [b"Connection: close", b"connection: Keep-Alive, Close"])
def test_a_connection_that_the_server_closes_is_not_kept(header):
    response, _ = read([HEAD + header + b"\r\nContent-Length: 0\r\n\r\n"])
    assert response.done
    assert not response.keeps_alive


def test_more_than_the_response_is_not_kept():
    response, body = read([chunked([b"one"]), b"HTTP/1.1"])
    assert body == b"one"
    assert not response.keeps_alive


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 yes\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        b"HTTP/1.1 200 OK\r\nLong: " + b"x" * 70_000,
    ],
)
def test_what_is_no_response_is_refused(data):
    with pytest.raises(WireError):
        read([data])
    with pytest.raises(WireError):
        read([data[index : index + 1] for index in range(len(data))])


LINES = st.sampled_from(
    [b"data: {}", b"data:{}", b"data: a: b", b": comment", b"event: x", b"id: 1", b"", b"", b"data"]
)


@given(st.lists(LINES, max_size=12), st.sampled_from([b"\n", b"\r\n"]), PLACES)
def test_events_are_the_same_in_pieces(lines, end, places):
    stream = b"".join(line + end for line in lines)
    whole = Events().feed(stream)
    events = Events()
    assert [event for piece in cut(stream, places) for event in events.feed(piece)] == whole
    assert sum(line.startswith(b"data:") for line in lines) >= len(whole)


@given(st.lists(st.sampled_from([b"data: {}\n\n", b"data: a\r\n\r\n", b"data: b\r\n\n", b"data: c", b"\n", b"\n\n"])))
def test_an_event_a_piece(pieces):
    events = Events()
    seen = [event for piece in pieces for event in events.feed(piece)]
    assert seen == Events().feed(b"".join(pieces))
    assert all(b"\r" not in event for event in seen)


def test_an_event_is_its_data():
    stream = b': hello\n\ndata: {"a": 1}\r\n\r\nevent: more\ndata: one\ndata:two\n\ndata: [DONE]\n\ndata: cut'
    assert Events().feed(stream) == [b'{"a": 1}', b"one\ntwo", b"[DONE]"]
