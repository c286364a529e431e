import numpy as np

from omnimouse_widgets.drawn.field.layout import session_field
from omnimouse_widgets.drawn.traces.options import Look
from omnimouse_widgets.drawn.traces.rows import trace_rows


def test_counts_are_drawn_as_rates_and_units_by_probe_and_depth(look_at):
    controller = look_at()
    state, (row,) = controller.state, trace_rows(controller, Look())
    np.testing.assert_array_equal(row.truth, 50 * state.window.responses[:, 14])
    field, probe = session_field(state.session), state.session.units.plane
    y, x = field.centres.T
    assert (np.diff(y) > 0).all()  # depth grows with the number of the unit
    assert x[probe == 0].max() < x[probe == 1].min()
