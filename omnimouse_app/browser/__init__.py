"""The notebook's instrument in a real JupyterLab and a real browser, without hands.

Tests, the benchmark and the pictures of the documents all drive it through here.
"""
