"""The only place that opens and writes files: safe for untrusted content, atomic on writing."""
