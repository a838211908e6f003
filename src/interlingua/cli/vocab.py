"""``interlingua vocab``: train a shared vocabulary, and say what a vocabulary does to each language."""

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
    tokenizer: Annotated[
        str, typer.Argument(metavar="TOKENIZER", help="Vocabulary folder, checkpoint, run, or a model's name.")
    ],
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
