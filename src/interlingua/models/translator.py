"""An encoder-decoder from two encoders, and what it needs to write in several languages.

In: checkpoints of encoders (or one of an encoder-decoder), a tokenizer, languages. Out: a network of ``transformers``
(``EncoderDecoderModel``, or the class of the encoder-decoder) whose folder opens and generates with nothing of ours.
Decisions: the decoder begins with a token of the language to be written (``<2de>``), so the encoder sees text alone,
and any text can be written in any language; the decoder is an encoder with a causal mask and a fresh cross attention
(Rothe et al. 2020, arXiv 1907.12461). Price: a plain user names the language's token when generating.

Shape suffixes: V vocabulary, D width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import CheckpointError, RecipeError, VocabularyError, nearest
from interlingua.languages import canonical
from interlingua.models.checkpoint import open_checkpoint
from interlingua.models.sharing import share_sides

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "SEQ2SEQ",
    "add_languages",
    "family",
    "frame",
    "language_ids",
    "longest_side",
    "open_translator",
    "pair_encoders",
    "start_id",
    "take_entries",
    "tie_sides",
]

#: Classes whose causal form attends to an encoder.
DECODERS = ("bert", "xlm-roberta", "electra")
SEQ2SEQ = ("encoder-decoder", "bart", "mbart", "t5", "mt5")
_LANGUAGE = re.compile(r"<2([A-Za-z0-9-]+)>")


def pair_encoders(
    encoder: Path, decoder: Path, *, seed: int, encoder_layers: int | None = None, decoder_layers: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An ``EncoderDecoderModel`` of two checkpoints; what the decoder has beyond them is random.

    Args:
        encoder: folder.
        decoder: folder of the encoder that becomes the decoder.
        seed: of the fresh weights.
        encoder_layers: so many lowest layers; None: all.
        decoder_layers: so many lowest layers; None: all.

    Raises:
        CheckpointError: not there, damaged, or a class that cannot be a decoder.
        RecipeError: more layers than there are.
        VocabularyError: two vocabularies.
    """
    from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, tokenizer = open_checkpoint(encoder, AutoModel, families=DECODERS, **_lowest(encoder, encoder_layers))
        right, other = open_checkpoint(
            decoder,
            AutoModelForCausalLM,
            families=DECODERS,
            fresh=("crossattention.",),
            is_decoder=True,
            add_cross_attention=True,
            # What has never been trained to predict begins with the table that it reads from.
            tie_word_embeddings=True,
            **_lowest(decoder, decoder_layers),
        )
        if tokenizer.get_vocab() != other.get_vocab():
            raise VocabularyError(
                f"an encoder of {len(tokenizer)} entries and a decoder of {len(other)}, not the same ones",
                expected="one vocabulary",
                where="model.decoder",
                next_step="leave model.decoder out: the encoder's own checkpoint becomes the decoder",
            )
        model: PreTrainedModel = EncoderDecoderModel(encoder=left, decoder=right)
    return model.eval(), tokenizer


def family(folder: Path) -> str:
    """The class of a checkpoint, by its ``model_type``; empty where there is none."""
    file = folder / "config.json"
    return str(json.loads(file.read_text(encoding="utf-8")).get("model_type", "")) if file.is_file() else ""


def _lowest(folder: Path, layers: int | None) -> dict[str, Any]:
    if layers is None:
        return {}
    file = folder / "config.json"
    there = json.loads(file.read_text(encoding="utf-8")).get("num_hidden_layers", 0) if file.is_file() else layers
    if layers > there:
        raise RecipeError(f"{layers} layers of a network that has {there}", expected=f"at most {there}",
                          where="model.encoder_layers, model.decoder_layers")  # fmt: skip
    return {"num_hidden_layers": layers}


def open_translator(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Open an encoder-decoder.

    Raises:
        CheckpointError: nothing there, or a network without a decoder.
    """
    from transformers import AutoModelForSeq2SeqLM

    return open_checkpoint(folder, AutoModelForSeq2SeqLM, families=SEQ2SEQ)


def take_entries(model: PreTrainedModel, kept_V: NDArray[np.int64]) -> None:
    """Keep the rows ``kept_V`` of all tables over the vocabulary, in place; see :func:`interlingua.vocab.trim.trim`."""
    rows = torch.from_numpy(kept_V)
    for side in _sides(model):
        table = side.get_input_embeddings().weight
        bias = getattr(side.get_output_embeddings(), "bias", None)
        kept, kept_bias = table.detach()[rows].clone(), None if bias is None else bias.detach()[rows].clone()
        side.resize_token_embeddings(len(rows), mean_resizing=False)
        with torch.no_grad():
            side.get_input_embeddings().weight.copy_(kept)
            output = side.get_output_embeddings()
            if output is not None and not _tied(side):
                raise CheckpointError(
                    f"a {type(side).__name__} with an output layer of its own",
                    expected="an output layer that is the token table",
                    next_step="keep the vocabulary: model.vocabulary=whole",
                )
            if kept_bias is not None and output is not None:
                output.bias.copy_(kept_bias)


def _tied(side: Any) -> bool:
    return side.get_output_embeddings().weight is side.get_input_embeddings().weight


def _sides(model: Any) -> list[Any]:
    return [model.encoder, model.decoder] if model.config.model_type == "encoder-decoder" else [model]


def add_languages(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str]) -> None:
    """Give every language its token, and write into the network's configuration how it generates.

    Tokens that are there stay; new rows begin as the mean of all rows.

    Args:
        model: an encoder-decoder.
        tokenizer: gets the tokens.
        languages: canonical tags; the first is what a plain ``generate`` writes.
    """
    from tokenizers import AddedToken

    new = [f"<2{lang}>" for lang in languages if f"<2{lang}>" not in tokenizer.get_vocab()]
    before = len(tokenizer)
    shared = getattr(model.config, "interlingua_share", None) is not None
    if shared:  # a table that grows for one side would leave the other side's bias behind
        sides: Any = model
        sides.decoder.get_input_embeddings().weight = torch.nn.Parameter(
            sides.decoder.get_input_embeddings().weight.detach().clone()
        )
        sides.decoder.tie_weights()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in new], special_tokens=True)
    for side in _sides(model):
        table = side.get_input_embeddings()
        mean = table.weight.detach()[:before].mean(dim=0)
        if len(tokenizer) > len(table.weight):
            side.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            side.get_input_embeddings().weight[before : len(tokenizer)] = mean
    if shared:
        share_sides(model)
    config: Any = model.config
    config.vocab_size = len(model.get_input_embeddings().weight)
    _, last = frame(tokenizer)
    config.decoder_start_token_id = tokenizer.convert_tokens_to_ids(f"<2{languages[0]}>")
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, last
    generation: Any = model.generation_config
    generation.decoder_start_token_id = config.decoder_start_token_id
    generation.pad_token_id, generation.eos_token_id, generation.bos_token_id = tokenizer.pad_token_id, last, None
    # A checkpoint of another purpose may say how it began and ended its texts.
    generation.forced_bos_token_id = generation.forced_eos_token_id = None
    never = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} - {last}
    generation.suppress_tokens = sorted(never)
    generation.num_beams = 1
    generation.max_length = min(128, longest_side(model))


def language_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The tokens that a decoder begins with, by language."""
    found = ((_LANGUAGE.fullmatch(token), i) for token, i in tokenizer.get_added_vocab().items())
    return {match[1]: i for match, i in sorted(found, key=lambda one: one[1]) if match}


def start_id(tokenizer: PreTrainedTokenizerBase, language: str) -> int:
    """The token that makes a decoder write a language.

    Raises:
        RecipeError: the network was not taught it.
    """
    known = language_ids(tokenizer)
    tag = canonical(language)
    if tag not in known:
        raise RecipeError(
            f"language {tag!r}{nearest(tag, known)}",
            expected=f"one of those that the network writes: {', '.join(known)}" if known else "a translator",
            next_step=None if known else "teach one: interlingua translate train RECIPE",
        )
    return known[tag]


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    """The special tokens before a text, and the one behind it, as the tokenizer puts them.

    Raises:
        VocabularyError: it puts none behind a text, so that a decoder could not say when it is done; or has no padding.
    """
    ids: list[int] = tokenizer("")["input_ids"]
    if not ids or tokenizer.pad_token_id is None:
        raise VocabularyError(
            f"a vocabulary that puts {ids!r} around a text, with padding {tokenizer.pad_token_id!r}",
            expected="a special token behind every text, and one for padding",
        )
    return ids[:-1], ids[-1]


def longest_side(model: PreTrainedModel) -> int:
    """Tokens that source and target may have; T5's relative positions have no bound of their own."""
    configs = [side.config for side in _sides(model)]
    found = []
    for config in configs:
        places = getattr(config, "max_position_embeddings", None)
        if places:
            # Positions of the RoBERTa classes begin behind the padding's.
            found.append(places - (config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0))
    return min(found, default=1024)


def tie_sides(model: PreTrainedModel, share: str) -> None:
    """Let encoder and decoder have weights in common; ``share`` as in the recipe."""
    if share != "none" and model.config.model_type == "encoder-decoder":
        model.config.interlingua_share = share
        share_sides(model)
