"""Language identification: accuracy, how far its probabilities can be believed, and speed, on labelled sentences.

    python benchmarks/identify.py SENTENCES.tsv.zst [--lingua] [--sample 600]

The file has a header `lang`, `text`. Beside ours stand py3langid text by text (the same model) and, with --lingua, the
package lingua-language-detector; both on every eighth sentence, since they are slow.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

EDGES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.001)
EVERY = 8
BATCH = 8192


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--lingua", action="store_true")
    parser.add_argument("--sample", type=int, default=600)
    chosen = parser.parse_args()
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    from interlingua.languages import canonical
    from interlingua.prepare import identifier
    from interlingua.text.documents import read_documents

    documents = list(read_documents(chosen.path))
    texts, gold = [d.text for d in documents], np.array([d.lang for d in documents])
    model = identifier()
    model.probabilities(texts[:100])
    begin = time.process_time()
    found = [model.probabilities(texts[i : i + BATCH], sample=chosen.sample) for i in range(0, len(texts), BATCH)]
    speed = megabytes(texts) / (time.process_time() - begin)
    chances = np.concatenate(found)
    best = np.array(model.tags)[chances.argmax(axis=1)]
    sure = chances.max(axis=1)
    known = np.isin(gold, model.tags)
    right = best == gold
    languages = sorted(set(gold[known].tolist()))
    by_language = [right[gold == lang].mean() for lang in languages]
    print(f"{len(texts):,} sentences, {len(set(gold.tolist()))} languages, {len(languages)} of them in the model")
    print(f"accuracy {right[known].mean():.4f}, mean of the languages {np.mean(by_language):.4f}")
    print(f"unknown to the model: {', '.join(sorted(set(gold[~known].tolist()))) or 'none'}")
    print("| probability | sentences | mean probability | accuracy |\n| --- | --- | --- | --- |")
    for low, high in itertools.pairwise(EDGES):
        inside = known & (sure >= low) & (sure < high)
        if inside.any():
            row = f"{inside.sum():,} | {sure[inside].mean():.3f} | {right[inside].mean():.3f}"
            print(f"| {low:g}-{min(high, 1):g} | {row} |")
    print(f"ours: {speed:.2f} MB/s a core")
    some = texts[::EVERY]
    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    begin = time.process_time()
    answers = [library.classify(text) for text in some]
    print(f"py3langid text by text: {megabytes(some) / (time.process_time() - begin):.2f} MB/s a core")
    if chosen.sample >= max(map(len, some)):
        print(
            f"largest difference to it: {max(abs(a[1] - s) for a, s in zip(answers, sure[::EVERY], strict=True)):.0e}"
        )
    if chosen.lingua:
        from lingua import Language, LanguageDetectorBuilder

        detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()
        begin = time.process_time()
        named = [detector.detect_language_of(text) for text in some]
        print(f"lingua: {megabytes(some) / (time.process_time() - begin):.2f} MB/s a core")
        theirs = np.array([canonical(n.iso_code_639_1.name.lower()) if n else "und" for n in named])
        have = [canonical(each.iso_code_639_1.name.lower()) for each in Language.all()]
        both = known[::EVERY] & np.isin(gold[::EVERY], have)
        print(
            f"on {both.sum():,} sentences of languages that both know: "
            f"lingua {(theirs == gold[::EVERY])[both].mean():.4f},"
            f" ours {right[::EVERY][both].mean():.4f}"
        )


if __name__ == "__main__":
    main()
