"""Compare the challenger of a registered model with its champion, and let it be served if it is better.

    python jobs/promote.py --name k2 --data runs/small/data --split test --tracking_uri sqlite:///runs/mlflow.db

Both are scored on the same maps. The alias ``champion``, which endpoints follow, moves only if the challenger has less
error at 5 % significance; the report of both, and ``promotion.json``, lie in ``--out``. Ends with status 0 if the alias
has moved, 1 if not, and says why either way.
"""

import sys

from raymap.config import from_command_line
from raymap.runtime.promote import Promotion, promote

if __name__ == "__main__":
    found = promote(from_command_line(Promotion(), sys.argv[1:], prog="promote.py"))
    who = f"version {found['challenger']} of {found['name']}"
    print(f"{who} {'is champion now' if found['moved'] else 'stays challenger'}: {found['reason']}")
    sys.exit(0 if found["moved"] else 1)
