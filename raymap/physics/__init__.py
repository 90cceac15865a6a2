"""Physics on plain arrays: no classes, no state, no config; cell size and frequency are arguments."""
