"""Baselines that are fitted to one session: means, ridges, autoregression."""
