"""The structure of the package: imports point downwards; pure modules are pure."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxcap"
# A module imports from its own layer and from those above it in this list.
LAYERS = (
    ("models",),
    ("scores",),
    ("errors",),
    ("text",),
    ("memoize",),
    ("allocation",),
    ("processes",),
    ("devices",),
    ("parallel",),
    ("io",),
    ("data",),
    ("word2vec", "pretrained"),
    ("inputs",),
    ("decoding",),
    ("figures",),
    ("training",),
    ("experiment", "denoising"),
    ("flags", "process_flags"),
    ("evaluation",),
    ("report",),
    ("checks",),
    ("train", "denoise", "evaluate", "caption", "compare", "cache", "doctor"),
    ("ablation",),
    ("ablate",),
    ("__main__",),
)
# These rest on nothing of ours.
ALONE = ("models", "scores")
# Arrays in, arrays out: no file, network, flag or device.
PURE = (
    *ALONE,
    "text",
    "memoize",
    "decoding",
    "inputs.plan",
    "training.denoising",
    "training.losses",
    "training.metrics",
    "training.objectives",
    "training.optim",
    "training.partition",
    "training.train_step",
)
OUTSIDE = {
    *("os", "sys", "pathlib", "shutil", "subprocess", "urllib", "socket", "tempfile"),
    *("argparse", "orbax", "tensorflow_datasets"),
}
CALLS = {
    *("print", "input", "open", "read_text", "write_text"),
    *("devices", "local_devices", "device_put", "pmap"),
}
FILES = sorted(PACKAGE.rglob("*.py"))
EXPERIMENTS = sorted((PACKAGE.parent / "experiments").glob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name below the package; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in FILES}


def layer_of(module: str) -> int:
    for number, layer in enumerate(LAYERS):
        if module.partition(".")[0] in layer:
            return number
    raise AssertionError(f"{module} is in no layer")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_of_ours(path: Path) -> set[str]:
    """The modules of the package that a file imports, without the package itself."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "jaxcap":
            continue
        # The longest beginning that is a module; what is behind it is a name in that module.
        for length in range(len(parts), 1, -1):
            module = ".".join(parts[1:length])
            if module in MODULES:
                found.add(module)
                break
    return found


def is_pure(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PURE)


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_point_downwards(module):
    found = imports_of_ours(MODULES[module])
    if module.partition(".")[0] in ALONE:
        assert {name.partition(".")[0] for name in found} <= {module.partition(".")[0]}
    assert [name for name in found if layer_of(name) > layer_of(module)] == []


def test_no_module_imports_itself_in_a_circle():
    arrows = {module: imports_of_ours(path) for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for name in sorted(arrows[module]):
                visit(name, (*way, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


@pytest.mark.parametrize("module", [name for name in MODULES if is_pure(name)])
def test_pure_modules_touch_nothing_outside(module):
    path = MODULES[module]
    assert not {name.split(".")[0] for name in imports(path)} & OUTSIDE
    called = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called.add(getattr(node.func, "id", getattr(node.func, "attr", "")))
    assert not called & CALLS


@pytest.mark.parametrize("module", MODULES)
def test_one_module_names_orbax_and_two_name_devices(module):
    text = MODULES[module].read_text(encoding="utf-8")
    if module != "training.orbax_store":
        assert not any(name.startswith("orbax") for name in imports(MODULES[module]))
    if module not in ("devices", "parallel"):
        for word in ("jax.devices", "local_devices", "jax.pmap", "device_put"):
            assert word not in text


def test_commands_import_only_what_every_use_of_them_needs():
    """What one use needs, as to write checkpoints or pictures, is imported where it begins."""
    late = ("orbax", "matplotlib", "tensorboardX", "tensorflow_datasets", "gensim", "h5py")
    commands = ("train", "denoise", "evaluate", "caption", "compare", "ablate", "cache", "doctor")
    code = f"import sys, jaxcap.{', jaxcap.'.join(commands)}; print(*sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {name.partition(".")[0] for name in finished.stdout.split()} & set(late)


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
        "ts.open",  # tensorstore's, of arrays
        "ts.KvStore.open",
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
