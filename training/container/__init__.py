"""What the program of every image shares: its folders, its user, signals, failures, and the command `train`.

Which algorithm an image trains is known by its folder: `training.<algorithm>.launch` takes over once the
job's configuration is known to be right.
"""
