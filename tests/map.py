# SPDX-License-Identifier: BSD-3-Clause
"""Draw the map of modules in CONTRIBUTING.md from their imports: ``python tests/map.py [--write]``.

Rooms are packages. The picture shows which room imports from which, the table what every module
says of itself and which modules it imports; those of its own room are named without it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
FOLDERS = ("bitstream", "decoder", "trainer", "conformance")
START, END = "<!-- map: made by python tests/map.py --write -->\n", "<!-- end of the map -->\n"
# Rooms of many modules that are alike are shown as one.
WHOLE = ("numchic_conformance.synthetic", "numchic_conformance.coverage")


def modules() -> dict[str, Path]:
    """All modules of the product by dotted name."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[0].startswith("numchic"):
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the product that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known.keys() or {node.module}
    return found & known.keys()


def room_of(module: str, known: dict[str, Path]) -> str:
    """Package that a module is in; a package itself is its own room."""
    room = module if known[module].name == "__init__.py" else module.rpartition(".")[0]
    return next((whole for whole in WHOLE if room.startswith(whole)), room)


def node(room: str) -> str:
    """Name of a room in the picture."""
    return room.replace(".", "_")


def summary(path: Path) -> str:
    """First sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n", maxsplit=1)[0].replace("\n", " ").replace("|", "\\|")


def draw() -> Iterator[str]:
    """Lines of the map."""
    known = modules()
    graph = {name: imports(path, known) for name, path in known.items()}
    rooms: dict[str, list[str]] = {}
    for name in known:
        rooms.setdefault(room_of(name, known), []).append(name)
    edges = {
        (room_of(name, known), room_of(target, known))
        for name, targets in graph.items()
        for target in targets
    }
    yield "```mermaid"
    yield "flowchart RL"
    for room, names in rooms.items():
        yield f'    {node(room)}["{room}<br/>{len(names)} modules"]'
    for importer, imported in sorted(edges):
        if importer != imported:
            yield f"    {node(importer)} --> {node(imported)}"
    yield "```"
    for room, names in rooms.items():
        yield ""
        yield f"**{room}**"
        if room in WHOLE:
            yield ""
            yield f"{len(names)} modules: {summary(known[room])}"
            continue
        yield ""
        yield "| module | what it is | imports |"
        yield "|---|---|---|"
        for name in names:
            targets = sorted(
                target.removeprefix(f"{room}.").removeprefix("numchic_")
                for target in graph[name]
                if target != room
            )
            short = name.rpartition(".")[2] if name != room else "\\_\\_init\\_\\_"
            yield f"| `{short}` | {summary(known[name])} | {', '.join(targets)} |"


def drawn_page() -> str:
    """CONTRIBUTING.md with the map as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    return before + START + "\n" + "\n".join(draw()) + "\n\n" + END + after


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(drawn_page(), encoding="utf-8")
    else:
        print("\n".join(draw()))
