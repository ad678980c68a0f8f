"""
The numbers of a claim, as a table.

Each seed finds the same rows. A row is a dict that says under which conditions, and what was found:

    dict(model="ACT", hops=4, right=0.98, halts=3.4)

A number is looked up by what its row says:

    table.values("right", model="ACT", hops=4)     [0.98, 0.97, 0.99], one of each seed
    table.median("right", model="ACT", hops=4)     0.98
    table.said("right", model="ACT", hops=4)       "0.98 [0.97, 0.99]", the median and the range

A cell may also hold a list, such as the accuracy after each loop.
"""

import numpy as np

from support.figures import BLUE, GREEN, GREY, ORANGE

# told apart by every kind of eye (Okabe and Ito 2008)
COLORS = (GREY, BLUE, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#D55E00")


class Table:
    def __init__(self, by_seed):
        """`by_seed` has a list of rows for each seed."""
        self.by_seed = by_seed

    def each_seed(self):
        """A table of each seed alone."""
        return [Table([rows]) for rows in self.by_seed]

    # ---- numbers

    def column(self, name, beside=(), **where):
        """
        The different values of a column, in the order of the rows. Only rows count that say
        `where`, and that have the columns `beside`, too.
        """
        rows = [row for row in self.by_seed[0] if fits(row, where) and {name, *beside} <= {*row}]
        return list(dict.fromkeys(row[name] for row in rows))

    def values(self, column, **where):
        """What the one row that says `where` has in a column: a value of each seed."""
        found = []
        for rows in self.by_seed:
            cells = [row[column] for row in rows if column in row and fits(row, where)]
            if len(cells) != 1:
                raise KeyError(f"{len(cells)} rows have a column {column!r} and say {where}")
            found.append(cells[0])
        return found

    def median(self, column, **where):
        """Of the seeds; of lists, an array with the median of each of their elements."""
        middle = np.median(self.values(column, **where), axis=0)
        return middle if middle.ndim else float(middle)

    def medians(self, column, over, **where):
        """{value: median} for the different values of the column `over`."""
        values = self.column(over, beside=[column], **where)
        return {value: self.median(column, **{**where, over: value}) for value in values}

    # ---- what val chooses

    def liked(self, over, lowest=False, **where):
        """
        `where`, and of the column `over` the value with the highest median of `on_val`:
        liked("norm", model="loop") is {"model": "loop", "norm": "pre"}.
        """
        on_val = self.medians("on_val", over, **where)
        choose = min if lowest else max
        return {**where, over: choose(on_val, key=on_val.get)}

    def only(self, choices):
        """A table of the rows that say one of these."""
        return Table(
            [
                [row for row in rows if any(fits(row, each) for each in choices)]
                for rows in self.by_seed
            ]
        )

    # ---- words

    def said(self, column, digits=2, **where):
        return said(self.values(column, **where), digits)

    def tell(self, by, digits, **where):
        """
        All rows in words. `by` are the columns whose values name a row; `digits` says of which
        columns the numbers are told, and with how many digits: {"right": 2, "halts": 1}. The first
        of these stands beside the name, the others in brackets.

            by=["model"]              ACT 0.98 (halts 3.4); last state 0.99
            by=["model", "hops"]      ACT: 4 hops 0.98 (halts 3.4), 6 hops 0.80; last state: ..
        """
        told, done = {}, []
        for row in self.by_seed[0]:
            names = {column: row[column] for column in by if column in row}
            if len(names) < len(by) or names in done or not fits(row, where):
                continue
            these = {**where, **names}
            numbers = {
                column: self.said(column, places, **these)
                for column, places in digits.items()
                if self.column(column, **these)
            }
            if numbers:
                done.append(names)
                group, *rest = [in_words(column, value) for column, value in names.items()]
                told.setdefault(group, []).append(" ".join([*rest, one_beside_others(numbers)]))
        mark = ": " if len(by) > 1 else " "
        return "; ".join(f"{group}{mark}{', '.join(items)}" for group, items in told.items())

    # ---- pictures

    def plot(self, axis, x, y, style="-", color=None, label=None, **where):
        """Column y over column x: the medians as a line, each seed a point."""
        places = self.column(x, beside=[y], **where)
        values = [self.values(y, **{**where, x: place}) for place in places]
        axis.plot(places, np.median(values, axis=1), style, color=color, label=label)
        axis.plot(places, values, ".", color=color, ms=5)

    def curves(self, axis, column, first=1, style="-", color=None, label=None, **where):
        """A cell with a list, drawn over first, first + 1, ..: a line for each seed."""
        for i, curve in enumerate(self.values(column, **where)):
            name = label if i == 0 else None
            axis.plot(range(first, first + len(curve)), curve, style, color=color, label=name)

    def dots(self, axis, column, kind, **where):
        """A line for each value of the column `kind`: each seed a point, the median a stroke."""
        kinds = self.column(kind, beside=[column], **where)
        for place, (name, color) in enumerate(zip(kinds, COLORS)):
            values = self.values(column, **{**where, kind: name})
            axis.plot(values, [place] * len(values), "o", color=color)
            axis.plot(np.median(values), place, "|", ms=24, color=color)
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set_ylim(len(kinds) - 0.5, -0.5)

    def bars(self, axis, column, group, kind, **where):
        """A group of bars for each value of the column `group`, a bar for each value of `kind`."""
        groups = self.column(group, beside=[column, kind], **where)
        kinds = self.column(kind, beside=[column, group], **where)
        width = 0.8 / len(kinds)
        for i, color in zip(range(len(kinds)), COLORS):
            x = [j + width * (i - (len(kinds) - 1) / 2) for j in range(len(groups))]
            values = [self.values(column, **{**where, group: g, kind: kinds[i]}) for g in groups]
            axis.bar(x, np.median(values, axis=1), 0.9 * width, color=color, label=kinds[i])
            axis.plot(x, values, "k.", ms=4)
        axis.set_xticks(range(len(groups)), groups)


def fits(row, where):
    """Does a row say all of this? Where several values are given, one of them is enough."""
    for column, wanted in where.items():
        choices = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
        if column not in row or row[column] not in choices:
            return False
    return True


# --------------------------------------------------------------------------------------------------
# Words


def said(values, digits=2):
    """The median of the seeds and their range, "0.98 [0.96, 0.99]"."""
    middle, low, high = (
        f"{number:,.{digits}f}" for number in (np.median(values), min(values), max(values))
    )
    return middle if low == high else f"{middle} [{low}, {high}]"


def in_words(column, value):
    """A name stands for itself; of a number the column says what it counts: "4 hops", "rank 4"."""
    words = column.replace("_", " ")
    if isinstance(value, str):
        return value
    if not words.endswith("s"):
        return f"{words} {value}"
    return f"{value} {words.removesuffix('s') if value == 1 else words}"


def one_beside_others(numbers):
    """{"right": "0.98", "halts": "3.4"} as "0.98 (halts 3.4)"."""
    (_, first), *others = numbers.items()
    if not others:
        return first
    words = ", ".join(f"{column.replace('_', ' ')} {number}" for column, number in others)
    return f"{first} ({words})"
