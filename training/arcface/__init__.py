"""The ArcFace trainer: images in, loss down, model out.

`main` runs a job, `trainer` is one rank's share of it.
"""
