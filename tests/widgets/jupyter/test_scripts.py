"""Scripts of pages: what users read comes from Python, where both front ends find it."""

import re
from pathlib import Path

import pytest

import omnimouse_widgets

SCRIPTS = sorted(Path(omnimouse_widgets.__file__).parent.rglob("*.js"))
LITERAL = re.compile(r"""//[^\n]*|"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`""")
KEYS = {"Arrow", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown"}
KEYS |= {"Home", "End", "Enter", "Escape", "Tab", "Shift", "Ctrl", "Left", "Right", "Up", "Down"}
SHOWN = re.compile(
    r"""(?:textContent|title|label|placeholder|ariaLabel)\s*[:=]\s*["`][^"`$]*[a-z]{2}"""
)
MAKERS = "makeButton|makeSelect|makeGroup|makeRange|labelled|words|drawNote|append|replaceChildren"
MADE = re.compile(rf"""(?:{MAKERS})\(["`][^"`]*[A-Za-z]{{2}}|drawText\(\w+, ["`]""")


def texts_in(script):
    """Literals of a script that read like words of a user: with a capital, or several words."""
    for match in LITERAL.finditer(script):
        literal = re.sub(r"\$\{[^}]*\}", " ", match[1] or match[2] or "")
        if re.search(r"omnimouse|sans-serif|[=#<>{]|^use strict$|^thead th$", literal):
            continue
        capitals = set(re.findall(r"\b[A-Z][a-z]+", literal)) - KEYS
        is_sentence = re.search(r"[a-z]{2,},? [a-z]{2,}", literal)
        # `classList` and `svg.…` are names; a sentence has no "." or "-" within words.
        if (capitals or is_sentence) and not re.search(r"\w[.\-]\w", literal):
            yield literal


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_has_texts_of_its_own(path):
    script = path.read_text("utf-8")
    assert [*texts_in(script), *SHOWN.findall(script), *MADE.findall(script)] == []


@pytest.mark.parametrize(
    "line",
    [
        'makeButton("stop", "", act)',
        'const tip = "Go on waiting";',
        'note = "is not selected";',
        "element.title = `Stop ${name}`;",
        'make("span", { textContent: "samples" })',
        'drawText(context, "none", 0, 0)',
    ],
)
def test_a_text_in_a_script_is_noticed(line):
    assert [*texts_in(line), *SHOWN.findall(line), *MADE.findall(line)]
