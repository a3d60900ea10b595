"""Families of models as data: configuration keys, names of weights, heads. No layer, and no file, is touched here."""
