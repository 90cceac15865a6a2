"""Scenes and radio maps from wherever they come: real folders, generated towns, and where to put transmitters."""
