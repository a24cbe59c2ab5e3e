"""Draws the pictures of the README.

python .readme/draw.py                 # the graph of the main job, as leads.svg beside this file
python .readme/draw.py notebook FOLDER # FOLDER/notebook.html: the graph as a notebook shows it, to be photographed
"""

import asyncio
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>dataflow</title>
<style>
:root {{ color-scheme: light dark }}
body {{ margin: 24px; width: max-content; max-width: 1400px; font: 14px system-ui, sans-serif }}
pre {{ padding: 10px 14px; border-left: 3px solid #3f87d9; background: #848d9722; font: 13px ui-monospace, monospace }}
</style>
<pre>{source}</pre>
{output}
</html>
"""


def draw_graph() -> None:
    """Write the graph of the main job beside this file."""
    from dataflow.engine.program import load, pack_file
    from dataflow.faces.picture import explanation_svg

    job = load(pack_file(HERE.parent / "jobs" / "data_processing.py"))
    (HERE / "leads.svg").write_text(explanation_svg(job.explain(), opaque=True))


def write_output(folder: Path, *, notebook: str = "01_quick_tour", showing: str = ">level 1<") -> Path:
    """Execute a notebook, and write its first cell whose output holds a text as a page that stands alone.

    Args:
        folder: Where `notebook.html` is written.
        notebook: The name of the notebook.
        showing: What the output holds: by default the graph of a pipeline.

    Returns:
        The page; it follows the reader's preference for light or dark.

    Raises:
        LookupError: No cell shows that.
    """
    from html import escape

    import nbformat
    from nbclient import NotebookClient

    found = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4)
    client = NotebookClient(found, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}})
    asyncio.run(client.async_execute())
    for cell in found.cells:
        for output in cell.get("outputs", ()):
            shown = output.get("data", {}).get("text/html", "")
            if showing in shown:
                page = folder / "notebook.html"
                page.write_text(PAGE.format(source=escape(cell.source), output=shown))
                return page
    raise LookupError(f"no cell of {notebook} shows {showing!r}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["notebook"]:
        print(write_output(Path(sys.argv[2])))
    else:
        draw_graph()
