"""Texts and tables that ship inside the package; ``SOURCES.md`` beside this file names each with its licence."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["PACKAGE", "read_packed", "resolve", "rooted", "xlmr_tokenizer"]

#: Prefix of paths that mean a file of this folder.
PACKAGE = "package:"
_ENDINGS = (".tsv.zst", ".patterns.yaml", ".senses.tsv")


def resolve(path: str | Path) -> Path:
    """The file that a path means; ``package:NAME`` is a corpus, pattern or sense file that ships inside the package.

    Raises:
        DataError: no such file in the package.
    """
    text = str(path)
    if not text.startswith(PACKAGE):
        return Path(path)
    folder = Path(str(files(__name__)))
    shipped = {f"{PACKAGE}{file.name}": file for file in sorted(folder.iterdir()) if file.name.endswith(_ENDINGS)}
    if text not in shipped:
        raise DataError(
            f"no file {text!r} in the package",
            expected=f"a file of your own, or one of {', '.join(shipped)}",
            where=text,
        )
    return shipped[text]


def rooted(path: Path, root: Path) -> Path:
    """A path of a recipe under its folder of data; one of the package stays as it is."""
    return path if str(path).startswith(PACKAGE) else root / path


@cache
def read_packed(name: str) -> str:
    """The text of a zstd-compressed UTF-8 file of this folder."""
    import zstandard

    packed = files(__name__).joinpath(name).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed).decode("utf-8")


def xlmr_tokenizer() -> PreTrainedTokenizerFast:
    """XLM-R's tokenizer: 250,002 Unigram pieces, about 100 languages (MIT)."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(read_packed("xlmr_tokenizer.json.zst")),
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )
