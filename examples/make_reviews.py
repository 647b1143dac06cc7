"""Writes 500 invented product reviews to reviews.csv beside this file.

    python examples/make_reviews.py

The sentences are our own; they are dedicated to the public domain (CC0). Equal seeds write equal files.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import random
from pathlib import Path

COUNT = 500
SEED = 2026
_FIRST_DAY = dt.date(2026, 1, 1)
_DAYS = 300

PRODUCTS = {
    "kettle": ("boils a litre in three minutes", "the lid", "the switch", "pouring without a drip"),
    "backpack": ("carries a laptop and a day's food", "the zip", "the left strap", "a long walk in the rain"),
    "desk lamp": ("lights the whole desk evenly", "the hinge", "the dimmer", "reading late at night"),
    "headset": (
        "shuts out the noise of a train",
        "the ear cushion",
        "the battery",
        "calls from a busy road",
    ),
    "garden hose": ("reaches every bed from one tap", "the nozzle", "the connector", "a dry week in August"),
    "rain jacket": ("keeps a cyclist dry for an hour", "the hood", "the cuffs", "the first storm of autumn"),
    "coffee grinder": ("grinds fine enough for espresso", "the hopper", "the dial", "two cups every morning"),
    "office chair": ("holds the back on long days", "the armrest", "a castor", "eight hours of meetings"),
}
GOOD = (
    "It {does}, exactly as promised.",
    "After {months} months of use it still {does}.",
    "I bought it for {use}, and it has not let me down once.",
    "I find no fault with {part}.",
    "My neighbour has already ordered one after trying mine.",
    "Delivery took two days and the box was intact.",
)
BAD = (
    "{Part} broke after {weeks} weeks.",
    "It never {does}, whatever the description says.",
    "For {use} it is useless.",
    "{Other} came scratched, and the replacement did too.",
    "Customer service answered after {weeks} weeks, with a form letter.",
    "I sent it back and still wait for my money.",
)
MIXED = (
    "It {does}, but {part} worries me.",
    "Fine for {use}; not for much else.",
    "The price is fair, {other} is not what I expected.",
    "It does its job. Nothing more to say.",
    "I would buy it again, although not at the full price.",
)
ENDINGS = ("", "", "", " Would recommend.", " Think twice.", " Size was as described.", " Bought as a gift.")


def review(chance: random.Random, number: int) -> dict[str, str]:
    """Return one review: two or three sentences of one mood, and sometimes one of another."""
    product = chance.choice(list(PRODUCTS))
    does, part, other, use = PRODUCTS[product]
    mood, stars = chance.choices([(GOOD, (4, 5)), (BAD, (1, 2)), (MIXED, (3,))], weights=[5, 3, 3])[0]
    sentences = chance.sample(mood, chance.choice((1, 2, 2, 3)))
    if chance.random() < 0.15:
        sentences.append(chance.choice(MIXED))
    words = {"does": does, "part": part, "other": other, "use": use}
    words |= {"Part": part.capitalize(), "Other": other.capitalize()}
    words |= {"months": str(chance.randint(2, 18)), "weeks": str(chance.randint(2, 9))}
    text = " ".join(sentence.format(**words) for sentence in sentences) + chance.choice(ENDINGS)
    day = _FIRST_DAY + dt.timedelta(days=chance.randrange(_DAYS))
    return {
        "id": f"r{number:03}",
        "date": day.isoformat(),
        "product": product,
        "stars": str(chance.choice(stars)),
        "text": text,
    }


def main() -> None:
    """Write the file."""
    options = argparse.ArgumentParser(description="Writes invented product reviews.")
    options.add_argument("--out", type=Path, default=Path(__file__).with_name("reviews.csv"))
    options.add_argument("--count", type=int, default=COUNT)
    given = options.parse_args()
    chance = random.Random(SEED)
    reviews = [review(chance, number) for number in range(1, given.count + 1)]
    with given.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(reviews[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(reviews)


if __name__ == "__main__":
    main()
