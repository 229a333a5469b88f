#!/usr/bin/env bash
# Builds training/, pushes it to ECR and writes the image's immutable name to ecr_image_fullname.txt:
#   ./build-and-push.sh <name-of-docker-image> [options of docker build]        (--help says more)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
has_packages='
import sys
from importlib.util import find_spec
sys.exit(sys.version_info < (3, 11) or not all(map(find_spec, ("boto3", "typer"))))'
for python in "$here/.venv/bin/python" python3; do
  if "$python" -c "$has_packages" 2>/dev/null; then
    exec "$python" -P -m facetrain.image "$@"
  fi
done
echo "build-and-push.sh: no Python 3.11 with this project's packages: run \`make setup\` in $here" >&2
exit 1
