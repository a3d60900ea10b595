"""Files ↔ models: where presets are found (`sources`), the folder they are kept in (`preset`), and whose they are
(`own`, `hugging_face`, `keras_hub`, `gguf`)."""
