"""The metrics of sacreBLEU by the names that this library gives them. Data alone."""

import typing

# Metrics of translations: the name in a table, the class of sacreBLEU, and its options.
METRICS: dict[str, tuple[str, str, dict[str, typing.Any]]] = {
    "bleu": ("BLEU", "BLEU", {}),
    "chrf": ("chrF", "CHRF", {}),
    "chrf++": ("chrF2++", "CHRF", {"word_order": 2}),
    "ter": ("TER", "TER", {}),
}
