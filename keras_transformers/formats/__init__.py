"""Files ↔ models: finding presets (`sources`), the preset folder (`preset`), and the formats (`own`, `hugging_face`,
`keras_hub`, `gguf`)."""
