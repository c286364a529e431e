# Aliases; the tasks themselves are in tasks.py, which needs no make.
.PHONY: setup demo test check format docs figures
setup demo test check format docs figures:
	python3 tasks.py $@
