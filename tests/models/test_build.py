"""models/build.py and presets.py: shapes of published models, determinism, what cannot be built."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fixtures_models import pack
from transformers import AutoModel

from interlingua.errors import RecipeError
from interlingua.models.attention import encode
from interlingua.models.build import HEADS, build_model, check_model, model_config, reinitialised
from interlingua.models.checkpoint import open_checkpoint, save_checkpoint
from interlingua.models.presets import preset
from interlingua.recipe import ModelRecipe


@pytest.mark.parametrize(
    ("family", "size", "shape"),
    [
        ("bert", "tiny", (128, 2, 2, 512)),  # google-research/bert, BERT-Tiny
        ("bert", "mini", (256, 4, 4, 1024)),
        ("bert", "medium", (512, 8, 8, 2048)),
        ("bert", "base", (768, 12, 12, 3072)),
        ("xlm-roberta", "large", (1024, 24, 16, 4096)),  # FacebookAI/xlm-roberta-large, config.json
        ("modernbert", "base", (768, 22, 12, 1152)),  # answerdotai/ModernBERT-base, config.json
        ("modernbert", "large", (1024, 28, 16, 2624)),
        ("distilbert", "base", (768, 6, 12, 3072)),  # distilbert/distilbert-base-multilingual-cased
        ("deberta-v2", "base", (768, 12, 12, 3072)),  # microsoft/mdeberta-v3-base
        ("electra", "large", (1024, 24, 16, 4096)),  # google/electra-large-discriminator
        ("eurobert", "base", (768, 12, 12, 3072)),  # EuroBERT/EuroBERT-210m
        ("xlnet", "large", (1024, 24, 16, 4096)),  # xlnet/xlnet-large-cased
        ("gpt2", "base", (768, 12, 12, 3072)),  # openai-community/gpt2
        ("bart", "base", (768, 6, 12, 3072)),  # facebook/bart-base
        ("mbart", "large", (1024, 12, 16, 4096)),  # facebook/mbart-large-cc25
        ("t5", "base", (768, 12, 12, 3072)),  # google-t5/t5-base
        ("mt5", "base", (768, 12, 12, 2048)),  # google/mt5-base
        ("mt5", "large", (1024, 24, 16, 2816)),
    ],
)
def test_published_shapes(family, size, shape):
    """Width, depth, heads and feed-forward width are those of the published configs."""
    ours = preset(family, size)
    assert (ours.hidden, ours.layers, ours.heads, ours.feed_forward) == shape


def test_unknown_names_are_refused():
    """Family or size misspelt: RecipeError with the nearest."""
    with pytest.raises(RecipeError, match="did you mean 'modernbert'"):
        preset("modernbrt", "tiny")
    with pytest.raises(RecipeError, match="did you mean 'small'"):
        preset("bert", "smal")


@pytest.mark.parametrize(
    ("head", "family"), [(head, family) for head, families in HEADS.items() for family in families]
)
def test_same_seed_same_network(head, family, hf_tokenizer):
    """Equal seeds give equal weights, other seeds others, and torch's own random state is left as it was."""
    recipe = ModelRecipe(family=family, hidden=32, layers=2, heads=2, positions=64)
    state = torch.get_rng_state()
    one, two, other = (build_model(recipe, hf_tokenizer, ["en"], head=head, seed=s) for s in (1, 1, 2))
    assert (torch.get_rng_state() == state).all()
    assert type(one).__name__ == HEADS[head][family]
    weights = [m.get_input_embeddings().weight for m in (one, two, other)]
    assert all((p == q).all() for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert (weights[0] != weights[2]).any()
    assert len(weights[0]) == len(hf_tokenizer)
    # The longest text really fits: position `positions - 1` is looked up without an error.
    ids = torch.full((1, 64), 7)
    logits = one.eval()(input_ids=ids, **({"decoder_input_ids": ids} if head == "seq2seq" else {}))[0]
    wide = {"discriminator": {"electra": (1, 64), "deberta-v2": (1, 64, 1)}}
    assert logits.shape == wide.get(head, {}).get(family, (1, 64, len(hf_tokenizer)))


@pytest.mark.parametrize(("head", "family"), [("masked", "modernbert"), ("masked", "deberta-v2"), ("causal", "xlm"),
                                              ("discriminator", "electra"), ("seq2seq", "mt5"),
                                              ("permutation", "xlnet")])  # fmt: skip
@torch.no_grad()
def test_saved_heads_open_in_plain_transformers(head, family, hf_tokenizer, tmp_path):
    """Saved and opened by the library's class: nothing missing or new, the same logits; our opening agrees."""
    recipe = ModelRecipe(family=family, hidden=32, layers=2, heads=2, positions=64)
    model = build_model(recipe, hf_tokenizer, ["en"], head=head, seed=0).eval()
    save_checkpoint(tmp_path / "saved", model, hf_tokenizer)
    plain, report = type(model).from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = torch.arange(7, 20)[None]
    more = {"decoder_input_ids": ids} if head == "seq2seq" else {}
    torch.testing.assert_close(plain.eval()(input_ids=ids, **more)[0], model(input_ids=ids, **more)[0])
    opened, _ = open_checkpoint(tmp_path / "saved", AutoModel)
    batch = pack([ids[0].numpy()], "bert")
    torch.testing.assert_close(encode(opened, batch), encode(model, batch))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra", "albert"])
def test_language_embeddings_are_token_types(family, hf_tokenizer):
    """One token type a language, the list in the config; without them one type and no list."""
    languages = ["de", "en", "fi"]
    config = model_config(ModelRecipe(family=family, language_embeddings=True), hf_tokenizer, languages)
    assert (config.type_vocab_size, config.interlingua_languages) == (3, languages)
    config = model_config(ModelRecipe(family=family), hf_tokenizer, languages)
    assert (config.type_vocab_size, config.interlingua_languages) == (1, None)


def test_language_embeddings_of_xlm(hf_tokenizer):
    """XLM has a table of its own for them; BERT with two heads has two types for the sides of a pair."""
    config = model_config(ModelRecipe(family="xlm", language_embeddings=True), hf_tokenizer, ["de", "en"])
    assert (config.n_langs, config.use_lang_emb, config.interlingua_languages) == (2, True, ["de", "en"])
    assert model_config(ModelRecipe(), hf_tokenizer, ["de"], head="pretraining").type_vocab_size == 2


@pytest.mark.parametrize(
    ("changes", "heads", "message", "will_do"),
    [
        ({"family": "modernbert", "language_embeddings": True}, ["masked"], "language_embeddings", "bert"),
        ({"hidden": 32, "heads": 3}, ["masked"], "multiple of heads = 3", ""),
        ({"family": "gpt2"}, ["masked"], "'gpt2' for a masked head", "eurobert"),
        ({"family": "modernbert"}, ["masked", "seq2seq"], "for a seq2seq head", "bart, mbart, t5, mt5"),
        ({"family": "t5"}, ["permutation"], "for a permutation head", "xlnet"),
        ({"embedding_size": 64}, ["masked"], "embedding_size = 64 for bert", "albert"),
        ({"family": "eurobert", "positions_kind": "none"}, ["masked"], "positions_kind", "bert, xlm-roberta"),
        ({"family": "xlnet", "sharing": "all"}, ["permutation"], "sharing", "electra"),
        ({"groups": 2}, ["masked"], "groups = 2 with sharing = 'none'", "layers that share"),
        ({"sharing": "ffn", "layers": 2, "groups": 3}, ["masked"], "in 2 layers", "no more groups"),
        ({"family": "xlm", "feed_forward": 48}, ["masked"], "feed_forward = 48", "4 x hidden"),
    ],
)
def test_what_cannot_be_built(changes, heads, message, will_do):
    """Found, and what would do instead."""
    with pytest.raises(RecipeError, match=message) as caught:
        check_model(ModelRecipe(**changes), heads)
    assert will_do in (caught.value.expected or "")


def test_reinitialised_is_the_same_network_with_other_weights(hf_tokenizer):
    """Same names and shapes, other values, same again for the same seed; the original is untouched."""
    model = build_model(ModelRecipe(hidden=32, layers=1, heads=2), hf_tokenizer, ["en"], seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    one, two = reinitialised(model, seed=3), reinitialised(model, seed=3)
    assert {n: p.shape for n, p in one.named_parameters()} == {n: p.shape for n, p in before.items()}
    assert all((p == q).all() for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert (one.get_input_embeddings().weight != before["bert.embeddings.word_embeddings.weight"]).any()
    assert all((p == before[n]).all() for n, p in model.named_parameters())


def test_a_network_begins_with_vectors_that_are_given(hf_tokenizer, tmp_path):
    """Rows of the file are the token table's; rows of NaN, and all else, are those of the network without the file."""
    shape = (len(hf_tokenizer), 32)
    vectors = np.random.default_rng(0).normal(size=shape)
    vectors[[3, 7]] = np.nan
    np.save(tmp_path / "vectors.npy", vectors)
    recipe = ModelRecipe(hidden=32, layers=1, positions=32)
    plain = build_model(recipe, hf_tokenizer, ["en"], seed=3).state_dict()
    given = recipe.model_copy(update={"vectors": tmp_path / "vectors.npy"})
    found = build_model(given, hf_tokenizer, ["en"], seed=3).state_dict()
    table = "bert.embeddings.word_embeddings.weight"
    expected = np.where(np.isnan(vectors), plain[table].numpy(), vectors).astype(np.float32)
    np.testing.assert_array_equal(found[table].numpy(), expected)
    np.testing.assert_array_equal(found["cls.predictions.decoder.weight"].numpy(), expected)
    for name, value in plain.items():
        if name not in {table, "cls.predictions.decoder.weight"}:
            assert torch.equal(value, found[name]), name
    bad = [
        (np.zeros((5, 32), dtype=np.float32), rf"shape \(5, 32\)(?s:.*)shape \({shape[0]}, 32\)"),
        (np.zeros(shape, dtype=np.int64), "type int64"),
        (np.where(np.arange(32) == 4, np.nan, np.zeros(shape)), "partly not finite"),
    ]
    for table, message in bad:
        np.save(tmp_path / "vectors.npy", table)
        with pytest.raises(RecipeError, match=message):
            build_model(given, hf_tokenizer, ["en"], seed=3)
    (tmp_path / "vectors.npy").write_text("no array")
    with pytest.raises(RecipeError, match="cannot be opened"):
        build_model(given, hf_tokenizer, ["en"], seed=3)
