"""The settings of a server."""

from typing import Annotated

from keras_transformers.records import Count, Positive, Range, Size, record


@record
class Address:
    """Where a server listens.

    Attributes:
        host: the address to listen on; 0.0.0.0 for all of the machine.
        port: the port; 0 for a free one.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8000


@record
class Limits:
    """What a server takes.

    Attributes:
        max_body: the most bytes of a request.
        max_texts: the most texts of a request.
        max_characters: the most characters of a request, all texts together.
        max_tokens: the most tokens of a request, all texts together.
        max_new_tokens: the most tokens that a model writes for one text.
        queue_length: the most requests that wait for one model. More are refused with status 503.
        timeout: the most seconds from the request to the end of its answer, waiting included.
        batch_tokens: the tokens that are computed together, padding included.
        batch_wait: milliseconds that the first request of a batch waits for others.
        stop_wait: seconds that requests have to end after SIGTERM.
    """

    max_body: Size = 2_000_000
    max_texts: Size = 2048
    max_characters: Size = 200_000
    max_tokens: Size = 65_536
    max_new_tokens: Size = 1024
    queue_length: Size = 256
    timeout: Positive = 120.0
    batch_tokens: Size = 1024
    batch_wait: Count = 5
    stop_wait: Size = 30
