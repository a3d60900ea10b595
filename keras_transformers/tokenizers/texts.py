"""Whether a text is language at all."""


def has_letter(text: str) -> bool:
    """Whether a text holds a letter of any script. Without one, such as "12:30" or "…", it is no language."""
    return any(map(str.isalpha, text))
