"""Plotly widgets as the instrument has them: as wide as the page, on its subshell."""

from typing import Any, Final

from omnimouse_widgets.jupyter.transport.part import keep_subshell

CONFIG: Final = {"responsive": True, "displaylogo": False}


def made_figure(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Any:
    """A plotly widget that follows the width of the page.

    It weighs five megabytes in the page, and queues whatever it is sent too fast: one
    is made for a view, and changed in place.
    """
    from plotly.graph_objects import FigureWidget

    figure = FigureWidget(traces, layout)
    if figure.has_trait("_config"):  # plotly has no public place for it
        figure._config = CONFIG
    keep_subshell(figure)
    return figure
