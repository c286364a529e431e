# Aliases of the tasks in tasks.py.
.PHONY: setup demo notebook test check format docs figures
setup demo notebook test check format docs figures:
	python3 tasks.py $@
