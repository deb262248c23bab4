"""CSV files that spreadsheet programs open, in which no cell is a formula."""

import csv
import re
from collections.abc import Iterable
from io import StringIO

from django.http import HttpResponse

# Where a cell begins, also for who opens the file with another delimiter, and what spreadsheets take there
# for a formula, after any number of the apostrophes that keep them from it.
# https://owasp.org/www-community/attacks/CSV_Injection
_BEGINNING = "(?:^|(?<=[,;\t\r\n|]))"
_FORMULA = "(?='*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])"


def csv_response(name: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> HttpResponse:
    """Return a table as a file to download; ``None`` is an empty cell."""
    file = StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([escaped("" if cell is None else str(cell)) for cell in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    content = file.getvalue().encode("utf-8-sig")  # spreadsheets read UTF-8 only where the file says so
    return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


def escaped(cell: str) -> str:
    """Return a text that no spreadsheet takes for a formula, with an apostrophe wherever it would."""
    return re.sub(_BEGINNING + _FORMULA, "'", cell)


def unescaped(cell: str) -> str:
    """Return the text without the apostrophes of :func:`escaped`."""
    return re.sub(f"{_BEGINNING}'{_FORMULA}", "", cell)
