"""The text of generated tokens: where it stops, and how much of it is certain while it grows.

    stop "\\n\\n"    "One line.\\n"  ─►  "One line." is certain, "\\n" is held back: it may be the first half

A text is decoded after the last tokens of its prompt, so that it keeps its first space.
"""


class Continuation:
    """The text of one row, while it grows.

    Args:
        decode: a function of ids, a list of ints, to a string.
        stop: a tuple of strings; the text ends before the first of them that it comes to.
        context: the ids before the row, as many as the decoding of its first token depends on.
    """

    def __init__(self, decode, stop=(), context=()):
        self._decode, self._stop, self._context = decode, stop, list(context)
        self._before = len(decode(self._context))
        self._ids, self._said = [], ""

    def _whole(self, ids):
        return self._decode([*self._context, *ids])[self._before :]

    def text(self, ids):
        """The text of `ids`, up to where it stops."""
        text = self._whole(ids)
        return text[: min((text.find(each) for each in self._stop if each in text), default=None)]

    def stops(self, ids):
        """Whether a stop string is in the text of `ids`."""
        text = self._whole(ids) if self._stop else ""
        return any(each in text for each in self._stop)

    def add(self, token_id):
        """Take in one more token. Returns the new text that is certain, and whether a stop string was found."""
        self._ids.append(token_id)
        if self.stops(self._ids):
            return self.rest(), True
        text = self._whole(self._ids)
        if text.endswith("\ufffd"):  # in the middle of a character's bytes
            return "", False
        return self._say(text[: len(text) - self._undecided(text)]), False

    def rest(self):
        """The text that was held back, now that no token follows."""
        return self._say(self.text(self._ids))

    def _say(self, text):
        piece = text[len(self._said) :]
        self._said += piece
        return piece

    def _undecided(self, text):
        """The number of last characters that may be the beginning of a stop string."""
        longest = min(max(map(len, self._stop), default=1) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if any(each.startswith(text[-n:]) for each in self._stop)), 0)
