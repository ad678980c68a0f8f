"""
The Sudoku files that people have: one puzzle a line, columns of a table, JSON, or boards written
over several lines.
"""

import gzip
import itertools
import json
import math
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

SIDES, CELLS = (9, 6, 4), (81, 36, 16)
BLANKS = ".0_*-?xX"
BOARD_CHARACTERS = set(BLANKS + "123456789")
OTHER_BLANKS = set(BLANKS) - {"-"}
TO_DIGITS = str.maketrans(dict.fromkeys(BLANKS, "0"))
LINES = "".join(map(chr, range(0x2500, 0x2580)))  # of frames: ─ │ ┌ ═ ║ ..
BETWEEN = re.compile(rf"[\s,;:|\[\]{{}}\"'{LINES}]+")  # what stands between cells and columns
SEPARATORS = (",", ";", "\t", "|", None)  # of the columns below a header; None: spaces
RATINGS = ("rating", "difficulty", "level", "score")  # names of columns, the best first
NUMBER = re.compile(r"-?\d+(\.\d*)?")
FRAME = set("-=+|*.:'` \t" + LINES)


class Puzzles(NamedTuple):
    """What a file holds: puzzles and solutions (N, cells), 0 where blank or unknown."""

    puzzles: torch.Tensor
    solutions: torch.Tensor
    lines: list  # where each puzzle begins
    skipped: list  # texts, "line 3: 80 characters ..."
    ratings: list  # of each puzzle, as texts; "" where there is none


def read_puzzles(path, first=0):
    """
    The puzzles of a text file, or the `first` of them; it may be packed (.gz). Digits, and any of
    ". 0 _ * - ? x" for a blank. Four ways to write one:

        53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79

    81 characters (36 and 16 for the small boards), alone on a line;

        id,puzzle,solution,rating
        1,53..7...,534678...,3.2

    columns between commas, colons, semicolons, tabs or spaces, in any order: of two boards in a
    line the one with blanks is the puzzle, and what is no board (a header, a source) is left out,
    but for a rating: the column that a header calls so (or difficulty, level, score), or else a
    number that ends the line right behind its boards. Or a column for each cell;

        5 3 . | . 7 . | . . .
        6 . . | 1 9 5 | . . .
        ------+-------+------

    or a row on each of nine lines (.sdk, .ss), with frames and rules or without. Titles are left
    out, and so is what stands below [State], since it repeats the puzzle. Or JSON, with boards as
    texts or lists, where the "line" of a puzzle is the number of the entry. Text from "#" on is
    skipped. ValueError if there is no puzzle at all.
    """
    return puzzles_in(read_text(path), path, first)


def puzzles_in(text, source, first=0):
    """The same of a text; an error calls it by its source."""
    lines = lines_of(text)
    found, skipped = find_boards(lines)
    column = rating_column(lines[: found[0][0] - 1]) if found else None
    sizes = {len(field) for _, fields in found for field in fields if is_board(field, CELLS)}
    cells = max(sizes, default=0)
    puzzles, solutions, where, ratings = [], [], [], []
    for number, fields in found:
        if first and len(puzzles) == first:
            skipped = [text for text in skipped if line_of(text) < number]
            break
        boards = [field.translate(TO_DIGITS) for field in fields if is_board(field, (cells,))]
        if problem := what_is_wrong(fields, boards, cells):
            skipped.append(f"line {number}: {problem}")
            continue
        boards.sort(key=lambda board: -board.count("0"))  # the puzzle is the one with blanks
        puzzles.append(boards[0])
        solutions.append(boards[1] if len(boards) == 2 else "0" * cells)
        where.append(number)
        ratings.append(rating_of(lines[number - 1], fields, column))
    skipped.sort(key=line_of)
    if not puzzles:
        raise ValueError(f"{source} holds no puzzle" + (f"; {skipped[0]}" if skipped else ""))
    return Puzzles(tensor_of(puzzles), tensor_of(solutions), where, skipped, ratings)


# --------------------------------------------------------------------------------------------------
# From a file to lines


def read_text(path):
    try:
        content = Path(path).read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text, or damaged"
        raise ValueError(f"cannot read {path}: {reason}") from None


def lines_of(text):
    if text.lstrip().startswith(("[", "{")):
        with suppress(ValueError, RecursionError):  # then it is no JSON
            return list(lines_of_json(json.loads(text)))
    return text.splitlines()


def lines_of_json(value):
    """A line for each board, or for each object that holds a puzzle and its solution."""
    if isinstance(value, dict):
        lines = [line for each in value.values() for line in lines_of_json(each)]
        boards = [word for line in lines for word in line.split() if is_board(word, CELLS)]
        yield from [" ".join(lines)] if len(boards) <= 2 else lines
    elif not isinstance(value, list):
        yield str(value)
    elif is_board(board := "".join(cells_of(value)), CELLS):
        yield board
    else:
        for each in value:
            yield from lines_of_json(each)


def cells_of(value):
    """The cells of nested lists as characters; a text that is longer spoils them with a space."""
    if isinstance(value, list):
        return [cell for each in value for cell in cells_of(each)]
    cell = str(value or 0)
    return [cell if len(cell) == 1 else " "]


# --------------------------------------------------------------------------------------------------
# From lines to boards


def find_boards(lines):
    """
    The lines that may hold a board, [(number, fields)], and texts about boards that are cut short.
    """
    lines = [line.split("#")[0].strip() for line in lines]
    dash_is_blank = any(map(has_dash_as_blank, lines))
    found, skipped, rows, section = [], [], [], ""
    for number, line in enumerate([*lines, ""], 1):
        row = join(line)
        if is_rule(line, row, dash_is_blank):
            continue
        is_row = is_board(row, SIDES)
        if rows and not (is_row and len(row) == len(rows[0][1])):
            boards, short = boards_of(rows)
            found += boards
            skipped += short
            rows = []
        if header := re.fullmatch(r"\[([A-Za-z ]+)\]", line):
            section = header[1].lower()
        if section == "state":
            continue
        if is_row:
            rows.append((number, row))
            continue
        fields = [field for field in BETWEEN.split(line.replace("+", "")) if field]
        if is_board(row, CELLS) and len(set(map(len, fields))) == 1:  # a column for each cell
            fields = [row]
        if fields and looks_like_a_board(max(fields, key=len)):
            found.append((number, fields))
    return found, skipped


def join(line):
    """The characters of a line without what stands between them. "+4" is a 4 (Hodoku)."""
    return BETWEEN.sub("", line.replace("+", ""))


def has_dash_as_blank(line):
    return "-" in line and any(
        "-" in text and is_board(text, SIDES + CELLS) and re.search("[1-9]", text)
        for text in (join(line), *BETWEEN.split(line))
    )


def is_rule(line, row, dash_is_blank):
    """
    Is it a line between boxes, or of a frame? A dash may be a blank as well, and so may . and *.
    """
    is_row = dash_is_blank and "+" not in line and is_board(row, SIDES)
    if not line or set(line) - FRAME or is_row:
        return False
    return bool(re.search("[-=─━═]{2}", line)) or not set(line) & set(".*")


def boards_of(rows):
    """
    The boards of successive rows [(number, row)], as find_boards returns them. A number above each
    board, as long as its rows are, is a title. Dashes alone are a row of blanks; but if other rows
    have blanks of another kind, they are a rule, and if there are too many rows, nobody knows.
    """
    n, found, skipped = len(rows[0][1]), [], []
    if any(set(row) & OTHER_BLANKS for _, row in rows):
        rows = [(number, row) for number, row in rows if set(row) != {"-"}]
    if len(rows) % n and any(set(row) == {"-"} for _, row in rows):
        text = f"{len(rows)} rows of {n}: are those of dashes blank, or rules?"
        return [], [f"line {rows[0][0]}: {text}"]
    titled = len(rows) % n > 0 and len(rows) % (n + 1) == 0
    titled = titled and all(row.isdecimal() for _, row in rows[:: n + 1])
    height = n + 1 if titled else n
    for start in range(0, len(rows), height):
        part = rows[start + titled : start + height]
        number = part[0][0]
        if len(part) == n:
            found.append((number, ["".join(row for _, row in part)]))
        elif len(rows) > 1 or not rows[0][1].isdecimal():  # else it is a title, too
            text = f"{len(part)} rows, a board of {n} columns has more"
            skipped.append(f"line {number}: {text}")
    return found, skipped


def line_of(skipped):
    return int(skipped.split(":")[0].removeprefix("line "))


def is_board(text, lengths):
    return len(text) in lengths and set(text) <= BOARD_CHARACTERS


def looks_like_a_board(text):
    """Is it a board, or one that is spoilt? Other lines are titles and headers."""
    known = sum(text.count(character) for character in BOARD_CHARACTERS)
    return len(text) >= 10 and 2 * known >= len(text)


def rating_column(lines):
    """(separator, place) of the column of ratings, if a line above the boards names it."""
    for line, separator, rating in itertools.product(lines, SEPARATORS, RATINGS):
        names = [cell_text(name).lower() for name in line.split(separator)]
        if len(names) > 1 and rating in names:
            return separator, names.index(rating)
    return None


def rating_of(line, fields, column):
    """The rating in a line, which find_boards has split into fields, as a text; "" if none."""
    if column:
        separator, place = column
        cells = [cell_text(cell) for cell in line.split("#")[0].split(separator)]
        return cells[place] if place < len(cells) and not is_board(cells[place], CELLS) else ""
    *before, last = fields
    behind_a_board = before and is_board(before[-1], CELLS) and not is_board(last, CELLS)
    return last if behind_a_board and NUMBER.fullmatch(last) else ""


def cell_text(cell):
    return cell.strip(" \t\r\"'")


def tensor_of(boards):
    """Texts of digits as (N, cells)."""
    digits = torch.frombuffer(bytearray("".join(boards), "ascii"), dtype=torch.uint8)
    return digits.view(len(boards), -1).long() - ord("0")


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
    if (largest := max(map(max, boards))) > str(math.isqrt(cells)):
        return f"{largest} is no digit of a board of {cells} cells"
    puzzle, *solution = sorted(boards, key=lambda board: -board.count("0"))
    if "0" not in puzzle:
        return "a solved board, without a blank"
    if solution and "0" in solution[0]:
        return "two boards with blanks; expected a puzzle and its solution"
    if solution and any(g not in ("0", d) for g, d in zip(puzzle, solution[0])):
        return "the solution changes a given digit"
    return None
