"""What comes over the wire: HTTP/1.1 responses and server-sent events, read piece by piece; no I/O in here.

A piece may end anywhere. RFC 9112 for the framing; of the event stream what the OpenAI API uses: `data` fields.
"""

_CRLF = b"\r\n"
_LONGEST_HEAD = 65536
_LONGEST_SIZE_LINE = 1024


class WireError(ValueError):
    """Bytes that are no HTTP/1.1 response, or one that ends too early."""


class Response:
    """One response. `status` and `headers` (lower-case names) are there once the head is complete."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self._rest = b""
        self._left: int | None = None  # bytes of the body, or of its chunk, that are still to come
        self._chunked = False
        self._in_trailer = False

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another request; valid once `done`."""
        framed = self._chunked or self._left is not None
        return framed and self.done and not self._rest and "close" not in self.headers.get("connection", "").lower()

    def feed(self, data: bytes) -> bytes:
        """The part of the body in this piece. Raises WireError."""
        if not self.status:
            data = self._head(self._rest + data)
            if not self.status:
                return b""
        if self.done:
            self._rest += data  # more than was asked for: this connection is not to be used again
            return b""
        if self._chunked:
            return self._chunks(data)
        if self._left is None:
            return data
        body, self._rest = data[: self._left], data[self._left :]
        self._left -= len(body)
        self.done = self._left == 0
        return body

    def end(self) -> None:
        """The connection is closed. Raises WireError if that was too early."""
        if self.status and not self._chunked and self._left is None:
            self.done = True  # a body without a length ends with its connection
        if not self.done:
            raise WireError("the connection was closed before the end of the response")

    def _head(self, data: bytes) -> bytes:
        """Read the head if it is complete; what follows it."""
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator:
            if len(data) > _LONGEST_HEAD or not b"HTTP/1.".startswith(data[:7]):
                raise WireError(f"not an HTTP/1.1 response: {data[:40]!r}")
            self._rest = data
            return b""
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise WireError(f"not an HTTP/1.1 response: {first[:40]!r}")
        self._rest = b""
        if (status := int(rest[:3])) < 200:  # 100 Continue and the like go before the response
            return self._head(body)
        self.status = status
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if version == "HTTP/1.0":
            self.headers.setdefault("connection", "close")
        self._frame()
        return body

    def _frame(self) -> None:
        """How long the body is."""
        self._chunked = self.headers.get("transfer-encoding", "").lower().endswith("chunked")
        if self._chunked:
            return
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            length = "0"
        if length is not None:
            if not length.isdecimal():
                raise WireError(f"Content-Length: {length[:40]}")
            self._left = int(length)
            self.done = self._left == 0

    def _chunks(self, data: bytes) -> bytes:
        """The bodies of the chunks in `data`, as far as they are there; `_left` counts the CRLF behind a chunk too."""
        if self._left is None and not self._rest and (whole := self._one_chunk(data)):
            return whole
        data = self._rest + data
        body, position = [], 0
        while not self.done:
            if self._left is not None:
                taken = data[position : position + self._left]
                position += len(taken)
                # The last two of the bytes that are left are the CRLF, which a piece may cut in two.
                body.append(taken[: max(self._left - 2, 0)])
                if not _CRLF[max(2 - self._left, 0) :].startswith(taken[max(self._left - 2, 0) :]):
                    raise WireError("a chunk is longer than it says")
                self._left -= len(taken)
                if self._left:
                    break
                self._left = None
            end = data.find(_CRLF, position)
            if end < 0:
                if len(data) - position > _LONGEST_SIZE_LINE:
                    raise WireError("a chunk without a size")
                break
            line, position = data[position:end], end + 2
            self._size_line(line)
        self._rest = data[position:]
        return b"".join(body)

    def _one_chunk(self, data: bytes) -> bytes:
        """The body of a piece that is one chunk, as most are, or nothing; only to be quick."""
        end = data.find(_CRLF, 0, 9)
        if end < 1 or self._in_trailer or not data[:end].isalnum() or not data.endswith(_CRLF):
            return b""
        try:
            size = int(data[:end], 16)
        except ValueError:
            return b""
        return data[end + 2 : -2] if size and len(data) == end + size + 4 else b""

    def _size_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.done = not line
            return
        digits = line.split(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            size = -1
        if size < 0 or not digits.isalnum():
            raise WireError(f"not the size of a chunk: {line[:40]!r}")
        self._in_trailer = size == 0
        self._left = size + 2 if size else None


class Events:
    """The `data` of each event of a stream (WHATWG server-sent events; lines end in LF or CRLF)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, body: bytes) -> list[bytes]:
        """The events that this piece completes."""
        line_end = body.find(b"\n")
        one = line_end == len(body) - 2 and body.endswith(b"\n") and body.startswith(b"data: ")
        if one and not self._rest and not self._data:  # as most pieces are
            return [body[6:line_end].removesuffix(b"\r")]
        *lines, self._rest = (self._rest + body).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data) if len(self._data) > 1 else self._data[0])
                self._data = []
        return events
