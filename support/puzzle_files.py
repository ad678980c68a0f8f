"""
The Sudoku files that people have: one puzzle a line, columns of a table, or boards written over
several lines.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch

CELLS = (81, 36, 16)
BLANKS = ".0_*-?"
BOARD_CHARACTERS = set(BLANKS + "123456789")


class Puzzles(NamedTuple):
    """What a file holds: puzzles and solutions (N, cells), 0 where blank or unknown."""

    puzzles: torch.Tensor
    solutions: torch.Tensor
    lines: list  # where each puzzle begins
    skipped: list  # texts, "line 3: 80 characters ..."


def read_puzzles(path):
    """
    The puzzles of a text file. Digits, and any of ". 0 _ * - ?" for a blank. Three ways to write
    one:

        53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79

    81 characters (36 and 16 for the small boards), alone on a line;

        id,puzzle,solution,rating
        1,53..7...,534678...,3.2

    columns between commas, semicolons, tabs or spaces, in any order: of two boards in a line the
    one with blanks is the puzzle, and what is no board (a header, a rating, a source) is left out;

        5 3 . | . 7 . | . . .
        6 . . | 1 9 5 | . . .
        ------+-------+------

    or a row on each of nine lines (.sdk, .ss), with bars and rules or without. Text from "#" on is
    skipped. ValueError if there is no puzzle at all.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from None
    lines = [line.split("#")[0].strip() for line in lines]
    found, skipped, rows = (
        [],
        [],
        [],
    )  # found: (line, fields); rows: (line, row) of a board over several lines
    for number, line in enumerate([*lines, ""], 1):
        row = re.sub(r"[\s,;|]", "", line)
        if is_board(row, (9, 6, 4)) and not (rows and len(row) != len(rows[0][1])):
            rows.append((number, row))
            if len(rows) == len(row):
                found.append((rows[0][0], ["".join(row for _, row in rows)]))
                rows = []
        elif re.fullmatch(r"[-+=|\s]*", line) and line:
            continue  # a rule between boxes
        else:
            if rows:
                skipped.append(
                    f"line {rows[0][0]}: {len(rows)} rows, a board of {len(rows[0][1])} columns "
                    "has more"
                )
                rows = []
            fields = [field.strip("\"'") for field in re.split(r"[\s,;]+", line)]
            if any(fields):
                found.append((number, fields))
    cells = max(
        (len(field) for _, fields in found for field in fields if is_board(field, CELLS)), default=0
    )
    puzzles, solutions, where = [], [], []
    for number, fields in found:
        boards = [numbers_of(field) for field in fields if is_board(field, (cells,))]
        if problem := what_is_wrong(fields, boards, cells):
            skipped.append(f"line {number}: {problem}")
            continue
        boards.sort(
            key=lambda board: board.count(0), reverse=True
        )  # the puzzle is the one with blanks
        puzzles.append(boards[0])
        solutions.append(boards[1] if len(boards) == 2 else [0] * cells)
        where.append(number)
    skipped.sort(key=line_of)
    if not puzzles:
        raise ValueError(f"{path} holds no puzzle" + (f"; {skipped[0]}" if skipped else ""))
    return Puzzles(torch.tensor(puzzles), torch.tensor(solutions), where, skipped)


def line_of(skipped):
    return int(skipped.split(":")[0].removeprefix("line "))


def is_board(text, lengths):
    return bool(text) and len(text) in lengths and set(text) <= BOARD_CHARACTERS


def numbers_of(text):
    return [0 if character in BLANKS else int(character) for character in text]


def what_is_wrong(fields, boards, cells):
    """
    Why the fields of a line, some of them boards, are no puzzle and at most a solution; None if
    they are.
    """
    if not boards:
        longest = max(fields, key=len)
        expected = f"a board {cells or '81, 36 or 16'} of {BLANKS} and digits"
        return f"no board: {longest[:20]!r} has {len(longest)} characters, {expected}"
    if len(boards) > 2:
        return f"{len(boards)} boards; expected a puzzle and at most a solution"
    if (largest := max(map(max, boards))) > math.isqrt(cells):
        return f"{largest} is no digit of a board of {cells} cells"
    if len(boards) == 2:
        puzzle, solution = sorted(boards, key=lambda board: board.count(0), reverse=True)
        if 0 in solution:
            return "two boards with blanks; expected a puzzle and its solution"
        if any(given and given != digit for given, digit in zip(puzzle, solution)):
            return "the solution changes a given digit"
    return None
