"""Model families as data: configuration keys, names of weights, heads. This package touches no layers and no files."""
