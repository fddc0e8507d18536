"""Runs benchmarks and prints a Markdown table for each.

    python -m tests.bench [NAME ...] [--rounds N] [--small] [--json FILE]

Without a name it runs all. Each is a module of this folder with `run(options)`, which returns the
rows of its table, `add_options(parser)` for options of its own, which are taken where all that are
named know them, and a docstring that says what is compared with what. As in jaxcap's commands,
memory that is freed is kept, which serves all contestants.
"""

import argparse
import importlib
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

from jaxcap.allocation import keep_freed_memory
from tests.bench import report

# Name -> module.
BENCHMARKS = {
    "step": "tests.bench.step",
    "recipe": "tests.bench.recipe",
    "spans": "tests.bench.spans",
    "search": "tests.bench.search",
    "replicas": "tests.bench.replicas",
    "convolutions": "tests.bench.convolutions",
    "encoder": "tests.bench.encoder",
    "epoch": "tests.bench.epoch",
    "memory": "tests.bench.memory",
    "start": "tests.bench.start",
}


def main(arguments: list[str]) -> int:
    keep_freed_memory()
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    rest = arguments[len(names) :]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or (not names and {"-h", "--help"} & set(rest)):
        print(f"{__doc__}\nBenchmarks: {', '.join(BENCHMARKS)}")
        return 2 if unknown else 0
    names = names or list(BENCHMARKS)
    # All are read before the first runs, so that a wrong option costs nothing.
    modules = {name: importlib.import_module(BENCHMARKS[name]) for name in names}
    options = {name: parse(name, module, rest) for name, module in modules.items()}
    results = []
    for name, module in modules.items():
        rows = module.run(options[name])
        result = {**report.describe_machine(), "command": command([name, *rest]), "rows": rows}
        results.append(result)
        print(report.format_result(result), flush=True)
        if options[name].json:
            options[name].json.write_text(json.dumps(results, indent=2))
    return 0


def parse(name: str, module: ModuleType, arguments: list[str]) -> argparse.Namespace:
    """Reads the options of all benchmarks and of this one."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the contestants in turn")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument("--small", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    if hasattr(module, "add_options"):
        module.add_options(parser)
    return parser.parse_args(arguments)


def command(arguments: list[str]) -> str:
    return " ".join(["python -m tests.bench", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
