"""Files ↔ models: where presets are found (`sources`) and the folder format they are kept in (`preset`)."""
