"""Draw the picture of docs/dependencies.md: the form of a sweep in docks of two sizes.

xvfb-run -a python docs/forms.py
"""

import sys
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QApplication

import omnimouse_model as om
from omnimouse_model.live.controller import Controller
from omnimouse_widgets.qt.form import SettingsForm
from omnimouse_widgets.views.context.view import ContextView

PICTURE = Path(__file__).parent / "images" / "forms.png"
SIZES = ((400, 150), (300, 290))


def write(path: Path) -> None:
    """Write both forms beside each other; the narrow one has values that are refused."""
    app = QApplication.instance() or QApplication([])
    controller = Controller()
    controller.loader.open_now(om.demo_session())
    image = QImage(sum(width for width, _ in SIZES) + 10, 290, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter, left = QPainter(image), 0
    for width, height in SIZES:
        form = SettingsForm(ContextView.of(controller).form)
        form.fit(width)
        form.resize(width, height)
        form.show()
        if left:
            for name, text in (("history", "0, ten"), ("draws", "99")):
                control = form.controls[name]
                control.value = text if name == "history" else int(text)
        app.processEvents()
        form.draw()
        app.processEvents()
        painter.drawPixmap(left, 0, form.grab())
        left += width + 10
        form.close()
    painter.end()
    flat = Qt.ImageConversionFlag.ThresholdDither
    image.convertToFormat(QImage.Format.Format_Indexed8, flat).save(str(path))
    controller.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
