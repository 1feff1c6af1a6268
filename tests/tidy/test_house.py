"""What linters can't say about the house (design.md section 2)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "drivers", "profiles", "hil")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
    "gateway",
    "drivers",
    "profiles",
    "tests",
    "hil",
}
BUILT = {"dist", "build", "data", "node_modules"}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IO_LIBRARIES = {"pymodbus", "asyncua"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_one_job_and_fits_a_reader(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MODULE_LINES_MAX, f"{lines} lines: split it"
    assert path.stem not in ("utils", "helpers", "common"), "name it after its job"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text().strip():
        pytest.fail("say in one line what the package is")
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_broad_except_gives_its_reason_beside_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler):
            name = getattr(node.type, "id", None)
            if node.type is None or name in ("Exception", "BaseException"):
                assert "#" in lines[node.lineno - 1], f"line {node.lineno}: why so broad?"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_left_undone(path: Path) -> None:
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
        assert word not in text


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_protocol_libraries_stay_in_driver_server_and_rig(path: Path) -> None:
    used = imported(path) & IO_LIBRARIES
    if not used:
        return
    place = name_of(path)
    allowed = {
        "pymodbus": ("drivers/modbus/", "hil/bench/"),
        "asyncua": ("drivers/opcua/", "gateway/server/", "hil/"),
    }
    for library in used:
        assert place.startswith(allowed[library]), f"{library} has no business in {place}"


def test_the_top_level_is_as_agreed() -> None:
    found = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and path.name not in BUILT
    }
    assert found <= TOP_LEVEL, f"unexpected: {sorted(found - TOP_LEVEL)}"


def test_nothing_sleeps_in_tests_where_an_event_could_be_awaited() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "sleep(" in line and "sleep(0)" not in line and "# paces:" not in line:
                pytest.fail(
                    f"{name_of(path)}:{number}: {line.strip()} (say `# paces: why` or wait)"
                )
