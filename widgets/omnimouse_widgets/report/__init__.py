"""One HTML page from what a report tells: no file beside it, and no network."""

from omnimouse_widgets.report.page import report_bytes as report_bytes
from omnimouse_widgets.report.page import write_page as write_page
from omnimouse_widgets.report.page import write_report as write_report
