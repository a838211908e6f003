"""models/translator.py and models/seq2seq.py: losses, decoding and folders against plain transformers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.fixtures_translate import encoder_folder, make_encoder, translator, unigram  # noqa: F401
from transformers import AutoModelForCausalLM, EncoderDecoderModel

from interlingua.errors import CheckpointError, RecipeError, VocabularyError
from interlingua.models.checkpoint import open_checkpoint, save_checkpoint
from interlingua.models.seq2seq import generated, padded_ids, target_losses
from interlingua.models.translator import (
    add_languages,
    frame,
    language_ids,
    longest_side,
    open_translator,
    pair_encoders,
    start_id,
    take_entries,
)
from interlingua.vocab.trim import trim


def batch(seed: int, count: int, vocabulary: int = 900) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sources of 3 to 30 ids, targets of 2 to 25, and which is source."""
    chance = np.random.default_rng(seed)
    sources = [[1, *chance.integers(10, vocabulary, n).tolist(), 2] for n in chance.integers(1, 29, count)]
    targets = [[*chance.integers(10, vocabulary, n).tolist(), 2] for n in chance.integers(1, 25, count)]
    masks = [[1] * len(source) for source in sources]
    return padded_ids(sources, 0), padded_ids(masks, 0).bool(), padded_ids(targets, -100)


def shown(labels_SY: torch.Tensor, start: int, pad: int) -> torch.Tensor:
    first = torch.full((len(labels_SY), 1), start)
    return torch.cat([first, labels_SY[:, :-1]], dim=1).masked_fill_(
        torch.cat([first, labels_SY[:, :-1]], dim=1) < 0, pad
    )


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra"])
def test_losses_are_the_class_s_own(family, unigram, tmp_path):  # noqa: F811
    """24 padded pairs in float64: the class's logits through torch's cross-entropy, smoothed too; its gradient."""
    model, _ = translator(make_encoder(tmp_path / family, unigram, family), layers=2)
    pad = model.config.pad_token_id
    source, mask, labels = batch(0, 24)
    source = source.masked_fill(~mask, pad)
    decoder = shown(labels, 7, pad)
    logits = model(
        input_ids=source, attention_mask=mask.long(), decoder_input_ids=decoder, decoder_attention_mask=decoder != pad
    ).logits
    for smoothing in (0.0, 0.1):
        model.zero_grad()
        wanted = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=smoothing
        )
        wanted.backward(retain_graph=True)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        total, each_N = target_losses(model, source, mask, decoder, labels, smoothing=smoothing)
        total.backward()
        torch.testing.assert_close(total, wanted, rtol=1e-10, atol=0)
        for name, parameter in model.named_parameters():
            if name in gradients:
                torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-7, atol=1e-10)
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    torch.testing.assert_close(each_N, plain[labels.flatten() >= 0], rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*loss.*:FutureWarning")
def test_the_class_s_own_loss(encoder_folder):  # noqa: F811
    """Unpadded pairs of one length: the loss that EncoderDecoderModel itself returns, times its tokens."""
    model, tokenizer = translator(encoder_folder)
    chance = np.random.default_rng(4)
    source, labels = (torch.from_numpy(chance.integers(10, 900, (5, n))) for n in (9, 7))
    own = model(input_ids=source, labels=labels).loss
    decoder = shown(labels, model.config.decoder_start_token_id, tokenizer.pad_token_id)
    total, _ = target_losses(model, source, torch.ones_like(source).bool(), decoder, labels)
    torch.testing.assert_close(total / labels.numel(), own, rtol=1e-10, atol=0)


def test_nothing_leaks_between_texts(encoder_folder):  # noqa: F811
    """The losses of 40 pairs together are those of each alone."""
    model, tokenizer = translator(encoder_folder)
    pad = tokenizer.pad_token_id
    source, mask, labels = batch(1, 40)
    source = source.masked_fill(~mask, pad)
    decoder = shown(labels, 5, pad)
    _, together = target_losses(model, source, mask, decoder, labels)
    alone = []
    for i in range(40):
        x, y = int(mask[i].sum()), int((labels[i] >= 0).sum())
        one = slice(i, i + 1)
        alone.append(target_losses(model, source[one, :x], mask[one, :x], decoder[one, :y], labels[one, :y])[1])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-10, atol=1e-12)


def test_beam_of_one_is_greedy(encoder_folder):  # noqa: F811
    """Against a loop that takes the likeliest allowed token of the whole network run anew for each; in any company."""
    model, tokenizer = translator(encoder_folder)
    start = start_id(tokenizer, "fi")
    source, mask, _ = batch(2, 6)
    sources = [row[kept].tolist() for row, kept in zip(source, mask, strict=True)]
    never = model.generation_config.suppress_tokens
    wanted = []
    with torch.no_grad():
        for ids in sources:
            written = [start]
            while len(written) < 12:
                logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([written])).logits[0, -1]
                logits[never] = -torch.inf
                written.append(int(logits.argmax()))
                if written[-1] == frame(tokenizer)[1]:
                    written.pop()
                    break
            wanted.append(written[1:])
    assert generated(model, sources, [start] * 6, longest=11, beam=1) == wanted
    assert generated(model, sources[:2], [start] * 2, longest=11) == wanted[:2]
    assert len({tuple(row) for row in wanted}) > 1


def test_a_beam_finds_likelier_texts(encoder_folder):  # noqa: F811
    """Summed log-probabilities of what a beam of 8 writes, by the network itself, are at least the greedy ones."""
    model, tokenizer = translator(encoder_folder, spread=0.15)
    start = start_id(tokenizer, "de")
    source, mask, _ = batch(3, 8)
    sources = [row[kept].tolist() for row, kept in zip(source, mask, strict=True)]
    source = source.masked_fill(~mask, tokenizer.pad_token_id)
    model.generation_config.suppress_tokens = [*model.generation_config.suppress_tokens, frame(tokenizer)[1]]

    def likelihood(rows: list[list[int]]) -> torch.Tensor:
        labels = padded_ids(rows, -100)
        _, each = target_losses(model, source, mask, shown(labels, start, tokenizer.pad_token_id), labels)
        return -each.view(len(rows), -1).sum(dim=1)

    # No end can be written, so all texts are of one length and the sums can be compared.
    greedy = generated(model, sources, [start] * 8, longest=4)
    found = generated(model, sources, [start] * 8, longest=4, beam=8)
    assert bool((likelihood(found) >= likelihood(greedy) - 1e-9).all())
    assert found != greedy


@pytest.mark.parametrize("share", ["none", "embeddings", "all"])
def test_folder_opens_without_us(share, encoder_folder, tmp_path):  # noqa: F811
    """Another process with nothing of ours: same ids by greedy and by beam; here again, what was shared is shared."""
    model, tokenizer = translator(encoder_folder, share=share)
    model = model.float()
    save_checkpoint(tmp_path / "model", model, tokenizer)
    text = "Abraham begat Isaac; and Isaac begat Jacob."
    source = tokenizer(text)["input_ids"]
    start = start_id(tokenizer, "en")
    wanted = [generated(model, [source], [start], longest=14, beam=beam)[0] for beam in (1, 3)]
    code = f"""
import sys
sys.modules["interlingua"] = None
from transformers import AutoTokenizer, EncoderDecoderModel
model = EncoderDecoderModel.from_pretrained({str(tmp_path / "model")!r})
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "model")!r})
batch = tokenizer([{text!r}], return_tensors="pt")
start = tokenizer.convert_tokens_to_ids("<2en>")
for beam in (1, 3):
    out = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, decoder_start_token_id=start,
                         max_length=15, num_beams=beam)
    print([i for i in out[0, 1:].tolist() if i not in (tokenizer.pad_token_id, model.config.eos_token_id)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:2] == [str(row) for row in wanted]

    again, _ = open_translator(tmp_path / "model")
    same = again.encoder.get_input_embeddings().weight is again.decoder.get_input_embeddings().weight
    assert same == (share != "none")
    queries = (side.base_model.encoder.layer[0].attention.self.query.weight for side in (again.encoder, again.decoder))
    first, second = queries
    assert (first is second) == (share == "all")
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    assert language_ids(tokenizer).keys() == {"de", "en", "fi"}


def test_weights_come_from_the_checkpoint(encoder_folder):  # noqa: F811
    """Encoder and decoder body have the file's weights, the two lowest layers of it; the cross attention is fresh."""
    model, _ = pair_encoders(encoder_folder, encoder_folder, seed=0, encoder_layers=2, decoder_layers=1)
    plain = EncoderDecoderModel.from_encoder_decoder_pretrained(str(encoder_folder), str(encoder_folder))
    theirs, ours = plain.state_dict(), model.state_dict()
    shared = [name for name in ours if "crossattention" not in name and "pooler" not in name and ".cls." not in name]
    assert all(torch.equal(ours[name], theirs[name]) for name in shared)
    assert {int(n.split("layer.")[1].split(".")[0]) for n in ours if "encoder.encoder.layer." in n} == {0, 1}
    again, _ = pair_encoders(encoder_folder, encoder_folder, seed=0, encoder_layers=2, decoder_layers=1)
    other, _ = pair_encoders(encoder_folder, encoder_folder, seed=1, encoder_layers=2, decoder_layers=1)
    name = next(n for n in ours if "crossattention.self.query.weight" in n)
    assert torch.equal(again.state_dict()[name], ours[name])
    assert not torch.equal(other.state_dict()[name], ours[name])


def test_kept_entries_keep_their_logits(encoder_folder):  # noqa: F811
    """Logits of a trimmed network are those of the whole one at the entries that were kept."""
    model, tokenizer = pair_encoders(encoder_folder, encoder_folder, seed=0)
    model = model.double()
    text = "Und Isaak zeugte Jakob."
    ids = tokenizer(text)["input_ids"]
    whole = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([ids])).logits
    smaller, kept = trim(tokenizer, set(ids))
    take_entries(model, kept)
    new = smaller(text)["input_ids"]
    assert kept[new].tolist() == ids
    part = model(input_ids=torch.tensor([new]), decoder_input_ids=torch.tensor([new])).logits
    torch.testing.assert_close(part, whole[..., torch.from_numpy(kept)], rtol=1e-9, atol=1e-9)


def test_language_tokens_are_added_once(encoder_folder):  # noqa: F811
    """New rows are the mean of the old ones; those that are there stay, and nothing else changes."""
    model, tokenizer = pair_encoders(encoder_folder, encoder_folder, seed=0)
    before = model.encoder.get_input_embeddings().weight.detach().clone()
    add_languages(model, tokenizer, ["de", "zh-Hant"])
    first = language_ids(tokenizer)
    table = model.encoder.get_input_embeddings().weight
    assert torch.equal(table[: len(before)], before)
    torch.testing.assert_close(table[first["zh-Hant"]], before.mean(dim=0))
    add_languages(model, tokenizer, ["de", "fi"])
    assert language_ids(tokenizer) == first | {"fi": len(tokenizer) - 1}
    assert model.get_output_embeddings().weight is model.decoder.get_input_embeddings().weight
    with pytest.raises(RecipeError, match="'sw'"):
        start_id(tokenizer, "sw")


def test_refused(encoder_folder, unigram, tmp_path):  # noqa: F811
    """More layers than there are, two vocabularies, a class that cannot decode, and a network without a decoder."""
    with pytest.raises(RecipeError, match="9 layers of a network that has 3"):
        pair_encoders(encoder_folder, encoder_folder, seed=0, decoder_layers=9)
    smaller, _ = trim(unigram, set(range(100)))
    other = make_encoder(tmp_path / "other", smaller)
    with pytest.raises(VocabularyError, match="not the same"):
        pair_encoders(encoder_folder, other, seed=0)
    distil = make_encoder(tmp_path / "distil", unigram, "distilbert")
    with pytest.raises(CheckpointError, match="distilbert"):
        pair_encoders(distil, distil, seed=0)
    with pytest.raises(CheckpointError, match="'bert'"):
        open_translator(encoder_folder)
    with pytest.raises(CheckpointError, match="crossattention"):
        open_checkpoint(encoder_folder, AutoModelForCausalLM, is_decoder=True, add_cross_attention=True)


def test_longest_side(unigram, tmp_path):  # noqa: F811
    """Positions of the RoBERTa classes begin behind the padding's; the network runs at that length and not beyond."""
    folder = make_encoder(tmp_path / "x", unigram, "xlm-roberta", max_position_embeddings=30)
    model, _ = translator(folder)
    longest = longest_side(model)
    ids = torch.full((1, longest), 9)
    model(input_ids=ids, decoder_input_ids=ids)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 9), decoder_input_ids=ids)
