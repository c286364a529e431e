"""Run the notebooks and save their outputs: `python -m tests.notebooks [01 …]`.

Each plotly figure also gets a picture with a description, for pages without plotly.
"""

import re
import sys
from base64 import b64decode, b64encode
from importlib.resources import files
from io import BytesIO
from typing import Any, Final

import nbformat
from PIL import Image

from tests.bench.browser.chromium import chromium
from tests.notebooks.run import PATHS, run

PLOTLY: Final = "application/vnd.plotly.v1+json"
COLOURS: Final = 48
SCALE: Final = 2
"""Pixels of a picture per CSS pixel, for screens of high resolution."""
_DRAW = """async ([figure, scale]) => {
  const { width, height } = { width: 720, height: 380, ...figure.layout };
  const address = await Plotly.toImage(figure, { format: "png", width, height, scale });
  return [address.split(",")[1], width, height];
}"""


def main(prefixes: list[str]) -> None:
    """Run the notebooks whose names start with a prefix, or all."""
    paths = [p for p in PATHS if not prefixes or p.name.startswith(tuple(prefixes))]
    if not paths:
        sys.exit(f"no notebook has a name that starts with {' or '.join(prefixes)}")
    for path in paths:
        book, seconds = run(path)
        _add_pictures(book)
        nbformat.write(book, path)
        size = path.stat().st_size
        print(f"{path.stem}: {seconds:.0f} s, {size / 1000:.0f} kB", flush=True)


def _add_pictures(book: Any) -> None:
    outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
    figures = [o for o in outputs if PLOTLY in o.get("data", {})]
    if not figures:
        return
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    with chromium() as browser:
        page = browser.new_page()
        page.add_script_tag(content=script)
        for output in figures:
            figure = output.data[PLOTLY]
            text, width, height = page.evaluate(_DRAW, [figure, SCALE])
            png = _reduce_colours(b64decode(text))
            output.data["image/png"] = b64encode(png).decode()
            size = {"width": width, "height": height}
            output.metadata["image/png"] = {**size, "alt": description(figure)}
        page.close()


def description(figure: dict[str, Any]) -> str:
    """Describe a plotly figure in a sentence: titles, axes and names of the curves."""
    layout = figure["layout"]
    notes = [note.get("text", "") for note in layout.get("annotations", ())]
    titles = [layout.get("title", {}).get("text", ""), *notes]
    axes = {
        f"{name[0]} axis: {axis['title']['text']}"
        for name, axis in layout.items()
        if name[1:5] == "axis" and axis.get("title", {}).get("text")
    }
    names = dict.fromkeys(trace.get("name", "") for trace in figure["data"])
    parts = [
        "; ".join(filter(None, titles)),
        ", ".join(sorted(axes)),
        "curves: " + ", ".join(filter(None, names)) if any(names) else "",
    ]
    text = "Chart. " + ". ".join(filter(None, parts)) + "."
    return re.sub(r"<[^>]*>", " ", text)


def _reduce_colours(png: bytes) -> bytes:
    """Convert a picture to a palette, which takes a third of the space."""
    with Image.open(BytesIO(png)) as picture, BytesIO() as buffer:
        picture.convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
