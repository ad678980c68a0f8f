"""
A second generator of minimal Sudoku puzzles, made another way than the one of support/boards.py:
one board at a time, without tensors. The tests compare the two, and a file of its boards asks a
model for boards that its own generator did not make:

    python tests/other_boards.py 200 --seed 1 > boards.txt        9x9, 22 to 24 clues
"""

import argparse
import random


class Rules:
    """The cells that see each other on the boards of a box "2x3"."""

    def __init__(self, box):
        self.height, self.width = map(int, box.split("x"))
        n = self.n = self.height * self.width
        self.peers = [
            [other for other in range(n * n) if other != cell and self.see(cell, other)]
            for cell in range(n * n)
        ]

    def see(self, one, other):
        (r, c), (i, j) = divmod(one, self.n), divmod(other, self.n)
        same_box = (r // self.height, c // self.width) == (i // self.height, j // self.width)
        return r == i or c == j or same_box

    def completions(self, board, draw=None):
        """
        All completions of a board, a list with 0 for a blank, one after the other: try the digits
        of a cell that the fewest fit, in their order or in one that is drawn.
        """
        fewest, cell = self.n + 1, None
        for each, digit in enumerate(board):
            if digit == 0:
                possible = set(range(1, self.n + 1)) - {board[peer] for peer in self.peers[each]}
                if len(possible) < fewest:
                    fewest, cell, digits = len(possible), each, sorted(possible)
                if fewest < 2:
                    break
        if cell is None:
            yield list(board)
            return
        if draw:
            draw.shuffle(digits)
        for digit in digits:
            board[cell] = digit
            yield from self.completions(board, draw)
        board[cell] = 0

    def is_unique(self, board):
        """Does a board that has a completion have no second one?"""
        found = self.completions(list(board))
        next(found)
        return next(found, None) is None


def full_grid(rules, draw):
    """
    The grid whose rows are 1 2 3 .. moved on, with its rows, columns and digits shuffled; a third
    of its cells is kept, and the others are filled in anew, in an order that is drawn.
    """
    n, height, width = rules.n, rules.height, rules.width
    rows = shuffled_lines(n, height, draw)
    columns = shuffled_lines(n, width, draw)
    names = draw.sample(range(1, n + 1), n)
    grid = [names[(width * (r % height) + r // height + c) % n] for r in rows for c in columns]
    kept = set(draw.sample(range(n * n), n * n // 3))
    return next(rules.completions([grid[i] if i in kept else 0 for i in range(n * n)], draw))


def shuffled_lines(n, size, draw):
    """The rows 0 .. n - 1 in another order in bands of a size, and the bands in another order."""
    bands = [draw.sample(range(start, start + size), size) for start in range(0, n, size)]
    return [row for band in draw.sample(bands, len(bands)) for row in band]


def minimal_puzzle(rules, draw):
    """(puzzle, grid), lists: clues go in an order that is drawn while one solution is left."""
    grid = full_grid(rules, draw)
    puzzle = list(grid)
    for cell in draw.sample(range(len(grid)), len(grid)):
        puzzle[cell] = 0
        if not rules.is_unique(puzzle):
            puzzle[cell] = grid[cell]
    return puzzle, grid


def main():
    parser = argparse.ArgumentParser(description="minimal 9x9 puzzles, one a line")
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clues", type=int, nargs=2, default=(22, 24), help="fewest and most")
    args = parser.parse_args()
    rules, draw, written = Rules("3x3"), random.Random(args.seed), 0
    while written < args.number:
        puzzle, _ = minimal_puzzle(rules, draw)
        if args.clues[0] <= sum(digit > 0 for digit in puzzle) <= args.clues[1]:
            print("".join(map(str, puzzle)).replace("0", "."), flush=True)
            written += 1


if __name__ == "__main__":
    main()
