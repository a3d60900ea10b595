"""Bytes on disk, whatever they hold: bounded reading, lines, GGUF's container, manifests, ownership of a folder."""
