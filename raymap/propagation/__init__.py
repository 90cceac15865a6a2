"""Propagation models: a Scene and a Transmitter in, a RadioMap out."""
