"""One HTML page from what a report tells: no script, no file beside it, no network."""

from omnimouse_widgets.report.page import report_bytes as report_bytes
