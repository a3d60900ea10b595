"""`keras-transformers serve`: tasks over HTTP, in the forms of OpenAI, LibreTranslate, Cohere and Jina."""

from typing import Annotated

import typer

from keras_transformers.apps.cli.options import command_of_records
from keras_transformers.apps.serving.settings import Address, Limits


@command_of_records
def serve(
    presets: Annotated[
        list[str], typer.Argument(help="Presets, or name=preset: a name, a folder, a GGUF file, hf://…")
    ],
    *,
    address: Address,
    task: Annotated[
        list[str] | None,
        typer.Option(help="name=TextEmbedder, for a preset that does not say its task; repeat for more."),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="name=en:fr, for a translator whose files do not name its languages; repeat for more."),
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            envvar="KERAS_TRANSFORMERS_API_KEY",
            show_envvar=True,
            help="A key that clients have to send; repeat for more. Other users of the machine see options.",
        ),
    ] = None,
    limits: Limits,
) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C: /translate, /v1/chat/completions, /v1/completions,
    /v1/embeddings, /rerank, /classify, and a page to try them."""
    from keras_transformers.extras import require

    require("serve", fastapi=True, uvicorn=True, prometheus_client=True)

    from keras_transformers.apps.serving.served import read_names
    from keras_transformers.apps.serving.server import serve as serve_models

    if "" in (api_key or ()):
        raise ValueError("Expected an --api-key of some characters, got an empty one.")
    serve_models(read_names(presets, task or (), pair or ()), address, limits, api_key or ())
