"""Plotly widgets that follow the page width and use the page's subshell."""

from typing import Any, Final

from ipywidgets import Layout, VBox

from omnimouse_model.live.controller import Controller
from omnimouse_widgets.jupyter.transport.part import Part, keep_subshell

CONFIG: Final = {"responsive": True, "displaylogo": False}


class FigurePart(Part):
    """Part that has a plotly figure below its controls.

    Attributes
    ----------
    widget
        Controls above the figure, as an ipywidget.
    """

    def __init__(self, controller: Controller, **traits: Any) -> None:
        super().__init__(controller, **traits)
        layout = Layout(width="100%", overflow="hidden")
        self.widget = VBox([self], layout=layout)

    def add_figure(self, figure: Any) -> None:
        """Show the figure below the controls."""
        self.widget.children = (self, figure)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Display `widget`, which includes the figure."""
        return self.widget._repr_mimebundle_(**options)

    def close(self) -> None:
        """Remove controls and figure from every page."""
        super().close()
        for figure in self.widget.children[1:]:
            figure.close()
        self.widget.close()


def new_figure_widget(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Any:
    """Return a plotly widget that follows the width of the page.

    Create one widget per view and change it in place: each widget takes five
    megabytes in the page and queues updates that arrive faster than it can draw.
    """
    # Imported on first use, because plotly takes long to import.
    from plotly.graph_objects import FigureWidget

    figure = FigureWidget(traces, layout)
    if figure.has_trait("_config"):  # plotly has no public name for this option
        figure._config = CONFIG
    keep_subshell(figure)
    return figure
