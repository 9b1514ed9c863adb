"""Demonstrations of our own for WizardLM's complicate-input operator: for each form, two instructions and harder ones.

All end with their data, in a fenced block that a colon announces: so the data of a rewritten instruction can be told
from a solution behind it.
"""

from __future__ import annotations

from typing import Literal

Form = Literal["xml", "sql", "python", "html", "shell", "json"]
"""The forms of data that the paper demonstrates, in its order."""

Pair = tuple[str, str]

_XML: tuple[Pair, Pair] = (
    (
        "How do I add up prices?",
        """\
Add up the prices in the following order, counting each item as often as its quantity says, and show the steps:

```xml
<order currency="EUR">
  <item name="lamp" quantity="2">19.50</item>
  <item name="bulb" quantity="6">1.25</item>
</order>
```""",
    ),
    (
        "Which birds migrate?",
        """\
Tell which birds of the following list spend the winter on another continent than the summer, and why:

```xml
<birds>
  <bird summer="Sweden" winter="Ghana">osprey</bird>
  <bird summer="Poland" winter="Poland">magpie</bird>
</birds>
```""",
    ),
)

_SQL: tuple[Pair, Pair] = (
    (
        "Who is our best customer?",
        """\
Find the customer of the following table who has spent the most in 2023, and say what happens at a tie:

```sql
CREATE TABLE sales (customer TEXT, amount INTEGER, day DATE);
INSERT INTO sales VALUES ('Ana', 40, '2023-02-01'), ('Ben', 55, '2022-12-30'), ('Ana', 25, '2023-05-09');
```""",
    ),
    (
        "Suggest a plant for my balcony.",
        """\
Suggest the plant of the following table that suits a dark, windy balcony best, and give a reason:

```sql
CREATE TABLE plants (name TEXT, light TEXT, stands_wind BOOLEAN);
INSERT INTO plants VALUES ('fern', 'shade', FALSE), ('ivy', 'shade', TRUE), ('lavender', 'sun', TRUE);
```""",
    ),
)

_PYTHON: tuple[Pair, Pair] = (
    (
        "What is recursion?",
        """\
Explain recursion by the following function, and say for which arguments it never ends:

```python
def countdown(n):
    if n == 0:
        return ["go"]
    return [str(n)] + countdown(n - 1)
```""",
    ),
    (
        "Plan my week.",
        """\
Plan my week by the following appointments so that no day is longer than four hours, and name what has to move:

```python
appointments = {
    "Monday": [("dentist", 1), ("report", 4)],
    "Tuesday": [("choir", 2)],
}
```""",
    ),
)

_HTML: tuple[Pair, Pair] = (
    (
        "How do I make a web page easier to read?",
        """\
Name three things that make the following page hard to read with a screen reader, and mend each of them:

```html
<div onclick="buy()"><img src="cart.png"></div>
<p style="color: #ccc">Only 3 left</p>
```""",
    ),
    (
        "Write a title for a recipe.",
        """\
Write a title of at most six words for the recipe on the following page that names its main ingredient:

```html
<ul><li>2 leeks</li><li>500 g potatoes</li><li>1 l broth</li></ul>
<p>Simmer for half an hour, then blend.</p>
```""",
    ),
)

_SHELL: tuple[Pair, Pair] = (
    (
        "How do I free disk space?",
        """\
Tell which files of the following session may be deleted safely to free at least 2 GB, and which may not:

```shell
$ du -h * | sort -h
90M   notes.db
1.9G  old-backup.tar
2.4G  cache
```""",
    ),
    (
        "Explain what a deadline is.",
        """\
Explain how late each job of the following session is against its deadline, and which should be done first:

```shell
$ cat jobs.txt
print-labels  due 09:00
send-invoice  due 11:30
$ date +%H:%M
10:15
```""",
    ),
)

_JSON: tuple[Pair, Pair] = (
    (
        "What should I cook tonight?",
        """\
Suggest a dinner for two that uses up what spoils first in the following fridge, without going shopping:

```json
{"fridge": [{"food": "spinach", "days_left": 1}, {"food": "eggs", "days_left": 9}, {"food": "feta", "days_left": 3}]}
```""",
    ),
    (
        "Sort some numbers.",
        """\
Sort the following measurements by value, put those without a value last, and keep equal ones in their order:

```json
[{"id": "a", "value": 7}, {"id": "b", "value": null}, {"id": "c", "value": 7}, {"id": "d", "value": 2}]
```""",
    ),
)

DEMONSTRATIONS: dict[Form, tuple[str, tuple[Pair, Pair]]] = {
    "xml": ("a piece of XML", _XML),
    "sql": ("a table of a SQL database", _SQL),
    "python": ("a piece of Python", _PYTHON),
    "html": ("a piece of an HTML page", _HTML),
    "shell": ("commands of a shell and their output", _SHELL),
    "json": ("a piece of JSON", _JSON),
}
"""By form: what the prompt calls it, and two pairs of an instruction and a harder one."""
