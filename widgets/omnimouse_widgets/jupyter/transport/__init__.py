"""Communication of kernel and page: assets, messages, the drawing thread."""
