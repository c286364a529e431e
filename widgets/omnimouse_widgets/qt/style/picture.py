"""Pictures of what a function paints, as PNG or SVG."""

from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QRectF, QSize
from qtpy.QtGui import QColor, QImage, QPainter

SHARPNESS = 2
"""Pixels of a PNG per pixel of the screen."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is painted, its size in screen pixels, and what the file says about it.

    `dpi` is the resolution of the screen: with it, fonts have their size on screen.
    """

    size: QSize
    dpi: int
    background: str
    title: str
    description: str
    paint: Callable[[QPainter], None]

    def png(self) -> bytes:
        """Return a PNG with `SHARPNESS` times the resolution of the screen."""
        image = QImage(self.size * SHARPNESS, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(SHARPNESS)
        _set_dpi(image, self.dpi)
        painter = QPainter(image)
        self._paint(painter)
        painter.end()
        # After painting, because the axes are laid out for the screen's resolution.
        _set_dpi(image, SHARPNESS * self.dpi)
        image.setText("Title", self.title)
        image.setText("Description", self.description)
        image.setText("Software", "OmniMouse Studio")
        return _bytes(lambda buffer: image.save(buffer, "PNG"))

    def svg(self) -> bytes:
        """Return an SVG with lines and text."""
        # Imported here: it would slow down the start.
        from qtpy.QtSvg import QSvgGenerator

        def write(buffer: QBuffer) -> None:
            generator = QSvgGenerator()
            generator.setOutputDevice(buffer)
            generator.setResolution(self.dpi)
            generator.setSize(self.size)
            generator.setViewBox(QRectF(0, 0, self.size.width(), self.size.height()))
            generator.setTitle(self.title)
            generator.setDescription(self.description)
            painter = QPainter(generator)
            self._paint(painter)
            painter.end()

        return _bytes(write)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = self.size
        painter.fillRect(0, 0, size.width(), size.height(), QColor(self.background))
        self.paint(painter)


def _set_dpi(image: QImage, per_inch: int) -> None:
    # One inch is 0.0254 m.
    image.setDotsPerMeterX(round(per_inch / 0.0254))
    image.setDotsPerMeterY(round(per_inch / 0.0254))


def _bytes(write: Callable[[QBuffer], object]) -> bytes:
    """Return the bytes that `write` writes to a buffer."""
    content = QByteArray()
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    write(buffer)
    buffer.close()
    return bytes(content.data())
