"""``interlingua vocab``: train a shared vocabulary, say what it does to each language, and give its tokens vectors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, group
from interlingua.cli.console import Verb as _Verb
from interlingua.cli.keys import PretrainVerb

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["app", "named_tokenizer"]

app = group("Train a shared vocabulary, or measure one on every language.")

_Tokenizer = Annotated[
    str, typer.Argument(metavar="TOKENIZER", help="Vocabulary folder, checkpoint, run, or a model's name.")
]
#: Names whose tokenizer is XLM-R's, which ships in the package.
_XLMR = ("e5-small", "e5-base", "xlm-r")


@app.command(cls=PretrainVerb)
def train(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option("--out", help="Folder of the vocabulary; it must not hold one yet.")],
    overrides: Overrides = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Train one vocabulary for all languages of a recipe.

    Reads its sections `data` and `vocab`. The result is a folder that transformers.AutoTokenizer opens.

    Example:
    interlingua vocab train bible-tiny --out runs/vocab vocab.size=8000
    """
    from interlingua.cli.progress import Stages
    from interlingua.errors import RecipeError, RunError
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.models.presets import preset
    from interlingua.pretrain import train_vocabulary_stage
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe
    from interlingua.shards.format import fingerprint
    from interlingua.vocab.train import memory_estimate

    plan = load_recipe(recipe, PretrainRecipe, overrides or ())
    if plan.vocab.path is not None:
        raise RecipeError(
            f"vocab.path = {str(plan.vocab.path)!r}: a finished vocabulary",
            expected="vocab.kind, vocab.size and so on",
            where="vocab.path",
            next_step="vocab.path=null trains a new one",
        )
    if (out / "tokenizer.json").exists():
        raise RunError(
            f"a vocabulary in {str(out)!r}",
            expected="an empty folder",
            where="--out",
            next_step="choose another folder",
        )
    hidden = plan.model.hidden or preset(plan.model.family, plan.model.size).hidden
    characters = plan.vocab.sample_characters
    memory = memory_estimate(plan.vocab.size, hidden, kind=plan.vocab.kind, sample_characters=characters)
    with Stages() as stages:
        stages.say(f"a vocabulary of {plan.vocab.size:,} for width {hidden}: {memory}")
        train_vocabulary_stage(plan.vocab, plan.data, out, seed=plan.seed, say=stages.say)
    tokenizer = open_tokenizer(out)
    mark = fingerprint(tokenizer.backend_tokenizer)
    document = {"folder": out, "kind": plan.vocab.kind, "size": len(tokenizer), "fingerprint": mark, "memory": memory}
    return Answer(
        document, [f"{out}: {len(tokenizer):,} entries ({plan.vocab.kind}), fingerprint {mark}", f"memory: {memory}"]
    )


@app.command(cls=_Verb)
def report(
    tokenizer: _Tokenizer,
    parallel: Annotated[
        str | None, typer.Option(metavar="FILE.tsv[.zst]", help="Multi-parallel text: id, then a column a language.")
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Option(metavar="LANG=FILE", help="Texts of one language; may be given many times.")
    ] = None,
    source: Annotated[str, typer.Option(help="Language whose parity is 1.")] = "en",
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most; 0: all.")] = 2000,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Measure a vocabulary on every language.

    fertility: tokens a word. continued: share of words cut in two or more. unknown, bytes: share of tokens that are
    the unknown token, or bytes of a character it does not have. bits/char: entropy of the tokens alone. parity:
    tokens for the same meaning, relative to the source.

    Example:
    interlingua vocab report e5-small --parallel package:general.tsv.zst
    """
    from interlingua.cli.parallel import by_language, parallel_rows
    from interlingua.cli.tables import language_names, number, table
    from interlingua.languages import canonical
    from interlingua.vocab.report import vocabulary_report

    if not parallel and not texts:
        raise typer.BadParameter("give --parallel FILE, or --texts LANG=FILE for each language")
    pivot = canonical(source)
    rows = parallel_rows(parallel, limit=limit, source=pivot).texts if parallel else {}
    own = {lang: list(column.values()) for lang, column in by_language(rows).items()}
    for word in texts or ():
        lang, read = _texts(word, limit)
        own.setdefault(lang, []).extend(read)
    measured = vocabulary_report(named_tokenizer(tokenizer), own, rows or None, pivot=pivot)
    measured.sort(key=lambda row: (row.parity is None, row.parity or row.fertility))
    lines = [
        (
            language_names(row.lang)[0], row.lang, f"{row.texts:,}", number(row.fertility, 2),
            number(row.continued_words, 3), number(row.unknown_rate, 4), number(row.byte_rate, 4),
            number(row.bits_per_character, 2), number(row.parity, 2), language_names(row.lang)[1],
        )
        for row in measured
    ]  # fmt: skip
    columns = ["language", "tag", "texts", "fertility", "continued", "unknown", "bytes", "bits/char", "parity", ""]
    return Answer({"tokenizer": tokenizer, "rows": measured}, [table(columns, lines, left=2, spare=[2, 1])])


@app.command(cls=_Verb)
def vectors(
    tokenizer: _Tokenizer,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Texts with lang and text, or id and a column a language.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where vectors.npy and neighbours.npy are written.")],
    width: Annotated[int, typer.Option(min=1, help="Of the vectors: that of the token table, model.hidden.")] = 64,
    languages: Annotated[
        str, typer.Option(metavar="TAG,TAG", help="Only these; the first is whose space it is. None: all.")
    ] = "",
    how: Annotated[str, typer.Option(metavar="cbow|skipgram|glove", help="How vectors are learned.")] = "skipgram",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 10,
    window: Annotated[int, typer.Option(min=1, help="Tokens to either side that are context.")] = 5,
    neighbours: Annotated[int, typer.Option(min=1, help="Tokens of other languages kept for each token.")] = 5,
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most, the file's first; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Learn vectors of all tokens from text, and bring the languages into one space without any translation.

    A network may begin with them (model.vectors), or show a hidden token's neighbour in another language in its place
    (objectives.0.knn, objectives.0.neighbours).

    Example:
    interlingua vocab vectors runs/english/vocab runs/english/text.tsv --out runs/english/tokens --epochs 2
    """
    import io

    import numpy as np

    from interlingua.cli.progress import Stages
    from interlingua.cli.spoken import spoken_texts
    from interlingua.languages import canonical
    from interlingua.probe.tokens import token_vectors
    from interlingua.run import atomic_write

    wanted = [canonical(tag) for tag in languages.split(",") if tag.strip()]
    texts = list(spoken_texts(file, languages=wanted, limit=limit))
    # The first language leads: a stable sort puts its texts before the others'.
    texts.sort(key=lambda one: wanted.index(one[0]) if wanted else 0)
    with Stages() as stages:
        found = token_vectors(
            named_tokenizer(tokenizer), texts, width=width, how=how, window=window, epochs=epochs, seed=seed,
            say=stages.say,
        )  # fmt: skip
    paths = {}
    for name, table in (("vectors", found.vectors), ("neighbours", found.neighbours(neighbours))):
        buffer = io.BytesIO()
        np.save(buffer, table)
        paths[name] = out / f"{name}.npy"
        atomic_write(paths[name], buffer.getvalue())
    document = {**paths, "languages": found.languages, "tokens": found.tokens, "agreement": found.agreement}
    shared = int((found.occurs.sum(axis=1) > 1).sum())
    return Answer(
        document,
        [
            f"{int(found.occurs.any(axis=1).sum()):,} of {len(found.vectors):,} tokens have a vector,"
            f" {shared:,} of them in several languages",
            f"begin with them: model.vectors={paths['vectors']} train.embedding_lr=2e-4",
            "show neighbours: objectives.0.knn=0.1 objectives.0.random=0"
            f" objectives.0.neighbours={paths['neighbours']}",
        ],
    )


def _texts(word: str, limit: int) -> tuple[str, list[str]]:
    from interlingua.data import resolve
    from interlingua.languages import canonical
    from interlingua.text.documents import read_documents

    lang, equals, file = word.partition("=")
    if not equals:
        raise typer.BadParameter(f"--texts {word!r}: expected LANG=FILE")
    code = canonical(lang)
    documents = read_documents(resolve(file), code)
    return code, [document.text for document in itertools.islice(documents, limit or None)]


def named_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a vocabulary folder, checkpoint, run, or model's name."""
    from interlingua.data import xlmr_tokenizer
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.models.encoder import resolve

    if name in _XLMR and not Path(name).exists():
        return xlmr_tokenizer()
    folder = Path(name)
    if (folder / "vocab" / "tokenizer.json").is_file():
        return open_tokenizer(folder / "vocab")
    return open_tokenizer(resolve(name))
