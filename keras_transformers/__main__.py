"""`python -m keras_transformers`, and the command `keras-transformers`."""

import sys
import warnings


def main():
    """Run the command line; an error that the user can mend is one line on standard error, and exit status 1."""
    try:
        from keras_transformers.apps.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.exit("keras-transformers: the command line needs typer: `pip install 'keras-transformers[cli]'`.")
    # What limits a run, such as a text that is too long, is said in one line too.
    warnings.formatwarning = lambda message, *place: f"keras-transformers: {message}\n"
    try:
        app(prog_name="keras-transformers")
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"keras-transformers: {error}")


if __name__ == "__main__":
    main()
