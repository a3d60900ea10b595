"""Optional packages, which are installed by the extras of this package."""

import importlib.util


def require(extra: str = "train", /, **needed: object) -> None:
    """Raise `ImportError`, which says what to install, if a package named with a true value is missing.

    Args:
        extra: the extra of this package that installs them.
        **needed: package names with a value; packages with a false value are not checked.

    Example:
        >>> require(sacrebleu=True, matplotlib=None)
    """
    missing = [name for name, value in needed.items() if value and importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Expected {' and '.join(missing)} for this, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f"`pip install 'keras-transformers[{extra}]'`."
        )
