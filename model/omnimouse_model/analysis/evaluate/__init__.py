"""Evaluation: scores of predictors over sessions, conditions and tiers."""
