"""A command: copies its input to its output behind what its environment says.

Compiled Python exits with 0 or 1 only: the interface that it exits by knows no other codes.
"""

import os
import sys

from wishes import wish
from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        body = sys.stdin.buffer.read()
        match wish(body):
            case "retry":
                print("not now", file=sys.stderr)
                sys.exit(1)
            case "reject":
                sys.exit("there is no exit code for this")
        for name, value in os.environ.items():
            print(f"{name}={value}")
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
