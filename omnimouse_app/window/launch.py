"""`launch()`: open napari with OmniMouse, from Python or from the command line."""

import ctypes
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from pkgutil import resolve_name
from time import monotonic
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.version import Version

from omnimouse_app.window.memory import leave_out_imports, paused_collection, share_heap
from omnimouse_model.extras import install_command, named_extras

if TYPE_CHECKING:
    from qtpy.QtWidgets import QApplication, QWidget

    from omnimouse_app.window.docks import OmniMouseDock
    from omnimouse_model.live.controller import Controller
    from omnimouse_model.live.session_loader import OpenRequest
    from omnimouse_model.live.state import Device
    from omnimouse_model.predict.predictor import Predictor

SIZE = (1440, 900)
STARTING = "Starting OmniMouse: loading napari …"
"""Line on screen before the window: on a busy machine, the imports take half a minute."""


def launch(
    session: str | Path | None = None,
    model: "str | Path | Predictor | None" = None,
    *,
    device: "Device" = "auto",
    scheduler: str | None = None,
    reading: Mapping[str, Any] | None = None,
    viewer: Any = None,
    show: bool = True,
    block: bool = False,
) -> "OmniMouseDock":
    """Open napari with the whole instrument.

    Examples
    --------
    >>> dock = om.launch("demo", "demo")  # doctest: +SKIP

    Parameters
    ----------
    session
        A recording to open, the name of a sample (`SAMPLES`), a folder of recordings
        to list, or a saved analysis; by default the last one open, else the demo.
    model
        A predictor's name, a checkpoint, or a predictor; by default the one under
        Preferences, else the last one used, else the demo.
    device
        Device on which the model computes.
    scheduler
        Address of a Dask scheduler whose workers compute: over TLS, or on this machine.
    reading
        Values that the session's files do not contain, as for `open_session`.
    viewer
        An open viewer to use.
    show
        Show the window.
    block
        Return only when the window is closed: for scripts. Otherwise return when the
        session is open; the window handles events meanwhile.

    Returns
    -------
    OmniMouseDock
        The main widget; `.controller` has the actions, `.controller.state` and
        `.controller.results` have the displayed values.
    """
    require_napari()
    if is_new := viewer is None:
        share_heap()  # before Qt and napari start threads
    with paused_collection(), named_extras(), _splash(is_shown=is_new and show) as is_first:
        # Imports are inside the functions, so that importing this module is fast.
        from omnimouse_model.data.session_index import holds_sessions
        from omnimouse_model.live.analysis_file import SUFFIX
        from omnimouse_model.live.session_loader import DEMO, SAMPLES, OpenRequest

        # Names of samples have priority over paths.
        sample = SAMPLES.get(session) if isinstance(session, str) else None
        if is_new:
            # Simulated in its own process while this one makes the window.
            _start(DEMO if _is_first_start(session) else sample)
            dock = _in_new_viewer(model, device, scheduler, show=show, is_first=is_first)
        else:
            dock = _in_viewer(viewer, model, device, scheduler)
    controller = dock.controller
    # What was opened in this window before may have failed, and is not raised again.
    controller.loader.clear_error()
    controller.project.dismiss()
    is_analysis = str(session).endswith(SUFFIX)
    if sample is not None:
        controller.loader.open(replace(sample, options=reading or {}))
    elif session is not None and (is_analysis or holds_sessions(session)):
        dock.open_folder(str(session))
    elif session is not None:
        controller.loader.open(OpenRequest(session, options=reading or {}))
    elif not controller.project.restore(fallback=DEMO):
        controller.loader.open(DEMO)
    if block:
        import napari

        napari.run()
    else:
        _wait_for(controller)
    return dock


def require_napari() -> None:
    """Raise `ModuleNotFoundError` with one line if napari is missing or too old."""
    stated = (text for text in requires("omnimouse-app") or () if text.startswith("napari"))
    needed = next(each for each in map(Requirement, stated) if each.name == "napari")
    lowest = next(bound.version for bound in needed.specifier if bound.operator == ">=")
    try:
        installed = version("napari")
    except PackageNotFoundError:
        text = f"napari is not installed: {install_command('napari,pyqt6')}"
        raise ModuleNotFoundError(text, name="napari") from None
    if Version(installed) < Version(lowest):
        raise ModuleNotFoundError(
            f"OmniMouse needs napari {lowest} or newer, and this is {installed}: "
            f"{install_command('napari')}"
        )


@contextmanager
def _splash(*, is_shown: bool) -> Iterator[bool]:
    """Show one line while the window is made; yield whether Qt was not in use before."""
    # It corrects the environment for Wayland, which Qt reads when it starts.
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication, QLabel

    is_first = QApplication.instance() is None
    if not is_shown:
        yield is_first
        return
    # Kept in a variable, because Qt ends with its last reference; napari keeps its own.
    application: Any = QApplication.instance() or _new_application(napari.__version__)
    # No `QSplashScreen`, which waits for a second where there is no window manager.
    window = QLabel(STARTING, None, Qt.WindowType.SplashScreen | Qt.WindowType.FramelessWindowHint)
    window.setMargin(window.fontMetrics().height())
    window.setFrameShape(QLabel.Shape.Box)
    window.adjustSize()
    if (screen := application.primaryScreen()) is not None:
        window.move(screen.availableGeometry().center() - window.rect().center())
    window.show()
    _paint(window)
    try:
        yield is_first
    finally:
        window.close()


def _new_application(napari_version: str) -> "QApplication":
    """Return a Qt application as napari makes it, whose import takes seconds.

    napari ends an application of this name with its last window.
    """
    from qtpy.QtWidgets import QApplication

    name = "napari"
    # macOS shows the name of the program in its menu.
    program = name if sys.platform == "darwin" else sys.argv[0]
    application = QApplication([program, *sys.argv[1:]])
    application.setApplicationName(name)
    application.setApplicationVersion(napari_version)
    application.setOrganizationName(name)
    application.setOrganizationDomain("napari.org")
    if sys.platform == "win32":
        # Otherwise the task bar shows the window as one of Python.
        identity = f"napari.napari.viewer.{napari_version}"
        ctypes.windll.shell32.SetCurrentProcessExplicitAppUserModelID(identity)
    return application


def _is_first_start(session: str | Path | None) -> bool:
    """Return whether no recording is named, and none was open before."""
    from omnimouse_model.live.state_store import read_last_session

    if session is not None:
        return False
    last = read_last_session()
    return last is None or not last.session


def _start(sample: "OpenRequest | None") -> None:
    """Start to simulate a sample that does not exist yet."""
    from omnimouse_model.simulate.demo import SimulatedSession

    if sample is not None and isinstance(sample.recording, SimulatedSession):
        sample.recording.start()


def _in_new_viewer(
    model: "str | Path | Predictor | None",
    device: "Device",
    scheduler: str | None,
    *,
    show: bool,
    is_first: bool,
) -> "OmniMouseDock":
    """Return the widget of a new viewer; the model loads while the window is made."""
    import napari
    from napari.qt import get_qapp

    from omnimouse_app.window import instrument  # noqa: F401  # imported for its effect
    from omnimouse_widgets.views.text.model import TITLE

    leave_out_imports(is_first=is_first)
    get_qapp()
    # The controller needs a Qt application to return its results to the window. It is
    # made before the window, so that the model loads in its own process meanwhile.
    controller = _controller(model, device, scheduler)
    try:
        with ThreadPoolExecutor(1) as threads:
            # A thread, because napari waits for the display while it makes its window.
            panels = threads.submit(_import_panels)
            # Shown with all docks: each dock that is added to a visible window is laid
            # out, and drawn, at once.
            viewer = napari.Viewer(title=TITLE, show=False)
            panels.result()
        from omnimouse_app.window.docks import open_instrument, unsaved_settings
        from omnimouse_widgets.qt.style.plain_text import texts_without_files
    # Also on Ctrl-C: otherwise the worker process would outlive this one.
    except BaseException:
        controller.close()
        raise
    with unsaved_settings(), texts_without_files():
        dock = open_instrument(viewer, controller)
        if show:
            viewer.show()
        # After `show`, which gives the window the size that its docks would like. Not
        # every desktop keeps a window inside the screen.
        if (screen := dock.main_window.screen()) is not None:
            room = screen.availableSize()
            viewer.window.resize(min(SIZE[0], room.width()), min(SIZE[1], room.height()))
        if show:
            _paint(dock.main_window)
    return dock


def _import_panels() -> None:
    """Import the panels that a new window shows.

    None of their modules imports napari, which the other thread imports: two threads
    that wait for each other's modules would find one of them unfinished.
    """
    from omnimouse_model.inference.registry import predictor_names
    from omnimouse_widgets.qt.control import panel  # noqa: F401  # imported for its effect
    from omnimouse_widgets.views.registry import docks

    predictor_names()  # imports all families
    for _, dock in docks():
        if dock.is_front:
            resolve_name(f"omnimouse_widgets.{dock.panel}")


def _paint(window: "QWidget") -> None:
    """Handle events until a window is painted, before other work.

    Work of other threads and painting would wait for each other: both hold Python's lock.
    A window that another one covers is not painted; it is waited for one second.
    """
    from qtpy.QtCore import QCoreApplication

    handle, end_s = window.windowHandle(), monotonic() + 1.0
    while monotonic() < end_s:
        QCoreApplication.processEvents()
        if handle is None or handle.isExposed():
            break
    QCoreApplication.processEvents()


def _in_viewer(
    viewer: Any, model: "str | Path | Predictor | None", device: "Device", scheduler: str | None
) -> "OmniMouseDock":
    """Return the widget of a viewer; open it if it is not open."""
    from omnimouse_app.window.docks import find_instrument, open_instrument

    dock = find_instrument(viewer)
    if dock is None:
        return open_instrument(viewer, _controller(model, device, scheduler))
    if scheduler is not None:
        raise ValueError(
            "OmniMouse is already open in this viewer. Pass the scheduler to the call "
            "that opens it."
        )
    if device != "auto":
        dock.controller.model.choose_device(device)
    dock.bring_up("OmniMouse")
    return open_instrument(viewer, model=model)


def _controller(
    model: "str | Path | Predictor | None", device: "Device", scheduler: str | None
) -> "Controller":
    """Return a new controller that starts to load its model."""
    from omnimouse_app.window.instrument import new_controller, preferred_model

    controller = new_controller(device, scheduler)
    controller.model.choose(model or preferred_model(controller), is_default=model is None)
    return controller


def _wait_for(controller: "Controller") -> None:
    """Handle window events until the recording is open; raise its error, if any."""
    from qtpy.QtCore import QEventLoop

    opener, analyses = controller.loader, controller.project
    # A local event loop keeps the window responsive until the recording is open.
    loop = QEventLoop()

    def end() -> None:
        if not (opener.is_busy or analyses.is_busy):
            loop.quit()

    if opener.is_busy or analyses.is_busy:
        opener.changed.connect(end)
        analyses.changed.connect(end)
        loop.exec()
        opener.changed.disconnect(end)
        analyses.changed.disconnect(end)
    if fault := opener.error or analyses.error:
        raise fault
