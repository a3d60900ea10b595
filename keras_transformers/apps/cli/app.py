"""The command-line app with all commands. Each command imports heavy packages itself, so that `--help` is quick."""

import typer

from keras_transformers.apps.cli.convert import convert
from keras_transformers.apps.cli.embed import embed
from keras_transformers.apps.cli.evaluate import evaluate
from keras_transformers.apps.cli.explain import explain
from keras_transformers.apps.cli.export import export
from keras_transformers.apps.cli.families import families
from keras_transformers.apps.cli.generate import generate
from keras_transformers.apps.cli.presets import presets
from keras_transformers.apps.cli.run import run
from keras_transformers.apps.cli.score import score
from keras_transformers.apps.cli.serve import serve
from keras_transformers.apps.cli.train import train
from keras_transformers.apps.cli.train_language_model import train_language_model
from keras_transformers.apps.cli.translate import translate
from keras_transformers.apps.cli.verify import verify

app = typer.Typer(
    help="Transformers in Keras: translate, generate, embed, serve, train, evaluate. KERAS_BACKEND: the backend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    translate,
    generate,
    serve,
    train,
    train_language_model,
    run,
    evaluate,
    score,
    embed,
    convert,
    export,
    explain,
    presets,
    families,
    verify,
):
    app.command()(command)
