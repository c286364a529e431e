"""Which sessions to pretrain on: ranking by transfer, and curves over their number."""
