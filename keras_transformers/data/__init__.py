"""What users bring: one reader of every container of texts, labels and token ids (`sources`)."""
