"""How good a prediction is: correlations, ceilings, bits per spike; numpy only.

Everything is computed in float64. An undefined value is NaN and has a `Status`
saying why; the aggregation policies state what they do with it. NaN targets are
left out pairwise; NaN predictions on valid targets are an error.
"""

from omnimouse_model.metrics.correlation import Moments as Moments
from omnimouse_model.metrics.correlation import Policy as Policy
from omnimouse_model.metrics.correlation import Status as Status
from omnimouse_model.metrics.correlation import correlation as correlation
from omnimouse_model.metrics.correlation import (
    correlation_to_average as correlation_to_average,
)
from omnimouse_model.metrics.correlation import moments as moments
from omnimouse_model.metrics.correlation import single_trial as single_trial
from omnimouse_model.metrics.information import bits_per_spike as bits_per_spike
from omnimouse_model.metrics.information import (
    bits_per_spike_per_neuron as bits_per_spike_per_neuron,
)
from omnimouse_model.metrics.information import poisson_loss as poisson_loss
from omnimouse_model.metrics.repeats import CCScores as CCScores
from omnimouse_model.metrics.repeats import cc_scores as cc_scores
from omnimouse_model.metrics.repeats import (
    conservative_reliability as conservative_reliability,
)
from omnimouse_model.metrics.repeats import explainable_variance as explainable_variance
from omnimouse_model.metrics.repeats import (
    jackknife_reliability as jackknife_reliability,
)
from omnimouse_model.metrics.repeats import stack_clips as stack_clips
from omnimouse_model.metrics.streaming import (
    StreamingCorrelation as StreamingCorrelation,
)
from omnimouse_model.metrics.streaming import behavior_groups as behavior_groups
from omnimouse_model.metrics.streaming import bootstrap_interval as bootstrap_interval
from omnimouse_model.metrics.streaming import mean_of_mice as mean_of_mice
from omnimouse_model.metrics.streaming import overall_score as overall_score
from omnimouse_model.metrics.streaming import pooled_score as pooled_score
from omnimouse_model.metrics.streaming import session_score as session_score
