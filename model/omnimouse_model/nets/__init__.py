"""Nets: tensors in, tensors out; they know no session, file, device or loss."""
