"""Every objective with every class it makes sense for: a real run on real text, from recipe to a folder that plain
``transformers`` opens. The losses' values are checked against the library in tests/objectives; here, that they fall."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from interlingua.errors import RecipeError
from interlingua.models.build import HEADS
from interlingua.objectives.build import common_head
from interlingua.pretrain import pretrain
from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe

VERSES = Path(__file__).parent / "data" / "verses.tsv"
SMALL = {"hidden": 64, "layers": 2, "heads": 2, "feed_forward": 128, "positions": 128}
TRAIN = {"steps": 60, "batch_tokens": 1200, "row_length": 128, "lr": 1e-2, "threads": 1, "device": "cpu",
         "evaluate_every": 60, "save_every": 60}  # fmt: skip
ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((family, {"type": "mlm"}, {}) for family in HEADS["masked"] if family != "xlm"),
    ("xlm", {"type": "mlm"}, {"feed_forward": None}),
    ("bert", {"type": "tlm"}, {"language_embeddings": True}),
    ("xlm", {"type": "tlm", "restart_positions": False}, {"feed_forward": None, "language_embeddings": True}),
    ("gpt2", {"type": "clm"}, {}),
    ("gpt2", {"type": "clm", "context": 48}, {}),
    ("bert", {"type": "clm", "running": True}, {}),
    ("xlm", {"type": "clm"}, {"feed_forward": None}),
    ("xlnet", {"type": "plm"}, {}),
    ("electra", {"type": "rtd"}, {}),
    ("electra", {"type": "rtd", "sharing": "gdes"}, {}),
    ("electra", {"type": "rtd", "sharing": "none"}, {}),
    ("deberta-v2", {"type": "rtd", "sharing": "gdes"}, {}),
    ("bart", {"type": "denoise"}, {}),
    ("mbart", {"type": "denoise", "noise": [{"kind": "delete"}, {"kind": "mask"}, {"kind": "rotate"}]}, {}),
    ("t5", {"type": "denoise", "noise": [{"kind": "spans"}]}, {}),
    ("t5", {"type": "denoise", "noise": [{"kind": "spans", "mean": None}]}, {}),
    ("mt5", {"type": "denoise", "noise": [{"kind": "prefix"}]}, {}),
    ("t5", {"type": "denoise", "noise": [{"kind": "deshuffle"}]}, {}),
    ("t5", {"type": "denoise", "noise": [{"kind": "drop"}]}, {}),
    ("bert", {"type": "contrast", "queue": 64, "momentum": 0.9}, {}),
    ("xlm-roberta", {"type": "simcse"}, {"dropout": 0.1}),
    ("bert", {"type": "mlm", "switch": 0.5}, {}),
    ("bert", {"type": "sbo"}, {}),
    ("albert", {"type": "sbo", "unit": "word"}, {}),
    ("bert", {"type": "mlm", "unit": "word", "random_from": "language", "frequency": 0.5}, {}),
    ("bert", {"type": "mlm", "unit": "ngram"}, {}),
    ("albert", {"type": "mlm"}, {"sharing": "ffn", "embedding_size": 32}),
    ("bert", {"type": "nsp"}, {}),
    ("bert", {"type": "nsp", "negatives": "either", "unit": "word"}, {}),
    ("albert", {"type": "sop"}, {}),
    ("xlm-roberta", {"type": "align", "negatives": "other"}, {}),
    ("bert", {"type": "sop"}, {}),
    ("albert", {"type": "nsp"}, {}),
    ("bert", {"type": "mlm"}, {"separate_embeddings": True, "separate_layers": 1}),
    ("xlm-roberta", {"type": "tlm"}, {"separate_layers": 1}),
    ("bert", {"type": "mlm"}, {"separate_positions": True, "separate_specials": True}),
]


def name_of(row: tuple[str, dict[str, Any], dict[str, Any]]) -> str:
    family, objective, model = row
    return "-".join([family, *(str(v) for v in objective.values() if not isinstance(v, list)),
                     *(n["kind"] for n in objective.get("noise", ())), *model])  # fmt: skip


def recipe_for(
    prepared: dict[str, Any], family: str, objective: dict[str, Any], model: dict[str, Any]
) -> PretrainRecipe:
    size = {k: v for k, v in (SMALL | model).items() if v is not None}
    train = TRAIN | ({"lr": 3e-3} if family == "deberta-v2" else {})
    if objective["type"] == "align":
        objective = objective | {"pairs": [{"path": prepared["aligned"]}]}
    tree = {"name": "row", "seed": 3, "data": prepared["data"], "vocab": prepared["vocab"],
            "model": {"family": family} | size, "objectives": [objective], "train": train}  # fmt: skip
    return load_recipe(tree, PretrainRecipe)


def chapters(lines: list[str]) -> list[str]:
    """The rows of a multi-parallel file with the chapter as document."""
    rows = [line.split("\t") for line in lines]
    return ["\t".join([rows[0][0], "document", *rows[0][1:]]),
            *("\t".join([row[0], row[0].rsplit(".", 1)[0], *row[1:]]) for row in rows[1:])]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Vocabulary with sentinels, shards of the verses, and a lexicon."""
    folder = tmp_path_factory.mktemp("objectives")
    verses = folder / "verses.tsv"
    verses.write_text("\n".join(chapters(VERSES.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    tree = {
        "name": "first",
        "data": {"parallel": [str(verses)], "held_out": 0.1},
        "vocab": {"size": 2500, "sentinels": 40},
        "model": SMALL | {"layers": 1},
        "train": TRAIN | {"steps": 1},
    }
    pretrain(load_recipe(tree, PretrainRecipe), folder / "first")
    lexicon = folder / "en-de.txt"
    lexicon.write_text("and und\ngod Gott\nthe der\nearth Erde\n", encoding="utf-8")
    aligned = folder / "aligned.tsv"
    words = {"the king": "der König", "a child": "ein Kind", "his mother": "seine Mutter", "in Judea": "in Judäa",
             "son of David": "Sohn von David", "they came": "sie kamen", "I say": "ich sage"}  # fmt: skip
    rows = [f"en-de\t{a}\t{b}\t" + " ".join(f"{i}-{i}" for i in range(len(a.split()))) for a, b in words.items()]
    aligned.write_text("\n".join(["pair\tsrc_tokens\ttgt_tokens\tsure", *rows]), encoding="utf-8")
    return {
        "aligned": str(aligned),
        "data": {
            "shards": str(folder / "first" / "shards"),
            "weights": {"en": 1.0, "de": 1.0},  # few enough texts for 60 steps to learn something about
            "lexicons": [{"path": str(lexicon), "source_lang": "en", "target_lang": "de"}],
        },
        "vocab": {"path": str(folder / "first" / "vocab")},
    }


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_loss_falls_and_the_checkpoint_opens(row, prepared, tmp_path):
    """60 steps: the loss falls; the checkpoint opens in the class its head means, with every weight there."""
    family, objective, model = row
    recipe = recipe_for(prepared, family, objective, model)
    result = pretrain(recipe, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"][objective["type"]] for line in lines]
    assert len(losses) == 60
    # A queue is full by the sixth step; a discriminator's task gets harder again as its generator learns.
    before, after = losses[5:15] if objective["type"] == "contrast" else losses[:10], losses[-10:]
    assert statistics.fmean(after) < statistics.fmean(before) - 2 * statistics.stdev(after) / 10**0.5
    cls = getattr(transformers, HEADS[common_head(recipe.objectives, family)][family])
    opened, found = cls.from_pretrained(result.checkpoint, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["mismatched_keys"]
    assert all(torch.isfinite(parameter).all() for parameter in opened.parameters())
    if any(key.startswith("separate") for key in model):
        german = cls.from_pretrained(result.checkpoint / "de")
        own = "embeddings.position_embeddings" if "separate_positions" in model else "encoder.layer.0.output.dense"
        for name, shared in ((own, False), ("encoder.layer.1.output.dense", True)):
            one, other = (network.base_model.get_parameter(f"{name}.weight") for network in (german, opened))
            assert torch.equal(one, other) == shared
    if objective["type"] == "rtd":
        generator = transformers.AutoModelForMaskedLM.from_pretrained(result.checkpoint / "generator")
        assert generator.config.hidden_size == 32


@pytest.mark.parametrize(
    ("family", "objective", "model", "message"),
    [
        ("bert", {"type": "denoise"}, {}, "seq2seq head"),
        ("t5", {"type": "mlm"}, {}, "masked head"),
        ("bert", {"type": "rtd"}, {}, "discriminator head"),
        ("xlm-roberta", {"type": "sop"}, {}, "pretraining head"),
        ("bert", {"type": "simcse"}, {}, "without dropout"),
        ("gpt2", {"type": "clm", "context": 128}, {}, "context = 128"),
        ("xlm", {"type": "clm", "context": 8}, {"feed_forward": None}, "keeps no keys"),
        ("bert", {"type": "nsp"}, {"language_embeddings": True}, "both need token types"),
        ("bert", {"type": "align", "switch": 0.1}, {}, "switch = 0.1"),
        ("electra", {"type": "mlm"}, {"separate_layers": 1}, "separate_layers = 1 for electra"),
        ("bert", {"type": "mlm"}, {"separate_layers": 2}, "separate_layers = 2 of 2 layers"),
        ("bert", {"type": "sbo"}, {"separate_embeddings": True}, "that languages do not share"),
        ("bert", {"type": "contrast", "queue": 8}, {"separate_embeddings": True}, "with a queue"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(family, objective, model, message, prepared):
    """Before anything runs, naming what would do."""
    with pytest.raises(RecipeError, match=message):
        check_pretrain(recipe_for(prepared, family, objective, model))


def test_two_heads_in_one_run_are_refused(prepared):
    """MLM and replaced-token detection learn through different heads."""
    recipe = recipe_for(prepared, "electra", {"type": "mlm"}, {})
    both = recipe.model_copy(update={"objectives": (*recipe.objectives, *recipe_for(
        prepared, "electra", {"type": "rtd"}, {}).objectives)})  # fmt: skip
    with pytest.raises(RecipeError, match="'mlm' and 'rtd' in one run"):
        check_pretrain(both)


def test_what_an_objective_lacks_is_refused(tmp_path):
    """Sentinels, lexicons, pairs, documents of more than one text."""
    lines = tmp_path / "lines.txt"
    lines.write_text("One text.\n\nAnother one.\nAnd a third.\n", encoding="utf-8")
    texts = {"texts": [{"path": str(lines), "lang": "en"}]}

    def check(objective: dict[str, Any], **model: Any) -> None:
        tree = {"data": texts, "model": SMALL | model, "objectives": [objective], "train": TRAIN}
        check_pretrain(load_recipe(tree, PretrainRecipe))

    with pytest.raises(RecipeError, match="without sentinels"):
        check({"type": "denoise", "noise": [{"kind": "spans"}]}, family="t5")
    with pytest.raises(RecipeError, match="without lexicons"):
        check({"type": "mlm", "switch": 0.2})
    with pytest.raises(RecipeError, match="without translations"):
        check({"type": "tlm"})
    for order in ("nsp", "sop"):
        with pytest.raises(RecipeError, match=f"'{order}' on single texts"):
            check({"type": order})
        long = "word " * 300
        for suffix, text in (("txt", long), ("jsonl", json.dumps({"text": "a", "document": 1}) + "\n" + json.dumps(
                {"text": "b", "document": 1}))):  # fmt: skip
            (tmp_path / f"documents.{suffix}").write_text(text, encoding="utf-8")
            good = {"texts": [{"path": str(tmp_path / f"documents.{suffix}"), "lang": "en"}]}
            check_pretrain(load_recipe(
                {"data": good, "model": SMALL, "objectives": [{"type": "nsp"}], "train": TRAIN}, PretrainRecipe
            ))  # fmt: skip
    with pytest.raises(RecipeError, match="stands alone"):
        check({"type": "denoise", "noise": [{"kind": "spans"}, {"kind": "mask"}]}, family="t5")


def test_phases_of_a_recipe(prepared, tmp_path):
    """English alone for half the steps, then with German: nothing else is drawn."""
    recipe = recipe_for(prepared, "bert", {"type": "mlm"}, {})
    phases = [{"languages": ["en"]}, {"begin": 0.5, "exponent": 0.3, "languages": ["en", "de"]}]
    tree = {"name": "phases", "data": prepared["data"] | {"phases": phases}, "vocab": prepared["vocab"],
            "model": recipe.model.model_dump(), "train": TRAIN | {"steps": 10}}  # fmt: skip
    drawn = pretrain(load_recipe(tree, PretrainRecipe), tmp_path / "run").drawn
    assert {lang for lang, count in drawn.items() if count} == {"en", "de"}
    assert 1.5 < drawn["en"] / drawn["de"] < 6


def test_separate_parts_are_resumed(prepared, tmp_path):
    """Stopped after four of eight steps and started again, every language's parts come out the same."""
    recipe = recipe_for(prepared, "bert", {"type": "mlm"}, {"separate_embeddings": True, "separate_layers": 1})
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 8, "save_every": 4})})
    quiet = pretrain(recipe, tmp_path / "quiet").checkpoint

    def stop(progress: Any) -> None:
        if progress.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path / "stopped", on_step=stop)
    resumed = pretrain(recipe, tmp_path / "stopped").checkpoint
    for file in ("model.safetensors", "de/model.safetensors", "training/languages.safetensors"):
        assert (resumed / file).read_bytes() == (quiet / file).read_bytes(), file
