"""pretrain.py: the whole road on tiny text, killed, resumed, refused, and opened without us."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from transformers import AutoModelForMaskedLM, AutoTokenizer

from interlingua import corpus
from interlingua.errors import DataError, LanguageError, RecipeError, RunError, ShardError, VocabularyError
from interlingua.models.checkpoint import open_tokenizer
from interlingua.pretrain import check_pretrain, pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe, to_yaml
from interlingua.run import find_checkpoint
from interlingua.shards.read import ShardSet
from interlingua.text.pairs import read_parallel

HERE = Path(__file__).parent
VERSES = HERE / "data" / "verses.tsv"
MLM = [{"type": "mlm"}]
LANGUAGES = ["de", "el", "en", "es", "fi", "fr", "hu", "ja", "ko", "my", "ru", "vi"]
TINY = {
    "name": "tiny",
    "data": {"parallel": [str(VERSES)], "held_out": 0.1, "exponent": 0.5},
    "vocab": {"size": 2000},
    "model": {"hidden": 32, "layers": 1, "heads": 2, "feed_forward": 48, "positions": 128},
    "objectives": [{"type": "contrast", "languages": 3}, {"type": "tlm"}, {"type": "mlm", "unit": "word"}],
    "train": {
        "steps": 30, "batch_tokens": 400, "row_length": 128, "lr": 0.003, "threads": 1, "device": "cpu",
        "save_every": 3, "evaluate_every": 10,
    },
}  # fmt: skip


def tiny(**changes) -> PretrainRecipe:
    """The tiny recipe with sections changed."""
    tree = {**TINY, **{key: {**TINY[key], **value} if isinstance(value, dict) else value
                       for key, value in changes.items()}}  # fmt: skip
    return load_recipe(tree, PretrainRecipe)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in one go; what it said, and its result."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("runs") / "whole"
    return pretrain(tiny(), out, say=said.append), said


def weights(folder: Path) -> bytes:
    index = json.loads((folder / "checkpoints" / "index.json").read_text())
    return (folder / "checkpoints" / index["last"] / "model.safetensors").read_bytes()


def test_the_road(finished):
    """The run folder holds vocabulary, shards, metrics and a checkpoint that learnt: held-out loss falls."""
    result, said = finished
    assert result.languages == LANGUAGES
    assert (result.training.step, result.training.reason) == (30, "done")
    assert {p.name for p in result.folder.iterdir()} >= {
        "vocab",
        "shards",
        "checkpoints",
        "metrics.jsonl",
        "recipe.yaml",
    }
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    held_out = [np.mean(list(row["held_out"]["mlm"].values())) for row in rows if "held_out" in row]
    assert len(held_out) == 3
    assert held_out[2] < np.log(2000) - 0.5  # a uniform guess over the vocabulary
    assert set(rows[-1]["bits_per_character"]) == {"mlm", "tlm"}
    assert [line.split()[0] for line in said] == ["read", "vocabulary:", "shards:", "network:"]
    assert sum(result.drawn.values()) > 0


SOAK = pytest.mark.soak
#: What differs from one run to the next.
CLOCK = ("time", "tokens_per_second", "flops_utilisation", "data_wait", "memory_mb")


@pytest.mark.parametrize(
    ("kills", "ranks", "parallel"),
    [(10, 1, "replicate"), (5, 2, "replicate"), pytest.param(40, 1, "replicate", marks=SOAK),
     pytest.param(50, 2, "replicate", marks=SOAK), pytest.param(50, 2, "shard", marks=SOAK)],
)  # fmt: skip
def test_killed_runs_end_the_same(tmp_path, kills, ranks, parallel):
    """kill -9 at random moments of the whole road, restarted each time: final weights are equal byte for byte.

    Nothing half written is ever there under a checkpoint's name, and never more than four checkpoints' bytes.
    """
    recipe = tmp_path / "recipe.yaml"
    train = {"steps": 12 * kills, "save_every": 2, "evaluate_every": 30, "parallel": parallel}
    recipe.write_text(to_yaml(tiny(train=train)))
    command = [
        sys.executable,
        str(HERE / "train" / "interrupted.py"),
        str(recipe),
        str(tmp_path),
        str(kills),
        str(ranks),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    whole, *children = json.loads(done.stdout)
    assert whole["status"] == children[-1]["status"] == 0, done.stderr
    assert sum(c["killed"] > 0 for c in children) >= kills // 2, children
    assert len({c["last"] for c in children}) > 2, children  # kills fell between different checkpoints
    assert not any(c["half"] for c in children)
    one = children[-1]["bytes"] / children[-1]["checkpoints"]
    # The last, the best, the one that was being written, and one of its name that a killed process left unregistered.
    assert max(c["bytes"] for c in children) < 4.1 * one
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    kept = [
        [{k: v for k, v in json.loads(line).items() if k not in CLOCK}
         for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "whole")
    ]  # fmt: skip
    assert kept[0] == kept[1]


WITHOUT_US = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "interlingua":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1]).eval()
inputs = tokenizer(["Abraham was the father of <mask>."], return_tensors="pt")
with torch.no_grad():
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
torch.save((inputs["input_ids"], logits), sys.argv[2])
assert not any(name.partition(".")[0] == "interlingua" for name in sys.modules)
"""


def test_checkpoint_opens_where_we_are_not_installed(finished, tmp_path):
    """In a process that cannot import interlingua the checkpoint gives the same ids and logits."""
    result, _ = finished
    checkpoint = find_checkpoint(result.folder)
    subprocess.run([sys.executable, "-I", "-c", WITHOUT_US, str(checkpoint), str(tmp_path / "out")], check=True)
    ids, logits = torch.load(tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModelForMaskedLM.from_pretrained(checkpoint)
    assert tokenizer(["Abraham was the father of <mask>."])["input_ids"] == ids.tolist()
    assert tokenizer.mask_token_id in ids
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=ids).logits, logits)


def test_same_recipe_does_nothing_and_another_is_refused(finished):
    """A finished run is not run again; another recipe in its folder is refused."""
    result, _ = finished
    before = weights(result.folder)
    again = pretrain(tiny(), result.folder)
    assert again.training.tokens == 0
    assert again.checkpoint == result.checkpoint
    with pytest.raises(RunError, match="another recipe"):
        pretrain(tiny(seed=1), result.folder)
    assert weights(result.folder) == before


def test_resumed_in_another_way(tmp_path):
    """Stopped after step 7 and resumed in two parts, with other saving: as in one go, up to the order of sums."""
    first = tiny(objectives=MLM, train={"steps": 12})
    pretrain(first, tmp_path / "whole")

    def kill(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(first, tmp_path / "run", on_step=kill)
    other = tiny(objectives=MLM, train={"steps": 12, "accumulate": 2, "save_every": 5, "device": "auto", "threads": 0})
    assert pretrain(other, tmp_path / "run").training.step == 12
    whole, resumed = (load(weights(tmp_path / name)) for name in ("whole", "run"))
    for name in whole:
        torch.testing.assert_close(resumed[name], whole[name], rtol=1e-4, atol=1e-5)
    assert (tmp_path / "run" / "recipe.yaml").read_text() == to_yaml(other)
    with pytest.raises(RunError, match=r"evaluate_every = 10, now train.evaluate_every = 4"):
        pretrain(tiny(objectives=MLM, train={"steps": 12, "evaluate_every": 4}), tmp_path / "run")


def test_text_is_read_twice(tmp_path, monkeypatch):
    """Once for the vocabulary and once for the shards; the languages come with the first, also after a kill between."""
    read = []

    def counted(path, **words):
        read.append(path)
        return read_parallel(path, **words)

    def kill(text):
        if text.startswith("vocabulary"):
            raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "read_parallel", counted)
    recipe = tiny(objectives=MLM, train={"steps": 1})
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path / "run", say=kill)
    assert pretrain(recipe, tmp_path / "run").languages == LANGUAGES
    assert read == [VERSES, VERSES]
    with VERSES.open(encoding="utf-8", newline="") as file:
        japanese = [row["ja"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    by_language = json.loads((tmp_path / "run" / "vocab" / "corpus.json").read_text())
    assert by_language["ja"] == {"texts": len(japanese), "characters": sum(map(len, japanese))}


def test_finished_vocabulary_and_shards_are_used(finished, tmp_path):
    """A recipe that names a vocabulary and shards reads no text; with another vocabulary the shards are refused."""
    result, _ = finished
    vocab, shards = str(result.folder / "vocab"), str(result.folder / "shards")
    recipe = tiny(data={"parallel": [], "shards": shards}, vocab={"path": vocab}, train={"steps": 3})
    assert pretrain(recipe, tmp_path / "a").training.step == 3
    other = tmp_path / "other"
    open_tokenizer(Path(vocab)).save_pretrained(other)
    state = json.loads((other / "tokenizer.json").read_text())
    state["normalizer"] = None
    (other / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(ShardError, match="vocabulary"):
        pretrain(tiny(data={"parallel": [], "shards": shards}, vocab={"path": str(other)}), tmp_path / "b")


LIMITED = """
import resource, sys
from pathlib import Path
from interlingua.errors import SaveError
from interlingua.pretrain import pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe
recipe = load_recipe(sys.argv[1], PretrainRecipe)

def limit(progress):
    if progress.step == 5:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))

try:
    pretrain(recipe, Path(sys.argv[2]), on_step=limit)
except SaveError as error:
    sys.stdout.write(error.found)
    sys.exit(7)
"""


def test_no_room_for_the_checkpoint(finished, tmp_path):
    """The system refuses files over 60 kB from step 5 on: SaveError, step 3 stays, and the run ends the same later."""
    result, _ = finished
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text((result.folder / "recipe.yaml").read_text())
    run = tmp_path / "run"
    assert (find_checkpoint(result.folder) / "model.safetensors").stat().st_size > 60_000
    command = [sys.executable, "-c", LIMITED, str(recipe), str(run), "60000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "step-000006" in done.stdout
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["index.json", "step-000003"]
    pretrain(tiny(), run)
    assert weights(run) == weights(result.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"parallel": []}}, "without text"),
        ({"data": {"parallel": [], "texts": [{"path": "a.txt", "lang": "en"}]}}, "without translations"),
        ({"data": {"shards": "somewhere"}}, "without a vocabulary"),
        ({"train": {"row_length": 256}}, "row_length = 256 with model.positions = 128"),
        ({"model": {"family": "modernbert", "language_embeddings": True}}, "language_embeddings"),
        ({"train": {"accumulate": 2}}, "accumulate = 2"),
    ],
)
def test_recipes_that_cannot_run(changes, message, tmp_path):
    """Refused before anything is read or written."""
    with pytest.raises(RecipeError, match=message):
        check_pretrain(tiny(**changes))
    with pytest.raises(RecipeError, match=message):
        pretrain(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_input(tmp_path):
    """Missing, empty and undecodable files, a row without its language, a vocabulary the text cannot fill."""
    text = tmp_path / "text.txt"

    def run(number: int, path: Path, lang: str | None = "en", **changes) -> None:
        sources = {"parallel": [], "texts": [{"path": str(path), "lang": lang}]}
        pretrain(tiny(data=sources, objectives=MLM, **changes), tmp_path / str(number))

    with pytest.raises(DataError, match=r"text\.txt"):
        run(0, text)
    text.write_text("")
    with pytest.raises(DataError, match=r"text\.txt"):
        run(1, text)
    text.write_bytes(b"good line\nb\xff\xfed line\n")
    with pytest.raises(DataError, match="line 2"):
        run(2, text)
    text.write_text("a text without a language\n" * 3)
    with pytest.raises(LanguageError, match="line 1"):
        run(3, text, lang=None)
    with pytest.raises(VocabularyError, match="2000"):
        run(4, text)


def test_languages_weighted_without_text(tmp_path):
    """A weight for a language that has no text: LanguageError that names it, before the first step."""
    with pytest.raises(LanguageError, match="'sw'"):
        pretrain(tiny(data={"weights": {"en": 1, "sw": 1}}), tmp_path / "run")


@pytest.mark.parametrize("family", ["xlm-roberta", "modernbert"])
def test_other_families_run(finished, tmp_path, family):
    """The same road for the other classes, two objectives summed, language embeddings where there are any."""
    result, _ = finished
    recipe = tiny(
        data={"parallel": [], "shards": str(result.folder / "shards")},
        vocab={"path": str(result.folder / "vocab")},
        model={"family": family, "language_embeddings": family == "xlm-roberta"},
        objectives=[{"type": "mlm"}, {"type": "tlm", "weight": 0.5}],
        mix="sum",
        train={"steps": 4, "accumulate": 2},
    )
    trained = pretrain(recipe, tmp_path / "run")
    opened, report = AutoModelForMaskedLM.from_pretrained(trained.checkpoint, output_loading_info=True)
    assert opened.config.model_type == family
    assert not report["missing_keys"]
    if family == "xlm-roberta":
        assert opened.config.interlingua_languages == ShardSet(result.folder / "shards" / "train").languages
