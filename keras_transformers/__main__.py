"""`python -m keras_transformers`, and the command `keras-transformers`."""

import sys
import warnings


def main() -> None:
    """Run the command line. An error that the user can correct is one line on standard error, with exit status 1."""
    try:
        from keras_transformers.apps.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("keras-transformers: the command line needs typer: `pip install 'keras-transformers[cli]'`.")
    # Warnings, such as about a text that is too long, take one line too.
    warnings.formatwarning = lambda message, *place: f"keras-transformers: {message}\n"
    try:
        app(prog_name="keras-transformers")
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"keras-transformers: {error}")


if __name__ == "__main__":
    main()
