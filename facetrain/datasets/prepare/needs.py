"""What must be installed; asked before anything of it is imported."""

import importlib.util

from facetrain.errors import OperationError


def check_packages(networks: bool) -> None:
    """Raises OperationError that names what is missing. networks: a detector or a model will be run."""
    needed = ["PIL", "numpy", "simplejpeg", *(["insightface", "onnxruntime", "cv2"] if networks else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise OperationError(
            f'preparing photos takes the packages of the extra "data", and {", ".join(missing)} '
            f"{'is' if len(missing) == 1 else 'are'} not installed: `pip install 'facetrain[data]'`, or "
            f"`make setup` in a checkout"
        )
