"""Panels as plain values: content, actions and texts of both front ends, no toolkit."""
