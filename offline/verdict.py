"""A difference in one sentence: what is replaced, deleted and stopped, what rolls out, and what it costs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from offline.diff import PlanDiff
from offline.predicted import WrittenCost, spans
from offline.stops import Stop, stop_of
from offline.subjects import Effect, Subject, asked_by, subjects

_NAMED = 2
"""So many are named, more are counted."""
_ASKED = {"served_name": "name", "url": "URL"}
_NO_CHANGE = "No differences."


@dataclass(frozen=True)
class Policy:
    """What the policy says of the plan: what it refuses, what it advises, and what of that it did not say before."""

    mandatory: Sequence[str] = ()
    advisory: Sequence[str] = ()
    new: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """A difference as people are told it: its subjects, what stops, what the policy says (None: it was not asked)."""

    diff: PlanDiff
    policy: Policy | None = None

    @cached_property
    def subjects(self) -> list[Subject]:
        """What the change does, the most dangerous first."""
        return sorted(self._found, key=lambda one: (one.effect.rank, one.kind == "model" and not self._stops(one)))

    @cached_property
    def stops(self) -> Mapping[str, Stop]:
        """What it means for those who ask the models, by model."""
        found = {one.name: stop_of(one, self.diff) for one in self._found if one.kind == "model"}
        return {name: stop for name, stop in found.items() if stop}

    @cached_property
    def _found(self) -> list[Subject]:
        return subjects(self.diff)

    def _stops(self, model: Subject) -> bool:
        return model.name in self.stops and self.stops[model.name].stops

    @property
    def is_new(self) -> bool:
        """Whether there was no such stack before."""
        return not self.diff.base.get("resources") and bool(self.diff.head.get("resources"))

    def sentence(self, mark: Callable[[str], str] = str) -> str:
        """All of it in one sentence; `mark` writes a name."""
        said = ["the policy refuses it"] if self.policy and self.policy.mandatory else []
        if not self.diff:
            return "; ".join([*said, _NO_CHANGE.rstrip(".").lower()])
        said += self._new(mark) if self.is_new else self._changed(mark)
        cost = cost_change(*self.diff.predictions.costs(), is_new=self.is_new)
        return "; ".join([*said, cost] if cost else said)

    def data(self) -> dict[str, Any]:
        """For scripts: the difference with its verdict, its subjects and what the policy says."""
        told = [
            {
                "kind": one.kind,
                "name": one.name,
                "effect": one.effect.value,
                "because": one.moved,
                "stop": vars(self.stops[one.name]) if one.kind == "model" and one.name in self.stops else None,
            }
            for one in self.subjects
        ]
        policy = {key: list(value) for key, value in vars(self.policy).items()} if self.policy else None
        return {"verdict": self.sentence(), "subjects": told, "policy": policy, **self.diff.data()}

    def _of(self, effect: Effect, *, models: bool | None = None) -> list[Subject]:
        return [one for one in self.subjects if one.effect is effect and models in {None, one.kind == "model"}]

    def _changed(self, mark: Callable[[str], str]) -> list[str]:
        said = []
        for effect in (Effect.REPLACED, Effect.DELETED):
            said += [f"{who} {_is(many)} {effect.value}" for who, many in _counted(self._of(effect), mark)]
        recreated = self._of(Effect.RECREATED)
        again, left = ([one for one in recreated if one.leaves_zone is leaves] for leaves in (False, True))
        said += [f"the nodes of {who} are recreated" for who, _ in _counted(again, mark)]
        said += [f"{who} {_loses(many)} the nodes of a zone" for who, many in _counted(left, mark)]
        paused = [one for one in self._of(Effect.STOPPED) if not one.moved]
        said += [f"{who} {_is(many)} paused" for who, many in _counted(paused, mark)]
        said += self._moved(mark)
        rolled = self._of(Effect.ROLLED_OUT)
        promoted = [one for one in rolled if one.built and not one.resources]
        built = [one for one in rolled if one.built and one.resources and not one.only_beside]
        digests = [one for one in rolled if one.digest]
        rest = [one for one in rolled if one not in promoted and one not in built and not one.digest]
        for group, one, more, what in (
            (digests, "rolls", "roll", " out to a new digest"),
            (built, "is built anew and rolls", "are built anew and roll", " out"),
            (promoted, "rolls", "roll", " out to what another stack builds anew"),
            (rest, "rolls", "roll", " out"),
        ):
            said += [f"{_models(group, one, more)}{what}{self._meanwhile(group)}"] if group else []
        said += self._asked_otherwise(mark)
        said += [f"{who} {_is(many)} updated" for who, many in _counted(self._of(Effect.UPDATED), mark)]
        said += [f"{who} {_is(many)} created" for who, many in _counted(self._of(Effect.CREATED), mark)]
        if not said:
            said.append("only outputs change")
        if not any(one.effect in {Effect.REPLACED, Effect.DELETED, Effect.RECREATED} for one in self.subjects):
            said.append("nothing is replaced or deleted")
        return said

    def _asked_otherwise(self, mark: Callable[[str], str]) -> list[str]:
        """The models whose callers have to change something."""
        found: dict[str, list[Subject]] = {}
        for one in self.subjects:
            new = _and([_ASKED[key] for key in asked_by(one, self.diff)])
            found.setdefault(new, []).append(one)
        return [
            f"callers of {who} need {'its' if many == 1 else 'their'} new {new}"
            for new, there in found.items()
            if new
            for who, many in _counted(there, mark)
        ]

    def _moved(self, mark: Callable[[str], str]) -> list[str]:
        """Of the models whose nodes go: who stops, and who has fewer pods."""
        there = [
            (one, self.stops[one.name]) for one in self._of(Effect.STOPPED) if one.moved and one.name in self.stops
        ]
        away = [one for one, stop in there if stop.stops]
        said = [f"{who} {_stop(many)}{self._how_long(away)}" for who, many in _counted(away, mark)]
        in_turn = [one for one, stop in there if stop.in_turn]
        said += [
            f"{who} {'has' if many == 1 else 'have'} fewer pods meanwhile" for who, many in _counted(in_turn, mark)
        ]
        return said

    def _meanwhile(self, group: Sequence[Subject]) -> str:
        away = [one for one in group if self._stops(one)]
        if not away:
            return ""
        who = " and" if len(away) == len(group) else f", {len(away)} of them"
        return f"{who} {_stop(len(away))}{self._how_long(away)}"

    def _how_long(self, away: Sequence[Subject]) -> str:
        known = [seconds for one in away if (seconds := self.stops[one.name].seconds)]
        if not known:
            return ""
        unknown = ", some not predicted" if len(known) < len(away) else ""
        return f" for {spans(min(least for least, _ in known), max(most for _, most in known))}{unknown}"

    def _new(self, mark: Callable[[str], str]) -> list[str]:
        counted = [who for who, _ in _counted(self._of(Effect.CREATED), mark, name=False)]
        return [f"a new stack: {_and(counted)}" if counted else "a new stack"]


def cost_change(before: WrittenCost | None, after: WrittenCost | None, *, is_new: bool = False) -> str:
    """What a change adds to the cost an hour, in words; "" where nothing is known of it."""
    if after is None or (before is None and not is_new):
        return ""
    old = before or WrittenCost(at_min=(0, 0), at_max=(0, 0), paused=(0, 0))
    found = {}
    for title, was, now in (("at min", old.at_min, after.at_min), ("at max", old.at_max, after.at_max)):
        if was is not None and now is not None:
            found[title] = _signed(sorted((now[0] - was[0], now[1] - was[1])))
    told = dict.fromkeys(found.values())
    said = next(iter(told)) if len(told) == 1 else ", ".join(f"{value} {title}" for title, value in found.items())
    without = f" without {_and(after.unpriced)}, which no price is known of" if after.unpriced else ""
    return f"{said}{without}" if said else ""


def _signed(range_: Sequence[float]) -> str:
    least, most = (f"{'-' if round(value, 2) < 0 else '+'}${abs(value):,.2f}" for value in range_)
    return f"{least}/h" if least == most else f"{least} to {most}/h"


def _counted(found: Iterable[Subject], mark: Callable[[str], str], *, name: bool = True) -> list[tuple[str, int]]:
    """Subjects of the same kind together: `pool l4`, `3 models`, with how many they are."""
    kinds: dict[str, list[Subject]] = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    said = []
    for kind, there in kinds.items():
        many = len(there)
        plural = kind if kind.endswith("s") else kind[:-1] + "ies" if kind.endswith("y") else f"{kind}s"
        if name and many <= _NAMED:
            said.append((f"{kind if many == 1 else plural} {_and([mark(one.name) for one in there])}", many))
        else:
            said.append((f"{many} {kind if many == 1 else plural}", many))
    return said


def _models(found: Sequence[Subject], one: str, more: str) -> str:
    return f"1 model {one}" if len(found) == 1 else f"{len(found)} models {more}"


def _stop(many: int) -> str:
    return "stops" if many == 1 else "stop"


def _loses(many: int) -> str:
    return "loses" if many == 1 else "lose"


def _is(many: int) -> str:
    return "is" if many == 1 else "are"


def _and(words: Sequence[str]) -> str:
    return "".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} and {words[-1]}"
