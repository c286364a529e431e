"""Operation of the notebook widgets in a real JupyterLab and a headless browser.

Used by the browser tests, by `bench notebook` and for the pictures of the documents.
"""
