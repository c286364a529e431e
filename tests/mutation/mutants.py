"""Single faults in Python source: one operator, constant or condition changed.

A mutant replaces one span of text in one line and leaves all other lines as they are,
so that line numbers stay valid. Annotations, docstrings, error messages and `assert`
are not mutated: no behaviour depends on them.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
OPPOSITES = {
    **{"min": "max", "minimum": "maximum", "any": "all", "floor": "ceil"},
    **{"argmin": "argmax", "nanmin": "nanmax", "left": "right"},
}
OPPOSITES |= {there: here for here, there in OPPOSITES.items()}


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One changed span of one line.

    Parameters
    ----------
    path : str
        Source file, relative to the checkout.
    line : int
        Line number, from 1.
    start, stop : int
        Columns of the replaced text, in bytes.
    before, after : str
        The original text, and the text of the mutant.
    statement : str
        The complete line without its indentation.
    """

    path: str
    line: int
    start: int
    stop: int
    before: str
    after: str
    statement: str

    def applied(self, source: str) -> str:
        """Return the source with this fault."""
        lines = source.encode().splitlines(keepends=True)
        text = lines[self.line - 1]
        changed = text[: self.start] + self.after.encode() + text[self.stop :]
        lines[self.line - 1] = changed
        return b"".join(lines).decode()

    @property
    def change(self) -> str:
        """Change and statement as text, without the line number."""
        return f"`{self.before}` → `{self.after}`  in  {self.statement}"

    def __str__(self) -> str:
        """Return file, line, column and change."""
        return f"{self.path}:{self.line}:{self.start}  {self.change}"


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Return all mutants of a file, in the order of the text."""
    source = path.read_text(encoding="utf-8")
    lines = source.encode().splitlines()
    name = path.relative_to(root).as_posix()
    mutants = []
    for line, start, stop, after in _changes(ast.parse(source), lines):
        before = lines[line - 1][start:stop].decode()
        statement = lines[line - 1].decode().strip()
        mutants.append(Mutant(name, line, start, stop, before, after, statement))
    return sorted(set(mutants))


def sample(rooms: dict[str, list[Mutant]], count: int, seed: int) -> list[Mutant]:
    """Draw mutants, the same number from each room if it has enough.

    The draw depends only on the seed and on the text of a mutant. An edit elsewhere in
    the file or a move of the file therefore does not change it.
    """
    selected: list[Mutant] = []
    smallest_first = sorted(rooms.values(), key=len)
    for position, mutants in enumerate(smallest_first):
        share = (count - len(selected)) // (len(rooms) - position)
        order = sorted(mutants, key=lambda m: Random(f"{seed} {m.change}").random())
        selected += order[:share]
    return sorted(selected)


Change = tuple[int, int, int, str]


def _changes(tree: ast.Module, lines: list[bytes]) -> Iterator[Change]:
    for node in _behaviour(tree):
        match node:
            case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
                pair = COMPARISONS[type(operator)]
                yield from _between(node.left, node.comparators[0], pair, lines)
            case ast.BinOp() if type(node.op) in OPERATORS:
                pair = OPERATORS[type(node.op)]
                yield from _between(node.left, node.right, pair, lines)
            case ast.BoolOp():
                pair = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield from _between(node.values[0], node.values[1], pair, lines)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                end = node.operand.col_offset
                if node.lineno == node.operand.lineno:
                    yield node.lineno, node.col_offset, end, ""
            case ast.Constant():
                yield from _other_constant(node)
            case ast.Name(id=name) if name in OPPOSITES:
                yield node.lineno, node.col_offset, _end(node), OPPOSITES[name]
            case ast.Attribute(attr=name) if name in OPPOSITES:
                if node.end_lineno is not None:
                    end = _end(node)
                    yield node.end_lineno, end - len(name), end, OPPOSITES[name]
            case ast.If(test=test) | ast.IfExp(test=test):
                if test.lineno == test.end_lineno:
                    text = lines[test.lineno - 1][test.col_offset : _end(test)].decode()
                    yield test.lineno, test.col_offset, _end(test), f"not ({text})"


def _behaviour(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the child nodes that affect the behaviour of the code."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr):
                continue
            if _is_wording(child):
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from _behaviour(child)


def _is_wording(node: object) -> bool:
    """Whether a node chooses between two texts, or what `repr` shows of a field."""
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            return any(
                isinstance(text, ast.JoinedStr)
                or (isinstance(text, ast.Constant) and isinstance(text.value, str))
                for text in (body, orelse)
            )
        case ast.keyword(arg="repr"):
            return True
    return False


def _between(
    left: ast.expr, right: ast.expr, pair: tuple[str, str], lines: list[bytes]
) -> Iterator[Change]:
    """Yield the change of an operator if both operands are in one line."""
    if left.end_lineno != right.lineno:
        return
    before, after = pair
    start, stop = _end(left), right.col_offset
    offset = lines[right.lineno - 1][start:stop].find(before.encode())
    if offset >= 0:
        position = start + offset
        yield right.lineno, position, position + len(before), after


def _other_constant(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case bool(value):
            after = repr(not value)
        case int(value):
            after = repr(value + 1)
        case float(value):
            after = repr(2 * value + (value == 0))
        case str(value) if value in OPPOSITES:
            after = repr(OPPOSITES[value])
        case _:
            return
    yield node.lineno, node.col_offset, _end(node), after


def _end(node: ast.expr) -> int:
    assert node.end_col_offset is not None
    return node.end_col_offset
