"""One training job from a terminal or a notebook, with no manifest and no deployment: `training_job.py`."""
