"""Scores of predictors over windows: lists, batches, sums, intervals, tables."""
