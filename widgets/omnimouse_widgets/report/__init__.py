"""Report: one HTML page that needs no other file and no network."""

from omnimouse_widgets.report.page import report_bytes as report_bytes
from omnimouse_widgets.report.page import write_page as write_page
from omnimouse_widgets.report.page import write_report as write_report
