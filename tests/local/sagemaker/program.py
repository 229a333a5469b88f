"""A training program for the tests: it does what the hyperparameter `script`, a JSON string, says in Python.

Names it may use: `base` (its /opt/ml), `host`, `hosts`, and what this file imports.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["json", "os", "signal", "subprocess", "sys", "time"]

base = Path(os.environ["SAGEMAKER_BASE_DIR"])
resources = json.loads((base / "input/config/resourceconfig.json").read_text())
host, hosts = resources["current_host"], resources["hosts"]
hyperparameters = json.loads((base / "input/config/hyperparameters.json").read_text())
exec(json.loads(hyperparameters["script"]))
