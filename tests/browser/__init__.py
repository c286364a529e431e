"""The notebook's instrument in a real JupyterLab and a real browser."""
