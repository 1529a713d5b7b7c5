"""The layers of the design, the budgets of its files, and what importing the package costs - read from the
source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgefoley

ROOT = Path(edgefoley.__file__).parent

# Every module of the runtime, lowest layer first; a module imports from its own layer or below. A new module
# has to be entered here, which is the moment to think about where it belongs.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_version", "errors", "types", "timeline"),
    (
        "media",
        "preprocess",
        "bundle",
        "manifest",
        "sampling",
        "memory",
        "loudness",
        "soundtrack",
        "source",
        "hub",
        "events",
        "event_files",
        "classes",
        "timbres",
        "rhythms",
        "shots",
        "canvas",
        "sound_files",
        "pages",
    ),
    ("backends",),
    (
        "graphs",
        "machine",
        "encoders",
        "plan",
        "expected",
        "velocity",
        "pipeline",
        "mix",
        "mux",
        "output",
        "plot",
        "description",
        "live",
        "targets",
        "settings",
        "api",
    ),
    ("cli", "ui", "__main__"),
)
OFFLINE = ("models", "convert", "export", "quant", "train", "metrics", "bench", "listening", "evaluation")
LIBRARIES = {  # third-party packages that the runtime may import at the top of a module, and in which module
    "numpy": None,
    "av": {"media", "output", "mux", "soundtrack", "source", "sound_files"},
    "tokenizers": {"preprocess"},
    "click": {"cli"},
}
LAZY = {  # and those that are only imported inside a function
    "onnxruntime": {"backends", "cli"},
    "openvino": {"backends"},
    "av": {"cli"},
    "huggingface_hub": {"hub"},
}
FORBIDDEN = {"torch", "scipy", "onnx", "cv2", "safetensors"}
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8
IMPORT_SECONDS = 0.150

FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
RUNTIME = [path for path in FILES if path.relative_to(ROOT).parts[0] not in OFFLINE]


def top(path: Path) -> str:
    """The module or package right below ``edgefoley`` that a file belongs to."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def layer(name: str) -> int | None:
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def imports(path: Path) -> Iterator[tuple[str, str, int, bool]]:
    """(package, module below it or "", line, whether it happens on import of the file) of every import
    statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _only_for_types(node):
            lazy.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            # `from edgefoley import media` imports the module edgefoley.media
            found = [f"{module}.{alias.name}" for alias in node.names] if module == "edgefoley" else [module]
        else:
            continue
        for name in found:
            package, _, rest = name.partition(".")
            yield package, rest.partition(".")[0], node.lineno, node not in lazy


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_every_module_has_a_layer() -> None:
    homeless = {top(path) for path in FILES} - {
        "__init__",
        *OFFLINE,
        *(name for names in LAYERS for name in names),
    }
    assert not homeless, f"enter {sorted(homeless)} into LAYERS (or OFFLINE) of {Path(__file__).name}"


def test_layers_name_only_what_exists() -> None:
    gone = {*OFFLINE, *(name for names in LAYERS for name in names)} - {top(path) for path in FILES}
    assert not gone, f"take {sorted(gone)} out of LAYERS (or OFFLINE) of {Path(__file__).name}"


def test_runtime_imports_point_down() -> None:
    wrong = []
    for path in RUNTIME:
        mine = layer(top(path))
        if mine is None:  # edgefoley/__init__.py imports everything, by name and lazily
            continue
        for package, module, line, at_import in imports(path):
            if package != "edgefoley" or not module:
                continue
            if module in OFFLINE and (top(path) != "cli" or at_import):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports the offline {module}")
            theirs = layer(module)
            if theirs is not None and theirs > mine:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}, which is above it")
    assert not wrong, "\n".join(wrong)


def test_runtime_uses_only_its_libraries() -> None:
    wrong = []
    for path in RUNTIME:
        here = top(path)
        for package, _, line, at_import in imports(path):
            if package in sys.stdlib_module_names or package in ("edgefoley", "__future__"):
                continue
            homes = LIBRARIES.get(package, set())
            lazily = not at_import and here in LAZY.get(package, set())
            if homes is not None and here not in homes and not lazily:
                when = "at the top" if at_import else "in a function"
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {package} {when}")
            assert package not in FORBIDDEN, f"{path}:{line} imports {package}: the runtime must do without"
    assert not wrong, "\n".join(wrong)


def test_the_command_line_can_do_no_more_than_the_library() -> None:
    """Nothing below the command line prints or parses arguments."""
    for path in RUNTIME:
        if top(path) in ("cli", "ui", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            assert name not in ("print", "input"), f"{path}:{node.lineno} talks to the terminal"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_sizes(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"
        # A network's `forward` takes the tensors of its graph by name, as many as there are.
        if not node.name.startswith("_") and node.name != "forward" and not node.decorator_list:
            names = [
                argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            ]
            count = len([name for name in names if name not in ("self", "cls")])
            assert count <= MAX_PARAMETERS, f"{node.name} has {count} parameters"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_names_of_modules(path: Path) -> None:
    vague = {"utils", "util", "helpers", "common", "manager", "misc"}
    libraries = {"onnxruntime", "torch", "openvino", "tensorrt", "numpy", "av", "click", "tokenizers"}
    assert path.stem not in vague | libraries


def test_importing_the_package_is_quick_and_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import edgefoley; took = time.perf_counter() - start;"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'av', 'scipy', 'numpy', 'tokenizers'};"
        "print(took, *heavy.intersection(sys.modules))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    best = min(float(run[0]) for run in runs)
    print(f"import edgefoley: {best * 1000:.1f} ms")
    assert [run[1:] for run in runs] == [[], [], []]
    assert best < IMPORT_SECONDS


def test_every_public_name_loads() -> None:
    for name in edgefoley.__all__:
        assert getattr(edgefoley, name) is not None
    with pytest.raises(AttributeError, match="offers"):
        edgefoley.nonsense  # noqa: B018
