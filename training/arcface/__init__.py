"""The ArcFace trainer: images in, loss down, model out.

`launch` runs a job, `trainer` is one rank's share of it.
"""
