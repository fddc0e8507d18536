"""The plan of the house: pure rooms touch no file, network, flag or device, and nothing calls
upwards.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxcap"
PURE = (
    "models",
    "text",
    "images",
    "losses",
    "optim",
    "step",
    "search",
    "scores",
    "captioning",
    "grounding",
)
COMMANDS = ("train", "evaluate", "caption", "compare", "cache")
# What a pure room may import of ours, and of others': arithmetic, no edges.
PURE_OURS = (*PURE, "errors")
WORLD = (
    "os",
    "sys",
    "pathlib",
    "shutil",
    "subprocess",
    "urllib",
    "socket",
    "tempfile",
    "argparse",
    "orbax",
    "tensorflow",
)
FILES = sorted(PACKAGE.rglob("*.py"))
EXPERIMENTS = sorted((PACKAGE.parent / "experiments").glob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("jaxcap.")} - {"__version__"}


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_pure_rooms_import_pure_rooms_only(path):
    found = imports(path)
    assert ours(found) <= set(PURE_OURS)
    assert not {name.split(".")[0] for name in found} & set(WORLD)


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_pure_rooms_open_no_file_and_name_no_device(path):
    called = {
        node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert not called & {
        "print",
        "input",
        "read_text",
        "write_text",
        "devices",
        "local_devices",
        "device_put",
        "pmap",
    }
    plain = {
        n.func.id
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert "open" not in plain


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_calls_a_command_and_one_file_names_orbax_and_one_devices(path):
    found = imports(path)
    if room(path) not in COMMANDS:
        assert not ours(found) & set(COMMANDS)
    if room(path) != "checkpoint":
        assert not any(name.startswith("orbax") for name in found)
    if room(path) != "parallel":
        text = path.read_text(encoding="utf-8")
        assert not any(
            word in text for word in ("jax.devices", "local_devices", "jax.pmap", "device_put")
        )


def text_of_any_encoding(call: ast.Call) -> bool:
    """Tells whether a call reads or writes text in whatever encoding the user's locale has."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    # How many positional arguments it takes to name the encoding.
    places = {
        "read_text": 1,
        "write_text": 2,
        "open": 4 if isinstance(function, ast.Name) else 3,
        "fdopen": 4,
    }
    if name not in places or any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    modes += [keyword.value.value for keyword in call.keywords if keyword.arg == "mode"]
    binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 3 for mode in modes)
    others = ast.unparse(function) in (
        "Image.open",
        "os.open",
        "tarfile.open",
    )
    return not binary and not others and len(call.args) < places[name]


@pytest.mark.parametrize("path", FILES + EXPERIMENTS, ids=lambda p: p.name)
def test_text_is_read_and_written_in_a_named_encoding(path):
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert [
        f"line {call.lineno}: {ast.unparse(call)}" for call in calls if text_of_any_encoding(call)
    ] == []


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.read_text(errors='replace')", True),
        ("path.write_text(text)", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("open(path, 'rb')", False),
        ("path.open('r+b')", False),
        ("path.open()", True),
        ("path.open(mode='wb')", False),
        ("os.fdopen(handle, 'w')", True),
        ("Image.open(path)", False),
    ],
)
def test_such_calls_are_found(call, found):
    assert text_of_any_encoding(ast.parse(call, mode="eval").body) is found
