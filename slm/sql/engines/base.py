"""What every database engine looks like to the judge."""

from typing import Protocol

from slm.sql.results import ResultSet


class Engine(Protocol):
    """One guarded connection to one database."""

    def query(self, sql: str, *, timeout_s: float, max_rows: int) -> ResultSet:
        """The complete result of one read-only query. Raises Refused."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...
