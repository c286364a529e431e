# Aliases; the tasks themselves are in tasks.py, which needs no make.
.PHONY: setup demo test check format docs
setup demo test check format docs:
	python3 tasks.py $@
