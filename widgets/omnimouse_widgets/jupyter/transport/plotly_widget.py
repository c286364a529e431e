"""Plotly widgets that follow the page width and use the page's subshell."""

from typing import Any, Final

from omnimouse_widgets.jupyter.transport.part import keep_subshell

CONFIG: Final = {"responsive": True, "displaylogo": False}


def made_figure(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Any:
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
