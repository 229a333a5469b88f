"""The YOLOv5 trainer: images and boxes in, a detector out.

`launch` runs a job. Networks, losses, changes of images and measures of detection are those of the package
ultralytics, which is AGPL-3.0 and in this algorithm's image alone.
"""
