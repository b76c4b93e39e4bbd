"""``python -m tests.manual``: writes the man pages, the list of keys, and the JSON Schema."""

from __future__ import annotations

from tests.manual import json_schema, keys
from tests.manual.pages import FOLDER, pages


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for old in FOLDER.glob("*.1"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    keys.FILE.write_text(keys.text())
    json_schema.FILE.write_text(json_schema.text())


if __name__ == "__main__":
    main()
