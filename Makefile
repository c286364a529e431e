# Aliases; the tasks themselves are in tasks.py, which needs no make.
.PHONY: setup demo notebook test check format docs figures
setup demo notebook test check format docs figures:
	python3 tasks.py $@
