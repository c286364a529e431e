"""Reader of plain arrays: a mapping in memory or an `.npz` with the same names."""
