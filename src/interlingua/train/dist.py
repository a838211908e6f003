"""Several processes as one trainer: how they meet, how they agree, and how their gradients are put together.

In: what ``torchrun`` says of a process (``RANK``, ``WORLD_SIZE``), a network and what learns beside it. Out: losses
whose backward pass leaves on every rank the gradient of the whole batch. Decisions: torch's own
``DistributedDataParallel`` (every rank has the whole network) or FSDP2, ``fully_shard`` (every rank has a part of it);
both wrap one module whose forward pass is a loss, so that an objective may call the network's pieces as it likes; what
is done once is done by the first rank, and an error of one rank is an error of all. Price: objectives with networks of
their own, or with negatives from the whole batch, cannot be sharded.
"""

from __future__ import annotations

import contextlib
import datetime
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from interlingua.errors import RecipeError, RunError
from interlingua.models.architectures import architecture
from interlingua.objectives.base import Loss, Objective, Targets
from interlingua.objectives.ranks import rank_and_world
from interlingua.run import atomic_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from interlingua.batch import Batch

__all__ = [
    "Spread",
    "all_fine",
    "any_rank",
    "first_rank",
    "folder_of_all",
    "is_gone",
    "of_first_rank",
    "pick_device",
    "process_group",
]

T = TypeVar("T")

#: The first rank may train a vocabulary and write shards while the others wait; one that dies is noticed at once.
PATIENCE = datetime.timedelta(hours=24)


def pick_device(name: str) -> torch.device:
    """``auto`` and ``cuda`` are this rank's GPU (the first one where there is one process); ``auto`` may be the CPU.

    Raises:
        RecipeError: one GPU for several ranks, or more ranks than GPUs.
    """
    local, ranks = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if name == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    if name not in {"auto", "cuda"}:
        if name.startswith("cuda") and ranks > 1:
            raise RecipeError(f"train.device = {name!r} for {ranks} ranks", expected="auto or cuda: one GPU a rank",
                              where="train.device")  # fmt: skip
        return torch.device(name)
    if (there := torch.cuda.device_count()) <= local and ranks > 1:
        raise RecipeError(f"rank {local} of this machine with {there} GPU(s)", expected="as many ranks as GPUs",
                          where="--ranks")  # fmt: skip
    return torch.device("cuda", local)


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Meet the ranks that ``torchrun`` started; does nothing in a process that it did not start.

    Raises:
        RunError: another rank has gone in the middle of what was done together.
    """
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, world = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun may lend the ranks that it starts again the same store, with the addresses of the dead still in it.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",  # objects and gradients
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=rank,
        world_size=world,
        timeout=PATIENCE,
    )
    try:
        yield
    except RuntimeError as error:
        if not is_gone(error):
            raise
        raise RunError(
            f"another rank has gone: {str(error).splitlines()[0]}",
            where=f"rank {dist.get_rank()} of {dist.get_world_size()}",
            next_step="what was saved is intact: the same command goes on from it",
        ) from error
    finally:
        dist.destroy_process_group()


def is_gone(error: BaseException) -> bool:
    """Whether an error says that another rank has gone."""
    said = str(error)
    return isinstance(error, RuntimeError) and any(w in said for w in ("gloo", "NCCL", "Connection closed by peer"))


def of_first_rank(value: T) -> T:
    """The first rank's value."""
    first: T = _from_all(value)[0]
    return first


def any_rank(flag: bool) -> bool:
    """Whether it is true on any rank; what is decided so is decided alike on all of them."""
    return any(_from_all(flag))


def _from_all(value: Any) -> list[Any]:
    import torch.distributed as dist

    world = rank_and_world()[1]
    if world == 1:
        return [value]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, value)
    return found


@contextlib.contextmanager
def all_fine() -> Iterator[None]:
    """After the block, all ranks are told of an error on one of them.

    Raises:
        RunError: another rank failed; this one did not.
    """
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
    rank, world = rank_and_world()
    if world > 1:
        words = None if failure is None else f"{type(failure).__name__}: {failure}".splitlines()[0]
        try:
            told = _from_all(words)
        except RuntimeError:  # another rank has gone; this one's own error says more
            if failure is None:
                raise
            raise failure from None
        failed = {i: text for i, text in enumerate(told) if text}
        if failed and failure is None:
            first, text = next(iter(failed.items()))
            raise RunError(f"rank {first} failed: {text}", where=f"rank {rank} of {world}")
    if failure is not None:
        raise failure


def first_rank(work: Callable[[], object]) -> None:
    """Let the first rank do something while the others wait.

    Raises:
        RunError: on the other ranks, if it failed there.
    """
    with all_fine():
        if rank_and_world()[0] == 0:
            work()


@contextlib.contextmanager
def folder_of_all(path: Path) -> Iterator[Path]:
    """:func:`~interlingua.run.atomic_folder` for all ranks: the first makes it, and renames it if all ended well."""
    first = rank_and_world()[0] == 0
    with atomic_folder(path) if first else contextlib.nullcontext() as temporary:
        shared = of_first_rank(temporary)
        assert shared is not None  # the first rank's
        with all_fine():
            yield shared


class _LossOf(nn.Module):
    """A network and what learns beside it as one module whose forward pass is a loss."""

    def __init__(self, model: PreTrainedModel, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.networks = nn.ModuleList(networks.values())

    def forward(self, objective: Objective, batch: Batch, targets: Targets) -> tuple[Tensor, Loss]:
        loss = objective.loss(self.model, batch, targets)
        return loss.total, loss  # a tensor by itself, for the wrappers look for those


class Spread:
    """A network, as far as this rank has it.

    Args:
        model: on its device; with ``shard`` its parameters become this rank's parts of them (``DTensor``).
        networks: what learns beside it.
        how: ``replicate`` or ``shard``.

    Raises:
        RecipeError: networks beside the model, or layers that share weights, which cannot be sharded.
    """

    def __init__(self, model: PreTrainedModel, networks: Mapping[str, nn.Module], how: str) -> None:
        self.model = model
        self.world = rank_and_world()[1]
        self.sharded = how == "shard" and self.world > 1
        self._plain = _LossOf(model, networks)
        self._run: Any = self._plain
        if self.sharded:
            if networks:
                raise RecipeError(
                    f"train.parallel = 'shard' with networks beside the model: {', '.join(networks)}",
                    expected="train.parallel=replicate for generators, heads, queues and separate parts",
                    where="train.parallel",
                )
            if getattr(model.config, "interlingua_sharing", None) is not None:
                raise RecipeError(
                    "train.parallel = 'shard' with layers that share weights",
                    expected="train.parallel=replicate, or model.sharing=none",
                    where="train.parallel",
                )
            self._run = _sharded(self._plain, model)

    def replicate(self, *, all_used: bool) -> None:
        """Let gradients be averaged over the ranks, each of which has the whole network.

        Args:
            all_used: every step's loss has a gradient to every parameter (finding out which have none takes time).
        """
        if self.world == 1 or self.sharded or not any(p.requires_grad for p in self._plain.parameters()):
            return
        import torch.distributed as dist

        wrapper: Any = nn.parallel.DistributedDataParallel
        # torch 2.13 renamed it; buffers are alike on all ranks already.
        named = inspect.signature(wrapper.__init__).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in named else "broadcast_buffers"
        # A group of its own: objectives sum vectors over the ranks in the middle of the backward pass.
        self._run = wrapper(
            self._plain,
            process_group=dist.new_group(),
            find_unused_parameters=not all_used,
            gradient_as_bucket_view=True,
            **{buffers: False},
        )

    def loss(self, objective: Objective, batch: Batch, targets: Targets) -> Loss:
        """An objective's loss, on this rank's rows; its backward pass averages gradients, see :meth:`unsynced`."""
        wrapper = self._run if torch.is_grad_enabled() or self.sharded else self._plain
        loss: Loss = wrapper(objective, batch, targets)[1]
        return loss

    def unsynced(self) -> AbstractContextManager[None]:
        """Backward passes in this context keep their gradients to themselves until the next one outside of it."""
        if self.sharded:
            return self._sharded_unsynced()
        none: AbstractContextManager[None] = contextlib.nullcontext()
        return self._run.no_sync() if hasattr(self._run, "no_sync") else none

    @contextlib.contextmanager
    def _sharded_unsynced(self) -> Iterator[None]:
        self._run.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._run.set_requires_gradient_sync(True)


def _sharded(whole: nn.Module, model: PreTrainedModel) -> nn.Module:
    """FSDP2: a group of parameters for each layer, and one for all others, which stays whole during a step."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    world = rank_and_world()[1]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    # Sharded inside a machine and replicated between machines, where links are slow.
    shape = (world // here, here) if 1 < here < world and world % here == 0 else (world,)
    names = ("replicate", "shard")[-len(shape) :]
    mesh = init_device_mesh(model.device.type, shape, mesh_dim_names=names)
    seen: set[int] = set()
    # The highest layer is called in pieces (`encode_at` of models.attention), so it stays with the rest.
    for modules in architecture(model).stack(model.base_model)[1][:-1]:
        for module in modules:
            if id(module) not in seen:
                seen.add(id(module))
                fully_shard(module, mesh=mesh)
    fully_shard(whole, mesh=mesh, reshard_after_forward=False)
    return whole
