"""`python -m facetrain.image`: what build-and-push.sh runs. Exits with 0 done, 1 failed, 2 refused."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.cli import output
from facetrain.client import Connection, explain
from facetrain.errors import InputError, OperationError
from facetrain.image import URI_FILE
from facetrain.image.arguments import USAGE, parse
from facetrain.image.command import build_and_push

CHECKOUT = Path(__file__).absolute().parents[2]
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the URI goes to stdout, everything else to stderr."""
    if arguments and arguments[0] in ("-h", "--help"):
        output.put(USAGE.rstrip())
        return 0
    try:
        pushed = build_and_push(parse(arguments), CHECKOUT, Connection(), output.say)
    except InputError as error:
        return output.refuse(error)
    except OperationError as error:
        return _fail(str(error))
    except (BotoCoreError, ClientError) as error:
        return _fail(explain(error))
    except KeyboardInterrupt:
        output.say(f"build-and-push.sh: interrupted; {URI_FILE} is as it was")
        return INTERRUPTED
    output.say(f"Digest {pushed.digest}, written to {URI_FILE}")
    output.put(pushed.uri)
    return 0


def _fail(message: str) -> int:
    output.say(f"build-and-push.sh: {message}")
    return output.FAILED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the login is removed
    sys.exit(main(sys.argv[1:]))
