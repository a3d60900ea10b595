"""Labels of words that belong to entities."""


def parts_of_label(label: str) -> tuple[str, str]:
    """Split a label: "B-PER" → ("B", "PER"); ("", label) for a label without such a prefix."""
    return (label[0], label[2:]) if label[1:2] == "-" and label[0] in "BIESLUM" else ("", label)
