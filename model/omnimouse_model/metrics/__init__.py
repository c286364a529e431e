"""Scores of predictions: correlations, ceilings, bits per spike, curve fits.

All computation is in float64. A metric returns values with a `Status` each (`Valued`,
or `Number` for a single value); an undefined value is NaN. NaN targets are left out
pairwise. Scores without repeats raise an error for a NaN prediction of a valid target.
The policy of an aggregate defines how undefined values count, and the aggregate reports
how many neurons were excluded.
"""

from omnimouse_model.metrics.correlation import Moments as Moments
from omnimouse_model.metrics.correlation import Policy as Policy
from omnimouse_model.metrics.correlation import Status as Status
from omnimouse_model.metrics.correlation import StreamingCorrelation as StreamingCorrelation
from omnimouse_model.metrics.correlation import Valued as Valued
from omnimouse_model.metrics.correlation import correlation as correlation
from omnimouse_model.metrics.correlation import correlation_to_average as correlation_to_average
from omnimouse_model.metrics.correlation import explained_variance as explained_variance
from omnimouse_model.metrics.correlation import moments as moments
from omnimouse_model.metrics.correlation import psth_explained_variance as psth_explained_variance
from omnimouse_model.metrics.correlation import single_trial as single_trial
from omnimouse_model.metrics.fits import LogLine as LogLine
from omnimouse_model.metrics.fits import PowerLaw as PowerLaw
from omnimouse_model.metrics.fits import fit_log_line as fit_log_line
from omnimouse_model.metrics.fits import fit_power_law as fit_power_law
from omnimouse_model.metrics.information import Number as Number
from omnimouse_model.metrics.information import bits_per_spike as bits_per_spike
from omnimouse_model.metrics.information import (
    bits_per_spike_per_neuron as bits_per_spike_per_neuron,
)
from omnimouse_model.metrics.information import poisson_loss as poisson_loss
from omnimouse_model.metrics.information import zig_log_likelihood as zig_log_likelihood
from omnimouse_model.metrics.information import zig_mean as zig_mean
from omnimouse_model.metrics.information import zig_variance as zig_variance
from omnimouse_model.metrics.named import BEHAVIOR_GROUPS as BEHAVIOR_GROUPS
from omnimouse_model.metrics.named import METRICS as METRICS
from omnimouse_model.metrics.named import POLICIES as POLICIES
from omnimouse_model.metrics.named import Aggregate as Aggregate
from omnimouse_model.metrics.named import AggregatePolicy as AggregatePolicy
from omnimouse_model.metrics.named import Metric as Metric
from omnimouse_model.metrics.named import accuracy as accuracy
from omnimouse_model.metrics.named import aggregate as aggregate
from omnimouse_model.metrics.named import behavior_groups as behavior_groups
from omnimouse_model.metrics.named import named_metric as named_metric
from omnimouse_model.metrics.named import overall_score as overall_score
from omnimouse_model.metrics.named import poisson_gain as poisson_gain
from omnimouse_model.metrics.named import session_score as session_score
from omnimouse_model.metrics.repeats import CCScores as CCScores
from omnimouse_model.metrics.repeats import Explainable as Explainable
from omnimouse_model.metrics.repeats import cc_scores as cc_scores
from omnimouse_model.metrics.repeats import conservative_reliability as conservative_reliability
from omnimouse_model.metrics.repeats import explainable_variance as explainable_variance
from omnimouse_model.metrics.repeats import jackknife_reliability as jackknife_reliability
from omnimouse_model.metrics.repeats import stack_clips as stack_clips
from omnimouse_model.metrics.time_blocks import bootstrap_interval as bootstrap_interval
