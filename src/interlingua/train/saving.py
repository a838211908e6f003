"""The checkpoints of a run, and going on from the last of them.

In: what the loop holds after a step. Out: a folder that plain ``transformers`` opens, with what a resumed run needs
beside it, and the same back again. Decisions: the optimiser's moments are safetensors, of a sharded network written
by every rank (``torch.distributed.checkpoint``), and read by any number of ranks, whoever wrote them; a folder appears
under its name only when all ranks have written theirs. Price: moments are found by the names of their parameters, so
a changed network cannot use them.

    checkpoints/step-000123/            Hugging Face files
                            NAME/       the same, for an objective's own network of that name (an ELECTRA generator)
                            LANG/       the same with the parts that a language has of its own
                            training/   state.json, NAME.safetensors for objectives' own networks
                            training/optimizer/   the optimiser's moments by name of the parameter
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from interlingua.errors import CheckpointError
from interlingua.models.checkpoint import write_checkpoint
from interlingua.models.separate import LanguageParts
from interlingua.objectives.ranks import rank_and_world
from interlingua.run import Run
from interlingua.text.lines import check_file
from interlingua.train.dist import Spread, folder_of_all, is_gone, of_first_rank
from interlingua.train.optim import Joined, state_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["State", "resume", "save"]

Named = Sequence[tuple[str, nn.Parameter]]


@dataclass
class State:
    """What a resumed run must know beyond weights and moments."""

    step: int = 0
    threads: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    drawn: list[int] = field(default_factory=list)
    """Tokens seen since the run began, by index of the language."""
    tally: dict[str, list[list[float]]] = field(default_factory=dict)
    """Objective -> summed losses and their number by index of the language, since the last evaluation."""
    norms: list[float] = field(default_factory=list)
    """Gradient norms of the last steps, for a recipe that watches for spikes."""


def save(
    run: Run,
    spread: Spread,
    tokenizer: PreTrainedTokenizerBase,
    networks: Mapping[str, nn.Module],
    named: Named,
    optimizer: torch.optim.Optimizer | Joined,
    state: State,
) -> Path:
    """Write the checkpoint of a step; called on all ranks.

    Raises:
        SaveError: disk full; the last good checkpoint stays.
        RunError: another rank could not write its share.
    """
    from safetensors.torch import save_file

    folder = run.checkpoints / f"step-{state.step:06d}"
    with folder_of_all(folder) as temporary:
        weights = _whole_weights(spread)
        moments = _moments(named, optimizer)
        (temporary / "training" / "optimizer").mkdir(parents=True, exist_ok=True)
        if spread.sharded:
            _write_shares(temporary / "training" / "optimizer", moments)
        # What one rank does alone comes last: if it fails there, no other waits for it in the middle of something.
        if rank_and_world()[0] == 0:
            if not spread.sharded:
                save_file(moments, temporary / "training" / "optimizer" / "moments.safetensors")
            _write_networks(temporary, spread.model, tokenizer, networks, weights)
            written = sorted(path.name for path in (temporary / "training" / "optimizer").iterdir())
            facts = asdict(state) | {"optimizer": written}
            (temporary / "training" / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    index = run.index() | {"last": folder.name}
    if state.best_step == state.step:
        index |= {"best": folder.name, "best_value": state.best}
    run.write_index(index)
    return folder


def _write_networks(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    networks: Mapping[str, nn.Module],
    weights: dict[str, Any] | None,
) -> None:
    from safetensors.torch import save_model
    from transformers import PreTrainedModel

    write_checkpoint(folder, model, tokenizer, weights)
    for name, network in networks.items():
        save_model(network, str(folder / "training" / f"{name}.safetensors"))
        if isinstance(network, PreTrainedModel):
            write_checkpoint(folder / name, network, tokenizer)
        if isinstance(network, LanguageParts):
            for index in network.indices:
                with network.speaking(model, language := network.languages[index]):
                    write_checkpoint(folder / language, model, tokenizer)


def _whole_weights(spread: Spread) -> dict[str, Any] | None:
    """The weights of a sharded network, put together on the first rank; None where each rank has them all."""
    if not spread.sharded:
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole = get_model_state_dict(spread.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    for copy, original in (getattr(spread.model, "all_tied_weights_keys", None) or {}).items():
        if copy in whole and original in whole:
            whole[copy] = whole[original]  # one tensor again, of which transformers writes one copy
    return whole


def _moments(named: Named, optimizer: torch.optim.Optimizer | Joined) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in named
        for key, value in state_of(optimizer, parameter).items()
        if isinstance(value, torch.Tensor)
    }


def _write_shares(folder: Path, moments: dict[str, torch.Tensor]) -> None:
    """Every rank's share of the moments; the plain writer of safetensors is five times as fast where one has all."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        save(moments, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise _cause(error) from error


def _read_shares(folder: Path, moments: dict[str, torch.Tensor]) -> None:
    """Fill tensors, or this rank's parts of them, with what is in the folder."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # said to one process by itself
            load(moments, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=rank_and_world()[1] == 1)
    except CheckpointException as error:
        raise _cause(error) from error


def _cause(error: Any) -> BaseException:
    """What went wrong on the first rank on which something did; torch wraps it up in its own report."""
    causes: list[BaseException] = [failure for failure, _ in error.failures.values()]
    return next(iter(causes), error)


def resume(
    run: Run,
    spread: Spread,
    networks: Mapping[str, nn.Module],
    named: Named,
    optimizer: torch.optim.Optimizer | Joined,
) -> State | None:
    """Load the last checkpoint into network, objectives' networks and optimiser, if there is one.

    Raises:
        CheckpointError: files are missing or damaged, or the network is another one.
    """
    from safetensors.torch import load_file, load_model

    last = of_first_rank(run.index().get("last"))
    if last is None:
        return None
    folder = run.checkpoints / str(last)
    try:
        facts = json.loads((folder / "training" / "state.json").read_text(encoding="utf-8"))
        for name in facts.pop("optimizer"):
            check_file(folder / "training" / "optimizer" / name)
        state = State(**facts)
        weights = load_file(folder / "model.safetensors")
        for name, network in networks.items():
            load_model(network, folder / "training" / f"{name}.safetensors", device=str(spread.model.device))
    except Exception as error:  # a missing or damaged file, in any of the libraries' own words
        raise _unusable(folder, error) from error
    _load_weights(spread, weights, folder)
    try:
        _load_moments(folder / "training" / "optimizer", named, optimizer)
    except Exception as error:
        if is_gone(error):
            raise
        raise _unusable(folder, error) from error
    run.rewind_log(state.step)
    return state


def _unusable(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {folder.name!r} cannot be resumed from: {error}",
        expected="model.safetensors and training/",
        where=str(folder),
        next_step="remove the run folder and start again, or restore the files",
    )


def _load_weights(spread: Spread, weights: dict[str, Any], folder: Path) -> None:
    model = spread.model
    own = model.state_dict()
    misshapen = [key for key, value in weights.items() if key in own and own[key].shape != value.shape]
    fitting = {key: value for key, value in weights.items() if key in own and key not in misshapen}
    tied = set(getattr(model, "all_tied_weights_keys", None) or getattr(model, "_tied_weights_keys", None) or ())
    if wrong := {*misshapen, *(weights.keys() ^ own.keys())} - tied:
        raise CheckpointError(
            f"checkpoint {folder.name!r} does not fit the network: {sorted(wrong)[:3]}",
            where=str(folder),
            next_step="the recipe's model changed; start a new run folder",
        )
    if spread.sharded:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        options = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(model, fitting, options=options)
    else:
        model.load_state_dict(fitting, strict=False)


def _load_moments(folder: Path, named: Named, optimizer: torch.optim.Optimizer | Joined) -> None:
    """Every parameter's moments, each parameter's share of them where it is sharded."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    known = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    parameters = dict(named)
    moments: dict[str, torch.Tensor] = {}
    for entry in known:
        name, key = entry.rsplit(".", 1)
        parameter = parameters[name]
        # Counts are numbers; all else has the shape of its parameter.
        moments[entry] = (
            torch.zeros((), device=parameter.device) if key == "step" else torch.zeros_like(parameter.detach())
        )
    _read_shares(folder, moments)
    for entry, value in moments.items():
        name, key = entry.rsplit(".", 1)
        state_of(optimizer, parameters[name])[key] = value
