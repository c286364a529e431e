"""Run the notebooks and keep their outputs: `python -m tests.notebooks [01 …]`.

Figures get a picture beside what plotly draws, for pages that have no plotly.
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


def main(wanted: list[str]) -> None:
    """Run those whose names begin so, or all, one after the other."""
    chosen = [p for p in PATHS if not wanted or p.name.startswith(tuple(wanted))]
    if not chosen:
        sys.exit(f"no notebook is called {' or '.join(wanted)}")
    for path in chosen:
        book, seconds = run(path)
        _add_pictures(book)
        _one_picture_each(book)
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
            drawn = b64decode(page.evaluate(_DRAW, data[PLOTLY]))
            data["image/png"] = b64encode(_small(drawn)).decode()
        page.close()


def _small(png: bytes) -> bytes:
    """A figure has few colours: a palette of them takes a third of the room."""
    with Image.open(BytesIO(png)) as picture, BytesIO() as written:
        picture.convert("RGB").quantize(COLOURS).save(written, "PNG", optimize=True)
        return written.getvalue()


def _one_picture_each(book: Any) -> None:
    """The instrument's last state is there twice, for pages that hide it; once will do.

    A page that shows a notebook of the repository has no live view to hide it for.
    """
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "omnimouse-last" in data.get("text/html", "") and "image/png" in data:
                del data["text/html"]


if __name__ == "__main__":
    main(sys.argv[1:])
