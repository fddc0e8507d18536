"""Which runs use which prepared sets and features, so that what none uses can be removed."""

import contextlib
import datetime
import json
from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.io.files import write_atomically

USES = "uses.json"


def record_use(entry: Path, workdir: Path) -> None:
    """Notes in the folder of a cache entry that the run in `workdir` uses it.

    A cache that cannot be written is used without a note.
    """
    uses = read_uses(entry)
    uses[str(workdir.absolute())] = datetime.date.today().isoformat()
    with contextlib.suppress(OSError, UserError):
        write_atomically(entry / USES, json.dumps(uses, indent=1) + "\n")


def read_uses(entry: Path) -> dict[str, str]:
    """Returns the workdirs that have used a cache entry, with the day when each last did (ISO)."""
    try:
        uses = json.loads((entry / USES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(uses, dict):
        return {}
    return {str(workdir): str(day) for workdir, day in uses.items()}
