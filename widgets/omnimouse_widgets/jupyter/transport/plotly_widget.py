"""Plotly widgets that follow the page width and show all that was drawn.

plotly's own widget has four gaps. A page first gets an empty figure, which stays empty
if it is drawn before the traces arrive; a page that is reloaded gets the figure as it
was when it was created; a page loses the changes that arrive while it makes the figure;
and what a page reports changes the content while it is drawn. Here a page gets a
complete figure, the state of a figure is its current content, a page that lacks
something gets the whole content again, and reports change nothing.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from ipywidgets import Layout, VBox
from psygnal import SignalInstance
from traitlets import observe

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.transport.part import Drawing, Part, keep_subshell

CONFIG: Final = {"responsive": True, "displaylogo": False}
CREATED_ONLY: Final = {"type", "uid", "xaxis", "yaxis", "mode"}
"""Properties of a trace that never change."""


class FigurePart(Part):
    """Part that has a plotly figure below its controls.

    Attributes
    ----------
    widget
        Controls above the figure, as an ipywidget.
    """

    def __init__(self, controller: Controller, **traits: Any) -> None:
        self._content_lost = SignalInstance()
        self._lacks_content = False
        self._figure: Any = None
        super().__init__(controller, **traits)
        layout = Layout(width="100%", overflow="hidden")
        self.widget = VBox([self], layout=layout)

    def drawings(self) -> Sequence[Drawing]:
        """Return the drawing function that sends a figure again."""
        return [Drawing(self._draw_again, [self._content_lost])]

    def on_lost(self, _content: dict[str, Any], _: list[bytes]) -> None:
        """Send the whole content again, because a page lacks some of it."""
        self._lacks_content = True
        self._content_lost.emit()

    def add_point_counts(self, figure: Any) -> None:
        """Add a message with the number of points of each trace; the page checks it."""
        counts = [0 if trace.y is None else len(trace.y) for trace in figure.data]
        self.add_message("figure", points=counts)

    def _draw_again(self) -> None:
        # `request_all` also calls this function, also if nothing is lost.
        if self._lacks_content and self._figure is not None:
            self._lacks_content = False
            send_content(self._figure)

    def add_figure(self, figure: Any, *above: Any) -> None:
        """Show the figure below the controls, and other widgets between them."""
        self._figure = figure
        self.widget.children = (self, *above, figure)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Display `widget`, which includes the figure."""
        return self.widget._repr_mimebundle_(**options)

    def close(self) -> None:
        """Remove controls and figure from every page."""
        super().close()
        if self._figure is not None:
            self._figure.close()
        self.widget.close()


def new_figure_widget(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Any:
    """Return a plotly widget that follows the width of the page.

    Create one widget per view and change it in place: each widget takes five
    megabytes in the page and queues updates that arrive faster than it can draw.
    """
    figure = _figure_class()(traces, layout)
    keep_subshell(figure)
    return figure


def send_content(figure: Any) -> None:
    """Send all traces and the layout of a figure to its pages, in one message."""
    from plotly.serializers import Undefined

    traces = figure._data
    names = sorted({name for trace in traces for name in trace} - CREATED_ONLY)
    # plotly skips a trace whose value is undefined.
    style = {name: [trace.get(name, Undefined) for trace in traces] for name in names}
    layout = {"annotations": [], "shapes": [], **_layout_of(figure)}
    layout.pop("template", None)  # large, and never changed
    figure._send_update_msg(style, layout, list(range(len(traces))))


def _layout_of(figure: Any) -> dict[str, Any]:
    # A page reports its width, which is not that of another page or tab.
    props = figure._layout_obj._props
    return {name: value for name, value in props.items() if name != "width"}


@cache
def _figure_class() -> Any:
    """Return plotly's widget class with its current content as its state."""
    # Imported on first use, because plotly takes long to import.
    from plotly.graph_objects import FigureWidget

    class CurrentFigure(FigureWidget):  # type: ignore[misc]  # plotly has no types
        _is_complete = False

        # plotly's own handlers remove what a page reports from the content, on the
        # thread of the page's messages, while another thread draws. Nothing here reads
        # these reports.
        @observe("_js2py_traceDeltas")
        def _handler_js2py_traceDeltas(self, change: Any) -> None:
            self._trace_edit_in_process = False
            if change["new"]:
                self._js2py_traceDeltas = None

        @observe("_js2py_layoutDelta")
        def _handler_js2py_layoutDelta(self, change: Any) -> None:
            self._layout_edit_in_process = False
            if change["new"]:
                self._js2py_layoutDelta = None

        def __init__(self, traces: list[dict[str, Any]], layout: dict[str, Any]) -> None:
            super().__init__(traces, layout)
            if self.has_trait("_config"):  # plotly has no public name for this option
                self._config = CONFIG
            self._is_complete = True
            self.open()

        def open(self) -> None:
            # ipywidgets opens a widget before plotly adds traces and layout.
            if self._is_complete:
                super().open()

        def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
            state = super().get_state(key, drop_defaults)
            # The state is also read while plotly creates the figure.
            if getattr(self, "_layout_obj", None) is not None:
                content = {
                    "_widget_data": self._data,
                    "_widget_layout": _layout_of(self),
                }
                for name in content.keys() & state.keys():
                    to_json = self.trait_metadata(name, "to_json")
                    state[name] = to_json(content[name], self)
            return state

    return CurrentFigure
