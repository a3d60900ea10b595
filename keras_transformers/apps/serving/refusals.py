"""The error of a request that gets no answer."""


class Refused(Exception):
    """A request that gets an error in place of an answer.

    Args:
        status: the HTTP status.
        message: which value was expected, which came, what to do.
        code: a short name for programs, such as "model_not_found".
        retry_after: seconds after which the client may ask again, or None.
    """

    def __init__(self, status: int, message: str, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        # A message may quote a text that is no Unicode.
        self.message = message.encode("utf-8", "replace").decode("utf-8")
        self.status, self.code = status, code
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
