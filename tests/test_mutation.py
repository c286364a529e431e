"""Mutation run: positions of the faults, and reproducible draws."""

from pathlib import Path

from tests.mutation.mutants import mutants_of
from tests.mutation.rooms import ROOMS

SOURCE = """
def share(count: int = 2) -> float:
    µ = "é", 1 if count >= 2 and count != 5 else 3
    if not µ:
        raise ValueError(f"{1 + 1} of them")
    return max(µ[1], 4.0) / count
"""


def test_each_mutant_is_one_change_of_behaviour_in_one_line(tmp_path):
    path = tmp_path / "source.py"
    path.write_text(SOURCE, encoding="utf-8")
    lines, changes = SOURCE.splitlines(), set()
    for mutant in mutants_of(path, tmp_path):
        mutated = mutant.applied(SOURCE).splitlines()
        compile("\n".join(mutated), "source.py", "exec")
        different = [n for n, line in enumerate(lines) if line != mutated[n]]
        assert different == [mutant.line - 1]
        changes.add((mutant.before, mutant.after))
    expected = {(">=", ">"), ("!=", "=="), ("and", "or"), ("max", "min"), ("/", "*")}
    assert expected <= changes
    assert ("+", "-") not in changes  # the text of an error


def test_every_pattern_of_a_room_finds_files(root):
    for room in ROOMS.values():
        for pattern in (*room.sources, *room.tests):
            assert list(Path(root).glob(pattern)), pattern
