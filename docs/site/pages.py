"""Hooks of mkdocs: the pages that are generated, the navigation's folders, and links that leave docs/."""

import ast
import json
import os
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "keras_transformers"
# Page of the reference → its title and the package that it documents.
ROOMS = {
    "top": ("keras_transformers", ""),
    "layers": ("Layers", "layers"),
    "models": ("Models", "models"),
    "tasks": ("Tasks", "tasks"),
    "generation": ("Generation", "generation"),
    "tokenizers": ("Tokenizers", "tokenizers"),
    "training": ("Training", "training"),
    "losses": ("Losses", "training.losses"),
    "transforms": ("Transforms", "transforms"),
    "data": ("Data", "data"),
    "formats": ("Formats", "formats"),
    "runs": ("Runs", "apps.runs"),
}
# A room without a stub: its functions that users call.
FORMATS = {
    "sources": ["resolve", "embedded_presets"],
    "verification": ["Verified", "verify"],
    "hugging_face": ["Checkpoint", "read", "write"],
    "gguf": ["read"],
    "ctranslate2": ["export"],
    "marian": ["export"],
    "peft": ["load_lora", "save_lora"],
    "torch_transformer": ["torch_transformer"],
}
# Pages made of files that stand outside of docs/.
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
OUTSIDE |= {
    f"presets/{card.parent.name}/README.md": f"presets/{card.parent.name}.md"
    for card in ROOT.glob("presets/*/README.md")
}
_LINK = re.compile(r"(\]\(|src=\")([^)\s\"#]+)((?:#[^)\s\"]*)?[)\"])")


def names(package: str) -> list[str]:
    """Return the public names of a room, from its stub, without the rooms and modules that it names.

    Example:
        >>> names("models")
        ['Backbone', 'ModelConfig', …]
    """
    if package == "formats":
        return [f"{module}.{name}" for module, listed in FORMATS.items() for name in listed]
    tree = ast.parse((ROOT / PACKAGE / package.replace(".", "/") / "__init__.pyi").read_text("utf-8"))
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imported for alias in node.names if not _is_module(f"{node.module}.{alias.name}")]


def _is_module(dotted: str) -> bool:
    path = ROOT / dotted.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def reference(page: str) -> str:
    """Return the Markdown of one page of the reference."""
    title, package = ROOMS[page]
    inside = f"{PACKAGE}.{package}" if package else PACKAGE
    shown = (
        "kt" if not package else "kt.losses" if page == "losses" else "kt.runs" if page == "runs" else f"kt.{package}"
    )
    docstring = ast.get_docstring(ast.parse((ROOT / inside.replace(".", "/") / "__init__.py").read_text("utf-8"))) or ""
    lines = [f"# {title}", docstring, f"In code: `{shown}`, after `import keras_transformers as kt`."]
    elsewhere = (
        {}
        if package
        else {name: f"{PACKAGE}.{room}.{name}" for _, room in ROOMS.values() if room for name in names(room)}
    )
    mine = names(package)
    if linked := [name for name in mine if name in elsewhere]:
        lines.append("Also here: " + ", ".join(f"[`{name}`][{elsewhere[name]}]" for name in linked) + ".")
    inherited = "\n    options: {inherited_members: true}" if package == "tasks" else ""
    lines += [f"::: {inside}.{name}{inherited}" for name in mine if name not in elsewhere]
    return "\n\n".join(lines) + "\n"


def presets() -> str:
    """Return the page of the presets that ship with the library."""
    rows = ["| name | class | weights | about |", "|---|---|---|---|"]
    for folder in sorted(path.parent for path in ROOT.glob("presets/*/config.json")):
        values = json.loads((folder / "config.json").read_text("utf-8"))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        about = (folder / "README.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
        task = values.get("task") or values["architectures"][0]
        rows.append(f"| [`{folder.name}`](presets/{folder.name}.md) | `{task}` | {size / 1e6:.1f} MB | {about} |")
    return f"""# Presets

`from_preset` opens a name of this table, a folder, a GGUF file, `hf://org/name[@revision]` or `kaggle://…`. These
models ship inside the package:

{chr(10).join(rows)}

Any published checkpoint of the [supported families](families.md) opens in the same way. [Choosing an
embedder](guides/choosing-an-embedder.md) names embedders, and each [page of a task](tasks/README.md) names checkpoints
for it. `keras-transformers presets` prints this table.
"""


def on_files(files, config):
    """Add the generated pages, and the files outside of docs/ that pages link."""
    for page in ROOMS:
        files.append(File.generated(config, f"reference/{page}.md", content=reference(page)))
    files.append(File.generated(config, "presets.md", content=presets()))
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for file in list(files.documentation_pages()):
        for _, target, _ in _LINK.findall(_moved(file.content_string, file.src_uri)):
            made = posixpath.normpath(posixpath.join(posixpath.dirname(file.src_uri), target))
            if made.startswith("source/") and files.get_file_from_path(made) is None:
                files.append(
                    File.generated(config, made, content=_code(made.removeprefix("source/").removesuffix(".md")))
                )
    _expand(config["nav"], files)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links to files outside of docs/ into links to their pages."""
    return _moved(markdown, page.file.src_uri)


def _moved(markdown: str, page: str) -> str:
    """The Markdown of a page with its links as they are in the site."""
    sources = {made: source for source, made in OUTSIDE.items()}
    folder = posixpath.dirname(sources.get(page, f"docs/{page}"))

    def move(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        target = f"{target}/README.md" if (ROOT / target).is_dir() else target
        if ":" in link[2] or not (ROOT / target).is_file():
            return link[0]
        inside = OUTSIDE.get(target) or (
            target.removeprefix("docs/") if target.startswith("docs/") else f"source/{target}.md"
        )
        return link[1] + posixpath.relpath(inside, posixpath.dirname(page)) + link[3]

    return _LINK.sub(move, markdown)


def _code(source: str) -> str:
    """The page of a file of the repository."""
    language = {".py": "python", ".yaml": "yaml"}.get(posixpath.splitext(source)[1], "text")
    return f"# {source}\n\n````{language}\n{(ROOT / source).read_text('utf-8')}````\n"


def _expand(nav: list, files) -> None:
    """Replace each "folder/" of the navigation by the pages of the folder that the navigation names nowhere else."""
    named = set(re.findall(r"[\w/.-]+\.md", json.dumps(nav)))
    pages = sorted(file.src_uri for file in files.documentation_pages())

    def walk(entries: list) -> list:
        made = []
        for entry in entries:
            if isinstance(entry, dict):
                made += [{title: walk(below) if isinstance(below, list) else below} for title, below in entry.items()]
            elif entry.endswith("/"):
                inside = [page for page in pages if page.startswith(entry) and page not in named]
                made += sorted(inside, key=lambda page: (not page.endswith("README.md"), _place(page)))
            else:
                made.append(entry)
        return made

    nav[:] = walk(nav)


def _place(page: str) -> tuple[int, str]:
    """Where a page stands in its folder: pages of the reference from the bottom room to the top one."""
    stem = os.path.splitext(posixpath.basename(page))[0]
    return (list(ROOMS).index(stem) if page.startswith("reference/") else 0), page
