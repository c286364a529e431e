import os

import pytest

from tests.push_size import main
from tests.test_release import git

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_the_size_is_that_of_new_versions_also_of_removed_files(tmp_path, capsys):
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path, "branch", "base")
    (tmp_path / "picture.png").write_bytes(os.urandom(3 * 10**6))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "second")
    (tmp_path / "picture.png").unlink()
    git(tmp_path, "commit", "-q", "-a", "-m", "third")
    assert main("base", tmp_path) == 1
    assert "picture.png" in capsys.readouterr().out
    assert main("main", tmp_path) == 0


def test_an_unknown_base_is_named_in_one_line(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    with pytest.raises(SystemExit, match=r"^git does not know origin/main \(.*\)[^\n]*BASE$"):
        main(folder=tmp_path)
