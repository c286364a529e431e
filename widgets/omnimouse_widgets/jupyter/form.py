"""Form of typed settings, drawn with ipywidgets.

Numbers are text fields: the page would drop what is not a number, and the form says why
it is refused. Enter in a text field applies the form.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ipywidgets import Checkbox, Dropdown, GridBox, Label, Layout, Text, VBox, Widget

from omnimouse_widgets.jupyter.transport.part import keep_subshell
from omnimouse_widgets.views.form import Field, Form

COLUMN_PX = 230
"""Least width of a column; a wide page shows several."""


class SettingsForm(GridBox):  # type: ignore[misc]  # ipywidgets has no types
    """Controls of a form, each with its reason below it.

    Parameters
    ----------
    form
        Description and values.
    signals
        Signals after which ranges and choices may be others.
    apply
        Called by Enter while all fields are valid.

    Attributes
    ----------
    controls, reasons
        The control and the text below it of each field, by name.
    """

    def __init__(
        self,
        form: Form[Any],
        signals: Sequence[Any] = (),
        apply: Callable[[], object] = lambda: None,
    ) -> None:
        self.form, self._apply = form, apply
        self.controls: dict[str, Any] = {}
        self.reasons: dict[str, Label] = {}
        self._signals = (form.changed, *signals)
        for each in form.fields():
            self.controls[each.name] = self._control(each)
            reason = Label(layout=Layout(margin="0 0 0 90px", height="auto"))
            reason.add_class("omnimouse-tone-problem")
            self.reasons[each.name] = reason
        cells = [VBox([control, self.reasons[name]]) for name, control in self.controls.items()]
        columns = f"repeat(auto-fit, minmax({COLUMN_PX}px, 1fr))"
        layout = Layout(grid_template_columns=columns, grid_gap="2px 12px", width="100%")
        super().__init__(cells, layout=layout)
        self.add_class("omnimouse-settings")
        self.draw()
        for signal in self._signals:
            signal.connect(self.draw)

    def _control(self, each: Field) -> Any:
        described = {
            "description": f"{each.label} ({each.unit})" if each.unit else each.label,
            "layout": Layout(width="auto"),
        }
        control: Any
        if each.kind == "switch":
            control = Checkbox(each.value, indent=False, **described)
        elif each.kind == "choice":
            options = [(label, value) for value, label, _ in each.options]
            control = Dropdown(options=options, value=each.value, **described)
        else:
            control = Text(
                _text(each), placeholder=each.empty, continuous_update=False, **described
            )
            control.on_msg(self._on_message)
        control.observe(self._on_value, "value")
        keep_subshell(control)
        return control

    def _on_value(self, change: Any) -> None:
        (name,) = (name for name, control in self.controls.items() if control is change["owner"])
        self.form.set(name, change["new"])

    def _on_message(self, _: Widget, content: dict[str, Any], __: list[bytes]) -> None:
        # The page sends the value before the message of the Enter key.
        if content.get("event") == "submit" and self.form.is_valid:
            self._apply()

    def draw(self) -> None:
        """Show values, choices and reasons of the form."""
        for each in self.form.fields():
            control, reason = self.controls[each.name], self.reasons[each.name]
            if each.kind == "choice":
                options = tuple((label, value) for value, label, _ in each.options)
                if control.options != options:
                    # New options choose the first one, which the user did not.
                    control.unobserve(self._on_value, "value")
                    control.options, control.value = options, each.value
                    control.observe(self._on_value, "value")
            value = each.value if each.kind in ("switch", "choice") else _text(each)
            if control.value != value:
                control.value = value
            control.tooltip = each.refusal or each.help
            control.disabled = bool(each.refusal)
            # A sign as well as a colour.
            reason.value = f"✕ {each.reason}" if each.reason else ""
            reason.layout.display = None if each.reason else "none"

    def close(self) -> None:
        """Remove the form from every page, and disconnect it."""
        for signal in self._signals:
            signal.disconnect(self.draw, missing_ok=True)
        for cell in self.children:
            close_tree(cell)
        super().close()


def close_tree(widget: Any) -> None:
    """Close a widget, its children, and the layouts and styles of all.

    ipywidgets keeps every open widget in a global table, so an unclosed child is never
    deleted.
    """
    for child in getattr(widget, "children", ()):
        close_tree(child)
    parts = [getattr(widget, name, None) for name in ("layout", "style")]
    widget.close()
    for part in parts:
        if isinstance(part, Widget):  # a plotly figure's `layout` is not a widget
            part.close()


def _text(each: Field) -> str:
    return f"{each.value:g}" if isinstance(each.value, float) else str(each.value)
