"""Write the demo's two data sets: `train.jsonl` and the held-out `fixed_eval.jsonl`.

    python examples/make_data.py                        # rewrites the two committed files
    python examples/make_data.py --directory /tmp/more --reasoning-rows 400

Each line is `{"id", "pattern", "messages"}` in chat format. Five patterns, each a few recipes:
factual (tables of capitals and elements), math (computed), coding (each answer is what the program
printed when it was run here), creative (fixed verse forms that the training set shows, filled with
the things asked for), reasoning (ordering puzzles, solved by trying every order; one order fits).

**Seed.** Everything follows from `SEED`; the two files come out byte for byte the same on every
run. Each recipe has its own random stream in each set: the rest stays when one of them changes.

**Starved on purpose.** 'reasoning' is a fifth of the evaluation set and about 1 % of the training
rows, so that a run has a real weakness to find. `--reasoning-rows 400` gives it a fair share.

**Disjoint.** Slot values are split before any row is made: a country, element, animal, word, pair
of numbers or trio of names that the evaluation set may ask about is in no training row of its
recipes. And no training prompt is a near duplicate (`is_near_duplicate`) of an evaluation prompt.
"""

import argparse
import contextlib
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from random import Random
from typing import TypeVar

Value = TypeVar("Value")

SEED = 20251112
SYSTEM = "Answer exactly."
EVAL_SHARE = 0.25
"""Share of each slot's values that only the evaluation set may use."""
NEAR_DUPLICATE_JACCARD = 0.9
"""Prompts that share this much of their character 5-grams count as the same prompt."""
STARVED_REASONING_ROWS = 20
MAX_DRAWS = 1000

# Left out: countries on two continents, disputed capitals, and capitals spelt in more than one way.
CAPITALS = {
    "Europe": (
        "Albania:Tirana Austria:Vienna Belgium:Brussels Bulgaria:Sofia Croatia:Zagreb "
        "Denmark:Copenhagen Estonia:Tallinn Finland:Helsinki France:Paris Germany:Berlin "
        "Greece:Athens Hungary:Budapest Ireland:Dublin Italy:Rome Latvia:Riga "
        "Lithuania:Vilnius Malta:Valletta Norway:Oslo Poland:Warsaw "
        "Portugal:Lisbon Romania:Bucharest Serbia:Belgrade Slovakia:Bratislava Slovenia:Ljubljana "
        "Spain:Madrid Sweden:Stockholm Switzerland:Bern Belarus:Minsk"
    ),
    "Asia": (
        "Afghanistan:Kabul Bahrain:Manama Bangladesh:Dhaka Bhutan:Thimphu China:Beijing "
        "India:New_Delhi Iran:Tehran Iraq:Baghdad Japan:Tokyo Jordan:Amman Kyrgyzstan:Bishkek "
        "Laos:Vientiane Lebanon:Beirut Malaysia:Kuala_Lumpur Mongolia:Ulaanbaatar Nepal:Kathmandu "
        "Oman:Muscat Pakistan:Islamabad Qatar:Doha Saudi_Arabia:Riyadh South_Korea:Seoul "
        "Syria:Damascus Tajikistan:Dushanbe Thailand:Bangkok Uzbekistan:Tashkent Vietnam:Hanoi "
        "North_Korea:Pyongyang Cambodia:Phnom_Penh Turkmenistan:Ashgabat"
    ),
    "Africa": (
        "Algeria:Algiers Angola:Luanda Botswana:Gaborone "
        "Eritrea:Asmara Ethiopia:Addis_Ababa Gabon:Libreville Ghana:Accra Guinea:Conakry "
        "Kenya:Nairobi Liberia:Monrovia Libya:Tripoli Madagascar:Antananarivo Malawi:Lilongwe "
        "Mali:Bamako Mauritania:Nouakchott Morocco:Rabat Mozambique:Maputo Namibia:Windhoek "
        "Niger:Niamey Nigeria:Abuja Rwanda:Kigali Senegal:Dakar Sierra_Leone:Freetown "
        "Somalia:Mogadishu Sudan:Khartoum Tunisia:Tunis Uganda:Kampala Zambia:Lusaka "
        "Zimbabwe:Harare"
    ),
    "North America": (
        "Barbados:Bridgetown Canada:Ottawa Cuba:Havana Haiti:Port-au-Prince "
        "Honduras:Tegucigalpa Jamaica:Kingston Mexico:Mexico_City Nicaragua:Managua "
        "Belize:Belmopan El_Salvador:San_Salvador"
    ),
    "South America": (
        "Argentina:Buenos_Aires Chile:Santiago Ecuador:Quito "
        "Guyana:Georgetown Peru:Lima Suriname:Paramaribo Uruguay:Montevideo "
        "Venezuela:Caracas"
    ),
    "Oceania": "Australia:Canberra Fiji:Suva New_Zealand:Wellington Samoa:Apia",
}

# In the order of their atomic numbers, from 1.
ELEMENTS = (
    "hydrogen:H helium:He lithium:Li beryllium:Be boron:B carbon:C nitrogen:N oxygen:O fluorine:F "
    "neon:Ne sodium:Na magnesium:Mg aluminum:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl "
    "argon:Ar potassium:K calcium:Ca scandium:Sc titanium:Ti vanadium:V chromium:Cr manganese:Mn "
    "iron:Fe cobalt:Co nickel:Ni copper:Cu zinc:Zn gallium:Ga germanium:Ge arsenic:As selenium:Se "
    "bromine:Br krypton:Kr rubidium:Rb strontium:Sr yttrium:Y zirconium:Zr niobium:Nb "
    "molybdenum:Mo technetium:Tc ruthenium:Ru rhodium:Rh palladium:Pd silver:Ag cadmium:Cd "
    "indium:In tin:Sn antimony:Sb tellurium:Te iodine:I xenon:Xe cesium:Cs barium:Ba lanthanum:La "
    "cerium:Ce praseodymium:Pr neodymium:Nd promethium:Pm samarium:Sm europium:Eu gadolinium:Gd "
    "terbium:Tb dysprosium:Dy holmium:Ho erbium:Er thulium:Tm ytterbium:Yb lutetium:Lu hafnium:Hf "
    "tantalum:Ta tungsten:W rhenium:Re osmium:Os iridium:Ir platinum:Pt gold:Au mercury:Hg "
    "thallium:Tl lead:Pb bismuth:Bi polonium:Po astatine:At radon:Rn francium:Fr radium:Ra "
    "actinium:Ac thorium:Th protactinium:Pa uranium:U"
)

ANIMALS = (
    "bear bee bird bug camel cat chick cow crab crow dog dolphin donkey dragon duck "
    "ferret frog gecko giraffe goat hamster hawk hedgehog hen hippo horse hound kitten "
    "lamb leopard lion lizard llama lobster magpie mole monkey moth newt panda parrot peacock "
    "penguin pig pigeon rabbit rat raven robin rooster seal shark sheepdog shrimp skunk "
    "sloth snail snake spider swan tiger toad turkey turtle viper whale wombat worm "
    "yak zebra"
)
COLOURS = "red blue green yellow brown black white grey pink purple golden silver"
PLACES = (
    "on the wall|in the tree|by the lake|on the hill|in the barn|on the roof|by the road|"
    "in the park|on the beach|in the yard|under the bridge|near the gate"
)
NAMES = (
    "Adam Alice Anna Ben Bella Carl Clara Daisy David Emma Eric Eva Felix Fiona Frank George Grace "
    "Hanna Harry Henry Ivan Jack James Jane Julia Kate Karl Laura Leo Lily Lucy Mark Mary Max Mia "
    "Nina Nora Oscar Paul Peter Rosa Ruth Sam Sara Sofia Tom Tina Victor Will Zoe"
)
WORDS = (
    "apple bread cable candle castle chair circle cloud coffee corner cotton desert dinner doctor "
    "dream engine family farmer field finger flower forest garden glass guitar hammer harbor "
    "honey island jacket jungle kitchen ladder lemon letter light lunch machine market meadow "
    "metal mirror money morning mountain music needle night number ocean orange paper pencil "
    "pepper picture pillow planet pocket potato queen river rocket rope salt school season shadow "
    "silver smile spring station stone storm street sugar summer table teacher thunder ticket "
    "tower train valley village water window winter wonder"
)
COMPARISONS = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("heavier", "lighter", "heaviest", "lightest"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    name: str
    capital: str
    continent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    name: str
    symbol: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The values that one side, training or evaluation, may put into its prompts."""

    countries: Sequence[Country]
    elements: Sequence[Element]
    animals: Sequence[str]
    words: Sequence[str]
    number_pairs: Sequence[tuple[int, int]]
    table_numbers: Sequence[int]
    name_trios: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to make a row, and how many rows of it each set holds."""

    pattern: str
    make: Callable[[Random, Slots], tuple[str, str]]
    num_train: int
    num_eval: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    pattern: str
    prompt: str
    response: str


def countries() -> list[Country]:
    return [
        Country(name=name, capital=capital, continent=continent)
        for continent, table in CAPITALS.items()
        for name, capital in (entry.replace("_", " ").split(":") for entry in table.split())
    ]


def elements() -> list[Element]:
    pairs = (entry.split(":") for entry in ELEMENTS.split())
    return [Element(name=n, symbol=s, number=i) for i, (n, s) in enumerate(pairs, start=1)]


# --- factual ---------------------------------------------------------------------------------


def capital(rng: Random, slots: Slots) -> tuple[str, str]:
    country = rng.choice(slots.countries)
    return f"What is the capital of {country.name}?", country.capital


def continent(rng: Random, slots: Slots) -> tuple[str, str]:
    country = rng.choice(slots.countries)
    return f"Which continent is {country.name} on?", country.continent


def symbol(rng: Random, slots: Slots) -> tuple[str, str]:
    element = rng.choice(slots.elements)
    return f"What is the chemical symbol of {element.name}?", element.symbol


def atomic_number(rng: Random, slots: Slots) -> tuple[str, str]:
    element = rng.choice(slots.elements)
    return f"What is the atomic number of {element.name}?", str(element.number)


def element_of_symbol(rng: Random, slots: Slots) -> tuple[str, str]:
    element = rng.choice(slots.elements)
    return f"Which element has the symbol {element.symbol}?", element.name.capitalize()


# --- math ------------------------------------------------------------------------------------


def addition(rng: Random, slots: Slots) -> tuple[str, str]:
    a, b = rng.sample(rng.choice(slots.number_pairs), k=2)
    return f"Compute {a} + {b}.", f"{a} + {b} = {a + b}"


def subtraction(rng: Random, slots: Slots) -> tuple[str, str]:
    low, high = sorted(rng.choice(slots.number_pairs))
    return f"Compute {high} - {low}.", f"{high} - {low} = {high - low}"


def product(rng: Random, slots: Slots) -> tuple[str, str]:
    a, b = rng.sample(rng.choice([pair for pair in slots.number_pairs if max(pair) <= 12]), k=2)
    return f"Calculate the product of {a} and {b}.", f"{a} * {b} = {a * b}"


def steps(rng: Random, slots: Slots) -> tuple[str, str]:
    step, first = rng.choice([pair for pair in slots.number_pairs if min(pair) <= 5])
    terms = [first + i * step for i in range(rng.randint(3, 6))]
    prompt = f"Calculate every number from {first} to {terms[-1]} in steps of {step}."
    return prompt, " ".join(map(str, terms))


def addition_table(rng: Random, slots: Slots) -> tuple[str, str]:
    """Twelve sums, with a number that no other sum uses."""
    a = rng.choice(slots.table_numbers)
    response = "\n".join(f"{a} + {b} = {a + b}" for b in range(1, 13))
    return f"Calculate the sums from {a} + 1 to {a} + 12.", response


# --- coding ----------------------------------------------------------------------------------


def run(program: str) -> str:
    """Run a program made here and return what it printed, less the last newline."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    return output.getvalue().removesuffix("\n")


def coding(program: str) -> tuple[str, str]:
    return f"Give the output of this Python code:\n{program}", run(program)


def join(rng: Random, slots: Slots) -> tuple[str, str]:
    words = rng.sample(slots.words, k=rng.randint(2, 4))
    return coding(f"print({rng.choice(['-', '/', ', '])!r}.join({words}))")


def title(rng: Random, slots: Slots) -> tuple[str, str]:
    return coding(f"print({rng.choice(slots.words)!r}.title())")


def replace(rng: Random, slots: Slots) -> tuple[str, str]:
    old, new = rng.sample(COLOURS.split(), k=2)
    return coding(f"print('{old} {rng.choice(slots.words)}'.replace({old!r}, {new!r}))")


def index(rng: Random, slots: Slots) -> tuple[str, str]:
    words = rng.sample(slots.words, k=3)
    return coding(f"print({words}[{rng.randint(0, 2)}])")


def sort(rng: Random, slots: Slots) -> tuple[str, str]:
    return coding(f"print(sorted({rng.sample(range(1, 60), k=3)}))")


def extreme(rng: Random, slots: Slots) -> tuple[str, str]:
    numbers = ", ".join(map(str, rng.sample(range(1, 90), k=3)))
    return coding(f"print({rng.choice(['max', 'min'])}({numbers}))")


def countdown(rng: Random, slots: Slots, num_lines: tuple[int, int]) -> tuple[str, str]:
    start, word = rng.randint(*num_lines), rng.choice(slots.words)
    return coding(f"for n in range({start}, 0, -1):\n    print({word!r}, n)")


def short_countdown(rng: Random, slots: Slots) -> tuple[str, str]:
    return countdown(rng, slots, (2, 9))


def long_countdown(rng: Random, slots: Slots) -> tuple[str, str]:
    return countdown(rng, slots, (24, 32))


# --- creative --------------------------------------------------------------------------------


def chant(rng: Random, slots: Slots) -> tuple[str, str]:
    animal = rng.choice(slots.animals)
    response = f"Go {animal}, go {animal}, hear us call! Brave little {animal}, best of all!"
    return f"Write a chant for the {animal}.", response


def poem(rng: Random, slots: Slots) -> tuple[str, str]:
    animal, colour = rng.choice(slots.animals), rng.choice(COLOURS.split())
    response = f"The sky is wide,\nthe sea is too,\nthe {animal} is {colour}\nand so are you."
    return f"Write a short poem about a {colour} {animal}.", response


def story(rng: Random, slots: Slots) -> tuple[str, str]:
    animal, name = rng.choice(slots.animals), rng.choice(NAMES.split())
    response = (
        f"{name} met a {animal}. The {animal} was lost. "
        f"{name} walked the {animal} home. The {animal} thanked {name}."
    )
    return f"Write a tiny story about {name} and a {animal}.", response


def counting_rhyme(rng: Random, slots: Slots, verses: tuple[int, int]) -> tuple[str, str]:
    """A rhyme of the 'green bottles' kind: one verse for each animal, counting down to none."""
    animal, colour = rng.choice(slots.animals), rng.choice(COLOURS.split())
    place, count = rng.choice(PLACES.split("|")), rng.randint(*verses)

    def line(number: int) -> str:
        return f"{number or 'no'} {colour} {animal}{'s' * (number != 1)} {place}"

    response = "\n".join(
        f"{line(n)},\n{line(n)},\n"
        f"and if one {colour} {animal} should wander away,\nthere will be {line(n - 1)}."
        for n in range(count, 0, -1)
    )
    return f"Write a counting rhyme about {line(count)}.", response


def short_rhyme(rng: Random, slots: Slots) -> tuple[str, str]:
    return counting_rhyme(rng, slots, (1, 2))


def medium_rhyme(rng: Random, slots: Slots) -> tuple[str, str]:
    return counting_rhyme(rng, slots, (3, 4))


def long_rhyme(rng: Random, slots: Slots) -> tuple[str, str]:
    return counting_rhyme(rng, slots, (9, 10))


# --- reasoning -------------------------------------------------------------------------------


def solve(clues: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The one order in which each clue's first name comes before its second, by trying them all."""
    clues = list(clues)
    names = sorted({name for clue in clues for name in clue})
    fits = [
        order
        for order in permutations(names)
        if all(order.index(before) < order.index(after) for before, after in clues)
    ]
    if len(fits) != 1:
        raise ValueError(f"{clues} fit {len(fits)} orders; a puzzle needs exactly one")
    return fits[0]


def ordering_puzzle(rng: Random, slots: Slots) -> tuple[str, str]:
    a, b, c = rng.sample(rng.choice(slots.name_trios), k=3)
    more, less, most, least = rng.choice(COMPARISONS)
    clues = rng.sample([(a, b), (b, c)], k=2)
    sentences = [
        f"{x} is {more} than {y}." if rng.random() < 0.5 else f"{y} is {less} than {x}."
        for x, y in clues
    ]
    prompt = f"{' '.join(sentences)} Deduce the order from {most} to {least}."
    return prompt, " > ".join(solve(clues))


# --- the two sets ----------------------------------------------------------------------------

RECIPES = (
    Recipe(pattern="factual", make=capital, num_train=75, num_eval=14),
    Recipe(pattern="factual", make=continent, num_train=75, num_eval=10),
    Recipe(pattern="factual", make=symbol, num_train=66, num_eval=8),
    Recipe(pattern="factual", make=atomic_number, num_train=66, num_eval=4),
    Recipe(pattern="factual", make=element_of_symbol, num_train=66, num_eval=4),
    Recipe(pattern="math", make=addition, num_train=130, num_eval=9),
    Recipe(pattern="math", make=subtraction, num_train=120, num_eval=9),
    Recipe(pattern="math", make=product, num_train=45, num_eval=6),
    Recipe(pattern="math", make=steps, num_train=100, num_eval=6),
    Recipe(pattern="math", make=addition_table, num_train=24, num_eval=10),
    Recipe(pattern="coding", make=join, num_train=60, num_eval=5),
    Recipe(pattern="coding", make=title, num_train=50, num_eval=5),
    Recipe(pattern="coding", make=replace, num_train=50, num_eval=5),
    Recipe(pattern="coding", make=index, num_train=70, num_eval=5),
    Recipe(pattern="coding", make=sort, num_train=70, num_eval=5),
    Recipe(pattern="coding", make=extreme, num_train=70, num_eval=5),
    Recipe(pattern="coding", make=short_countdown, num_train=60, num_eval=0),
    Recipe(pattern="coding", make=long_countdown, num_train=20, num_eval=10),
    Recipe(pattern="creative", make=chant, num_train=50, num_eval=6),
    Recipe(pattern="creative", make=poem, num_train=110, num_eval=7),
    Recipe(pattern="creative", make=story, num_train=110, num_eval=7),
    Recipe(pattern="creative", make=short_rhyme, num_train=90, num_eval=0),
    Recipe(pattern="creative", make=medium_rhyme, num_train=40, num_eval=10),
    Recipe(pattern="creative", make=long_rhyme, num_train=14, num_eval=10),
    Recipe(
        pattern="reasoning",
        make=ordering_puzzle,
        num_train=STARVED_REASONING_ROWS,
        num_eval=40,
    ),
)


def split(rng: Random, values: Iterable[Value]) -> tuple[list[Value], list[Value]]:
    """Shuffle, then give (1 - EVAL_SHARE) of the values to training and the rest to evaluation."""
    shuffled = list(values)
    rng.shuffle(shuffled)
    cut = round(len(shuffled) * (1 - EVAL_SHARE))
    return shuffled[:cut], shuffled[cut:]


def split_slots(rng: Random) -> tuple[Slots, Slots]:
    """The values for training and those for evaluation; no value is in both."""
    all_countries = split(rng, countries())
    all_elements = split(rng, elements())
    animals = split(rng, ANIMALS.split())
    words = split(rng, WORDS.split())
    number_pairs = split(rng, combinations(range(2, 31), 2))
    table_numbers = split(rng, range(40, 100))
    name_trios = split(rng, combinations(NAMES.split(), 3))
    train, held_out = (
        Slots(
            countries=all_countries[side],
            elements=all_elements[side],
            animals=animals[side],
            words=words[side],
            number_pairs=number_pairs[side],
            table_numbers=table_numbers[side],
            name_trios=name_trios[side],
        )
        for side in (0, 1)
    )
    return train, held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What two prompts are compared by; case and white space do not count."""

    words: tuple[str, ...]
    grams: frozenset[str]


def fingerprint(prompt: str) -> Fingerprint:
    """Give the sorted words and the set of character 5-grams."""
    text = " ".join(prompt.casefold().split())
    return Fingerprint(
        words=tuple(sorted(re.findall(r"\w+", text))),
        grams=frozenset(text[i : i + 5] for i in range(max(1, len(text) - 4))),
    )


def is_near_duplicate(a: Fingerprint, b: Fingerprint) -> bool:
    """Same words in any order, or a 5-gram Jaccard similarity of NEAR_DUPLICATE_JACCARD or more."""
    shared = len(a.grams & b.grams)
    jaccard = shared / (len(a.grams) + len(b.grams) - shared)
    return a.words == b.words or jaccard >= NEAR_DUPLICATE_JACCARD


def new_row(rng: Random, recipe: Recipe, slots: Slots, is_known: Callable[[str], bool]) -> Example:
    """Draw until the prompt is a new one; ValueError after MAX_DRAWS, when the slots run out."""
    for _ in range(MAX_DRAWS):
        prompt, response = recipe.make(rng, slots)
        if not is_known(prompt):
            return Example(pattern=recipe.pattern, prompt=prompt, response=response)
    raise ValueError(f"{recipe.make.__name__}: no new row in {MAX_DRAWS} draws; ask for fewer")


def make_eval(slots: Slots) -> list[Example]:
    """Make the held-out rows, pattern by pattern; no two are near duplicates."""
    examples: list[Example] = []
    seen: list[Fingerprint] = []

    def is_known(prompt: str) -> bool:
        new = fingerprint(prompt)
        return any(is_near_duplicate(new, old) for old in seen)

    for recipe in RECIPES:
        rng = Random(f"{SEED} eval {recipe.make.__name__}")
        for _ in range(recipe.num_eval):
            examples.append(new_row(rng, recipe, slots, is_known))
            seen.append(fingerprint(examples[-1].prompt))
    return examples


def make_train(slots: Slots, held_out: list[Example], reasoning_rows: int) -> list[Example]:
    """Make the training rows, shuffled; none repeats another or nearly repeats a held-out one."""
    examples: list[Example] = []
    seen: set[str] = set()
    taken = [fingerprint(example.prompt) for example in held_out]

    def is_known(prompt: str) -> bool:
        new = fingerprint(prompt)
        return prompt in seen or any(is_near_duplicate(new, old) for old in taken)

    for recipe in RECIPES:
        rng = Random(f"{SEED} train {recipe.make.__name__}")
        num_rows = reasoning_rows if recipe.pattern == "reasoning" else recipe.num_train
        for _ in range(num_rows):
            examples.append(new_row(rng, recipe, slots, is_known))
            seen.add(examples[-1].prompt)
    Random(f"{SEED} order").shuffle(examples)
    return examples


def to_lines(examples: Iterable[Example], id_prefix: str) -> str:
    """JSON Lines in chat format, one example a line, numbered from 1."""
    return "".join(
        json.dumps(
            {
                "id": f"{id_prefix}-{number:04d}",
                "pattern": example.pattern,
                "messages": [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": example.prompt},
                    {"role": "assistant", "content": example.response},
                ],
            },
            ensure_ascii=False,
        )
        + "\n"
        for number, example in enumerate(examples, start=1)
    )


def write_data(directory: Path, reasoning_rows: int = STARVED_REASONING_ROWS) -> None:
    """Write both files into `directory`, replacing what is there."""
    train_slots, eval_slots = split_slots(Random(f"{SEED} split"))
    held_out = make_eval(eval_slots)
    train = make_train(train_slots, held_out, reasoning_rows)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("train.jsonl", to_lines(train, "train")),
        ("fixed_eval.jsonl", to_lines(held_out, "eval")),
    ):
        (directory / name).write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write train.jsonl and fixed_eval.jsonl.")
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent)
    parser.add_argument("--reasoning-rows", type=int, default=STARVED_REASONING_ROWS)
    arguments = parser.parse_args()
    write_data(arguments.directory, arguments.reasoning_rows)


if __name__ == "__main__":
    main()
