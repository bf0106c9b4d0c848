"""A request that gets no answer, as the OpenAI API tells it."""

from typing import Any

from slm.errors import InputError


class Refused(InputError):
    """What was wrong with a request. `param` is the field, `code` what programs look at."""

    def __init__(self, status: int, problem: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(problem)
        self.status, self.param, self.code = status, param, code

    @property
    def body(self) -> dict[str, Any]:
        """The error object of the OpenAI API."""
        return error_body(self.status, str(self), param=self.param, code=self.code)


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error object of the OpenAI API for any failed request."""
    kind = "server_error" if status >= 500 else "authentication_error" if status == 401 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
