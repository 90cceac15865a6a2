"""Serving radio maps: what may be asked, the graph of models on Ray Serve, and how answers are written."""
