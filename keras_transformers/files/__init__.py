"""Bytes on disk, whatever their content: bounded reading, lines, the GGUF container, manifests, folder locks."""
