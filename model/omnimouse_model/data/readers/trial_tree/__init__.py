"""Reader of the trial trees with which digital twins are trained."""
