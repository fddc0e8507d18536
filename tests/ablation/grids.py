"""Files of small ablations on a few rendered scenes."""

from pathlib import Path
from typing import Any

from tests.small_run import SMALL

SHARED = SMALL | {
    "encoder.stage_sizes": (1, 1),
    "train.epochs": 1,
    "train.captions": "random",
    "show.captions": 0,
    "search.beam": 2,
}
del SHARED["seed"]
ARMS = {"plain": {}, "greedy": {"search.kind": "greedy"}, "wide": {"decoder.hidden": 9}}


def write(folder: Path, arms: Any = ARMS, *, shared: dict | None = None, **fields: Any) -> Path:
    """Writes an ablation of quickstart; `arms` are {name: overrides} or such pairs."""
    pairs = list(arms.items()) if isinstance(arms, dict) else arms
    written = ", ".join(f"Arm({name!r}, {overrides!r})" for name, overrides in pairs)
    values = {"base": "quickstart", "shared": SHARED if shared is None else shared} | fields
    rest = ", ".join(f"{key}={value!r}" for key, value in values.items())
    path = folder / "ablation_small.py"
    path.write_text(
        "from jaxcap.ablation.grid import Ablation, Arm\n"
        f"def get_ablation():\n    return Ablation(arms=({written},), {rest})\n",
        encoding="utf-8",
    )
    return path
