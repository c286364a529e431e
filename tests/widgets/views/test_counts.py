import numpy as np

from omnimouse_widgets.views.field.layout import session_field
from omnimouse_widgets.views.traces import Shown, trace_rows


def test_counts_are_drawn_as_rates_and_units_by_probe_and_depth(look_at):
    state = (controller := look_at()).state
    truth = trace_rows(Shown.of(controller))[0].truth
    np.testing.assert_array_equal(truth, 50 * state.window.responses[:, 14])
    y, x = session_field(state.session).centres.T
    assert (np.diff(y) > 0).all()  # depth grows with the number of the unit
    assert x[::2].max() < x[1::2].min()  # two probes in turn
