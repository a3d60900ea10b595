"""Which lines of real text can tell two tokenizers apart."""


def telling(lines: list[str]) -> list[str]:
    """The lines that bring three characters in a row which no earlier line has; all others repeat them.

    A fault in the reading of a character, of its neighbours or of the end of a word shows in one of these.
    """
    seen: set[str] = set()
    kept = []
    for line in lines:
        found = {line[start : start + 3] for start in range(max(1, len(line) - 2))}
        if found - seen:
            kept.append(line)
            seen |= found
    return kept
