"""Pages of the documentation as programs: their Python blocks run in order, in one namespace."""

import contextlib
import io
import pathlib
import re

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def run(path: pathlib.Path) -> None:
    """Run the blocks of a page, and compare what each prints with the box after it."""
    text = path.read_text(encoding="utf-8")
    namespace = {"__name__": "guide"}
    for match in BLOCK.finditer(text):
        code, expected = match.groups()
        line = text.count("\n", 0, match.start(1))
        # Blank lines in front, so that a traceback names the line of the page.
        compiled = compile("\n" * line + code, str(path), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compiled, namespace)
        assert printed.getvalue() == (expected or ""), f"{path.name}, the block from line {line + 1}"
