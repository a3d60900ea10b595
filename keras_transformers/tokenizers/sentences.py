"""Documents to sentences and back, for models that read a sentence at a time.

    "  He came. She left.\\n\\n* Fine!\\n"      sentences   "He came."   "She left."   "Fine!"
                                           gaps        "  "         " "           "\\n\\n* "   and a tail   "\\n"

A document is its sentences, the gap before each, and the tail after the last. Put together, they are the text again,
character for character. Line ends are always gaps, and so are the marks and numbers of lists.

A sentence ends with "." "!" "?" or the marks of another script, with closing quotes and brackets, before a space that
no small letter follows; the full-width ends of Chinese and Japanese need no space. A full stop ends no sentence after a
known abbreviation ("Dr."), initials ("J. S. Bach", "e.g."), and, in languages that write ordinals so, a
number ("am 3. Mai"). In doubt, two sentences stay together: a translator copes better with two than with half of one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

_CLOSING = "\"'”’»›)]}」』）】》〉*_"
_WIDE = "。！？｡"
_STOPS = ".!?…‽؟۔।॥։።။។"
# At the first stop of a row of them, so that a text of nothing else takes no longer.
_BOUNDARY = re.compile(
    rf"(?<![{_STOPS}])([{_STOPS}]+)[{re.escape(_CLOSING)}]*+(?:[ \u00a0\u202f]»)?(\s+)(?=\S)"
    rf"|(?<![{_WIDE}])[{_WIDE}]+[{re.escape(_CLOSING)}]*+(\s*)(?=[^\sと])"  # と: quoted, and going on
)
_OPENING = "\"'“‘„«‹([{¿¡—–-*_"
_MARK = re.compile(r"(?:[-–—*•‣·+>#|]{1,6}|(\d{1,3}\.)|[(\[]?(?:\d{1,3}|[A-Za-z])[)\]])\s+(?=\S)")
_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_WORD_BEGIN = re.compile(r"[\s(\[{\"'“‘„«‹]")
_ABBREVIATED = frozenset(
    # English, German, French, Spanish and Portuguese, Italian, Dutch, Russian
    """mr mrs ms dr prof st rev gen col capt lt sgt gov sen rep hon pres jan feb apr jun jul aug sept sep oct nov dec vs
    approx dept est
    bzw ca evtl ggf vgl inkl exkl geb gest hr fr str abs bspw sog zzgl
    mm mme mmes mlle mlles mgr env av
    sra srta srs ud uds dra exmo exma avda
    sig dott avv ing
    dhr mevr mw bijv
    ул им стр руб тыс млн проф""".split()
)
_BEFORE_NUMBERS = frozenset("no nos nr nrs p pp s art fig figs vol ch kap bd núm num pág cap eq sec".split())
# Those that write an ordinal number with a full stop (ISO 639-1).
_STOP_AFTER_ORDINALS = frozenset("de da no nn fi et lv cs sk sl hr bs sr hu pl tr is fo lb eu".split())
_CLAUSE = re.compile(r"[,;:،؛][\"'”’»)]*\s+|[，、；：]|\s[—–-]\s|\s+")


class Document(NamedTuple):
    """Sentences, the gap before each, and the tail after the last.

    Attributes:
        sentences: texts without spaces around them.
        gaps: as many texts: spaces, line ends, marks of lists.
        tail: text.
    """

    sentences: list[str]
    gaps: list[str]
    tail: str

    def joined(self, sentences: Sequence[str] | None = None) -> str:
        """The text, with other sentences in place of these.

        Between sentences of one line, the space follows the new sentences: there is none after a full-width "。", and
        one after another stop that replaces it.
        """
        if sentences is None:
            sentences = self.sentences
        pieces: list[str] = []
        before = after = ""
        for gap, old, new in zip(self.gaps, self.sentences, sentences, strict=True):
            if before and new:
                if (gap, _is_wide(after), _is_wide(before)) == (" ", False, True):
                    gap = ""
                elif (gap, _is_wide(after), _is_wide(before)) == ("", True, False):
                    gap = " "
            pieces += gap, new
            before, after = new, old
        return "".join((*pieces, self.tail))

    def without_cuts(self, spans: Sequence[tuple[int, int]]) -> "Document":
        """The document with sentences joined that lie in one of some spans of the text together."""
        sentences: list[str] = []
        gaps: list[str] = []
        end = 0  # of the last sentence
        for gap, sentence in zip(self.gaps, self.sentences, strict=True):
            begin = end + len(gap)
            if sentences and any(first < begin and last > end for first, last in spans):
                sentences[-1] += gap + sentence
            else:
                gaps.append(gap)
                sentences.append(sentence)
            end = begin + len(sentence)
        return Document(sentences, gaps, self.tail)


def _is_wide(sentence: str) -> bool:
    return sentence.rstrip(_CLOSING).endswith(tuple(_WIDE))


def split_document(text: str, language: str | None = None, together: Callable[[str], bool] | None = None) -> Document:
    """The sentences of a text.

    Args:
        text: of any length, with its line ends.
        language: its code of two letters, which some rules depend on; None if it is not known.
        together: a function from the sentences of a line, as one text, to whether they stay together.

    Example:
        >>> split_document("Dr. Smith came.  She left.\\n").sentences
        ['Dr. Smith came.', 'She left.']
    """
    spans: list[tuple[int, int]] = []
    begin = 0
    for end, following in (*(match.span() for match in _LINE_ENDS.finditer(text)), (len(text), len(text))):
        found = list(_sentences(text, begin, end, language))
        if together is not None and len(found) > 1 and together(text[found[0][0] : found[-1][1]]):
            found = [(found[0][0], found[-1][1])]
        spans += found
        begin = following
    return _document(text, spans)


def _document(text: str, spans: Sequence[tuple[int, int]]) -> Document:
    ends = [0, *(end for _, end in spans)]
    gaps = [text[end:begin] for end, (begin, _) in zip(ends, spans, strict=False)]
    return Document([text[begin:end] for begin, end in spans], gaps, text[ends[-1] :])


def _sentences(text: str, begin: int, end: int, language: str | None) -> Iterable[tuple[int, int]]:
    """The spans of the sentences of one line, `text[begin:end]`, without spaces around them."""
    line = text[begin:end]
    first, end = begin + len(line) - len(line.lstrip()), begin + len(line.rstrip())
    mark = _MARK.match(text, first, end)
    if mark and not (mark[1] and language in _STOP_AFTER_ORDINALS):
        first = mark.end()
    begin = first
    if begin >= end:
        return
    for match in _BOUNDARY.finditer(text, first, end):
        if match[1] is None or _ends_sentence(text, begin, match, language):
            yield begin, match.start(2 if match[1] else 3)
            begin = match.end()
    yield begin, end


def _ends_sentence(text: str, begin: int, match: re.Match[str], language: str | None) -> bool:
    following = text[match.end() : match.end() + 4].lstrip(_OPENING)[:1]
    if following.islower():
        return False
    if match[1] != ".":
        return True
    before = text[max(begin, match.start() - 24) : match.start()]
    word = re.split(_WORD_BEGIN, before)[-1]
    if word.isdigit() and len(word) <= 2 and language in _STOP_AFTER_ORDINALS:
        return False
    if all(part.isalpha() and len(part) <= 2 for part in word.split(".")) and (len(word) == 1 or "." in word):
        return False  # initials
    if word.casefold() in _BEFORE_NUMBERS:
        return not following.isdigit()
    return word.casefold() not in _ABBREVIATED


def cut_to_fit(document: Document, spans_of: Callable[[Sequence[str]], Sequence[np.ndarray]], most: int) -> Document:
    """The document with sentences that are too long cut into several.

    A cut is after a comma or the like in the second half of the part that fits, else at a space, else anywhere.

    Args:
        document: a `Document`.
        spans_of: a function of texts to the characters that each of their tokens stands for, int `[T, 2]`: what
            `Tokenizer.encode_with_offsets` returns.
        most: how many tokens a sentence may have.
    """
    sentences: list[str] = []
    gaps: list[str] = []
    for gap, sentence, tokens in zip(document.gaps, document.sentences, spans_of(document.sentences), strict=True):
        todo = [(gap, sentence, tokens)]
        while todo:
            gap, sentence, tokens = todo.pop()
            if len(tokens) <= most or len(sentence) == 1:
                gaps.append(gap)
                sentences.append(sentence)
                continue
            part = _document(sentence, _cuts(sentence, tokens, most))
            # A piece by itself may have more tokens than it had within the whole: then it is cut once more.
            pieces = zip((gap + part.gaps[0], *part.gaps[1:]), part.sentences, spans_of(part.sentences), strict=True)
            todo += reversed(list(pieces))
    return Document(sentences, gaps, document.tail)


def _cuts(sentence: str, tokens: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Spans of pieces of a sentence of up to `most` tokens each, in order, with spaces between them."""
    spans, begin = [], 0
    starts = tokens[:, 0]
    while True:
        first = int(np.searchsorted(starts, begin))
        if first + most >= len(tokens):
            spans.append((begin, len(sentence)))
            return spans
        limit = min(max(int(starts[first + most]), begin + 1), len(sentence) - 1)
        end = following = limit
        spaces = list(_CLAUSE.finditer(sentence, max(int(starts[first + most // 2]), begin + 1), limit + 1))
        spaces = [match for match in spaces if match.end() < len(sentence)]
        clauses = [match for match in spaces if match[0].strip() and match.end() <= limit]
        if spaces:
            match = (clauses or spaces)[-1]
            end, following = match.start() + len(match[0].rstrip()), match.end()
        while sentence[following].isspace():
            following += 1
        spans.append((begin, end))
        begin = following
