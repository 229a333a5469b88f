"""A run's verifications: the weights made ready, the ranks compared, the sets scored."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from training.arcface.channels import Data
from training.arcface.data.order import STATISTICS, generator
from training.arcface.data.store import Dataset
from training.arcface.learner import Learner, to_input
from training.arcface.plan import Plan
from training.arcface.progress import Progress
from training.arcface.verification.evaluate import SetResult, evaluate

STATISTICS_IMAGES = 192


class Verifier:
    """Verifies the weights that `progress` is at. All ranks call it together.

    It remembers the scores of the best verification and of the last: the report draws them.
    """

    def __init__(
        self,
        learner: Learner,
        data: Data,
        plan: Plan,
        progress: Progress,
        log: Callable[[str], None],
        *,
        pretrained: bool,
    ):
        self.pretrained = pretrained
        self.learner, self.data, self.plan, self.progress, self.log = learner, data, plan, progress, log
        self.scored: dict[int, tuple[SetResult, ...]] = {}  # by step

    def verify(self) -> dict[str, Any] | None:
        """The figures; None where there is nothing to verify on."""
        # Pretrained weights are first measured as they came. Fresh ones have no statistics of their own: with
        # those of their construction a network of a hundred layers overflows.
        if self.progress.step or not self.pretrained:
            settle_statistics(self.learner, self.data.train, self.plan)
        self.learner.share_buffers()
        _agree(self.learner, self.log)
        if not self.data.sets:
            return None
        best = (self.progress.best or {}).get("step")
        self.scored = {step: sets for step, sets in self.scored.items() if step == best}
        found = evaluate(self.learner.embed, self.data.sets, self.learner.world, self.log)
        self.scored[self.progress.step] = found.sets
        return found.figures

    def scores(self, step: int) -> tuple[SetResult, ...]:
        """Those of the weights of this step, which `backbone` holds by now; on the first rank alone."""
        if self.data.sets and step not in self.scored:  # they were scored before an interruption
            exported = partial(self.learner.embed, network=self.learner.backbone)
            self.scored[step] = evaluate(exported, self.data.sets, self.learner.world, _unheard).sets
        return self.scored.get(step, ())


def embedded(data: Data) -> int:
    """Forward passes of one verification: each verified image twice, and the statistics before."""
    return STATISTICS_IMAGES + 2 * sum(one.count for one in data.sets)


def settle_statistics(learner: Learner, dataset: Dataset, plan: Plan) -> None:
    """BatchNorm's statistics, from images that the seed draws: they change nothing in training itself."""
    order = generator(learner.settings.seed, STATISTICS).permutation(plan.images)
    share = min(plan.batch // learner.world.size, learner.settings.batch_size)
    chosen = [order[start : start + share] for start in range(0, min(plan.images, STATISTICS_IMAGES), share)]
    learner.estimate_statistics(
        to_input(dataset.images.take(indices)[0], learner.world.device)
        for indices in chosen
        if len(indices) > 1
    )


def _agree(learner: Learner, log: Callable[[str], None]) -> None:
    """Tells whether every rank has the same weights. Raises RuntimeError where they differ: our own fault."""
    if learner.world.size == 1:
        return
    digests = learner.world.gather_objects(digest(learner.backbone))
    if len(set(digests)) > 1:
        raise RuntimeError(f"the ranks' weights differ: {digests}")
    log(f"ranks_agree=true ranks={len(digests)} weights={digests[0]}")


def digest(module: nn.Module) -> str:
    """Twelve digits that tell two sets of weights apart."""
    total = hashlib.sha256()
    for value in module.state_dict().values():
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:12]


def _unheard(line: str) -> None:
    """Where these figures are in the log already."""
