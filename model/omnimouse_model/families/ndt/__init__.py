"""The neural data transformer: binned spikes in, log-rates out."""
