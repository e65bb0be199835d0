"""The recurrent branches of a classifier: trained side by side where there are cores, one after the other elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from fenlei import workers
from fenlei.branch import Branch, Found, Plan
from fenlei.checkpoint import Checkpoint
from fenlei.folds import Data, Part
from fenlei.layers.lstm import core_to_spare
from fenlei.lessons import Lessons
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.team import Team, others
from fenlei.training import Epoch, Watch


def train_branches(
    data: Data, pipeline: Pipeline, recipe: Recipe, watch: Watch, checkpoint: Checkpoint
) -> list[Branch]:
    """A network for each of the data's parts, the same ones however many are trained at a time.

    Ctrl-C ends the training, not the run: finished networks, and the best epoch of each that is at work, are kept.
    """
    plan = Plan(recipe, pipeline.stream_sizes(), len(data.labels), data.tokens)
    parts = dict(enumerate(data.parts, 1))
    branches = bring_back(plan, parts, checkpoint)
    left = sorted(parts.keys() - branches.keys(), key=lambda number: (number != checkpoint.unfinished, number))
    lessons = Lessons.of(plan, data)
    with Team(lessons, left, len(parts), watch) as team:
        for number, branch in branches.items():
            team.announce(number)
            for epoch in branch.history:
                team.watch_of(number)(epoch)
        if count := others(lessons, len(left), checkpoint.ranks):
            team.say(f"{count + 1} networks are trained at a time, each on a core of its own")
            team.start(count)
        alone = not count and checkpoint.ranks.count == 1 and workers.usable_cores() > recipe.threads
        with core_to_spare(alone):
            stopped = train_with(team, plan, parts, branches, checkpoint)
    for number, found in team.found.items():
        here = branches.get(number)  # it began anew where the other process had ended
        if here is None or (not here.finished and len(here.history) < len(found.history)):
            branches[number] = Branch.restore(plan, number, parts[number], found)
    kept = {number: branches[number] for number in sorted(branches) if branches[number].history}
    if stopped:
        stop(kept, team)
    return list(kept.values())


def bring_back(plan: Plan, parts: Mapping[int, Part], checkpoint: Checkpoint) -> dict[int, Branch]:
    """The finished networks out of the checkpoint."""
    branches = {}
    for number, part in parts.items():
        if (kept := checkpoint.take(name_of(number))) is not None:
            found = Found(kept["weights"], [Epoch(**epoch) for epoch in kept["history"]], finished=True)
            branches[number] = Branch.restore(plan, number, part, found)
    return branches


def train_with(
    team: Team, plan: Plan, parts: Mapping[int, Part], branches: dict[int, Branch], checkpoint: Checkpoint
) -> bool:
    """Train what the others have not taken, one network after the other, and wait for theirs; whether Ctrl-C came."""
    unsaved: list[int] = []

    def keep(number: int, found: Found) -> None:
        checkpoint.fix(
            name_of(number), {"weights": dict(found.weights), "history": [epoch.record() for epoch in found.history]}
        )
        unsaved.append(number)

    team.keep = keep
    try:
        while True:
            if (number := team.take()) is not None:
                checkpoint.network = number
                branch = branches[number] = Branch(plan, number, parts[number])
                team.announce(number)
                branch.train(team.watch_of(number), checkpoint)
                checkpoint.drop("best epoch")
                keep(number, Found(branch.network.state_dict(), branch.history, finished=True))
            elif not team.wait():
                return False
            if unsaved and checkpoint.ranks.agree(checkpoint.due(epoch_ends=True)):
                checkpoint.save("finished", "finished", {})
                unsaved.clear()
    except KeyboardInterrupt:
        return True


def name_of(number: int) -> str:
    """A finished network's in the checkpoint."""
    return f"network {number}"


def stop(kept: Mapping[int, Branch], team: Team) -> None:
    """After Ctrl-C: say what is kept, and leave no network without codes. KeyboardInterrupt where there is none."""
    if not kept:
        raise KeyboardInterrupt
    broken = {number: branch for number, branch in kept.items() if not branch.finished}
    counts = ", ".join(str(len(branch.history)) for branch in broken.values())
    names = f" of networks {', '.join(str(number) for number in broken)}" if len(broken) > 1 else ""
    found = f"the best of {counts} finished epochs{names} is kept" if broken else "finished networks are kept"
    team.say(f"stopped by hand: {found}")
    for number, branch in broken.items():
        if branch.recipe.learns_codes:
            branch.share_codes(team.watch_of(number))
