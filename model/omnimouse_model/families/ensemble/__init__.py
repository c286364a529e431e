"""The mean of several predictors."""
