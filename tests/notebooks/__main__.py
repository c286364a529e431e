"""Run the notebooks and save their outputs: `python -m tests.notebooks [01 …]`.

Each plotly figure also gets a picture, for pages without plotly.
"""

import sys
from base64 import b64decode, b64encode
from importlib.resources import files
from io import BytesIO
from typing import Any, Final

import nbformat
from PIL import Image

from omnimouse_app.browser.chromium import chromium
from tests.notebooks.run import PATHS, run

PLOTLY: Final = "application/vnd.plotly.v1+json"
COLOURS: Final = 48
_DRAW = """async (figure) => {
  const { width, height } = { width: 720, height: 380, ...figure.layout };
  const address = await Plotly.toImage(figure, { format: "png", width, height });
  return address.split(",")[1];
}"""


def main(prefixes: list[str]) -> None:
    """Run the notebooks whose names start with a prefix, or all."""
    paths = [p for p in PATHS if not prefixes or p.name.startswith(tuple(prefixes))]
    if not paths:
        sys.exit(f"no notebook has a name that starts with {' or '.join(prefixes)}")
    for path in paths:
        book, seconds = run(path)
        _add_pictures(book)
        _remove_second_picture(book)
        nbformat.write(book, path)
        size = path.stat().st_size
        print(f"{path.stem}: {seconds:.0f} s, {size / 1000:.0f} kB", flush=True)


def _add_pictures(book: Any) -> None:
    outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
    figures = [o.data for o in outputs if PLOTLY in o.get("data", {})]
    if not figures:
        return
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    with chromium() as browser:
        page = browser.new_page()
        page.add_script_tag(content=script)
        for data in figures:
            png = b64decode(page.evaluate(_DRAW, data[PLOTLY]))
            data["image/png"] = b64encode(_reduce_colours(png)).decode()
        page.close()


def _reduce_colours(png: bytes) -> bytes:
    """Convert a picture to a palette, which takes a third of the space."""
    with Image.open(BytesIO(png)) as picture, BytesIO() as buffer:
        picture.convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def _remove_second_picture(book: Any) -> None:
    """Remove the HTML copy of the last view, which is also stored as a picture.

    The copy is for pages that hide the picture beside a live widget; pages of the
    repository show no live widget.
    """
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "omnimouse-last" in data.get("text/html", "") and "image/png" in data:
                del data["text/html"]


if __name__ == "__main__":
    main(sys.argv[1:])
