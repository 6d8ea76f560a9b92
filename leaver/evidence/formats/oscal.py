"""OSCAL assessment results: what was observed of each step, and what follows for the controls.

This is management's own test. A control is called satisfied only where every step that serves it was proven
by the system itself, in time, in every closed case, and no exception stands against it. Controls that need
more than the steps show are observed but not concluded upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from leaver.domain.words import CaseOutcome, Outcome, System
from leaver.evidence.formats import oscal_parts as parts
from leaver.evidence.formats.controls import TITLES, Control, Coverage, controls
from leaver.evidence.formats.json_types import Node
from leaver.evidence.formats.model import Anchors, CaseEvidence, ExceptionItem, Href, in_bundle
from leaver.evidence.formats.names import uid
from leaver.evidence.formats.oscal_parts import Scope, prop
from leaver.evidence.views import StepView

_PLAN_TEXT = (
    "Management's test of the leaver controls: for each control which records serve it, how they are tested"
    " and what they do not show. There is no separate assessment plan."
)
_FINISHED = frozenset({CaseOutcome.COMPLETED, CaseOutcome.COMPLETED_WITH_EXCEPTIONS})


def oscal_assessment_results(  # noqa: PLR0913 - four of them have defaults
    cases: Iterable[CaseEvidence],
    anchors: Anchors,
    scope: Scope,
    *,
    others: Sequence[ExceptionItem] = (),
    per_step: bool = True,
    href: Href = in_bundle,
) -> bytes:
    """Assessment results of these cases, as JSON (OSCAL 1.2.1). The same input gives the same bytes.

    ``cases`` is read once, so it may be a generator. ``others`` are exceptions of the installation, e.g. a
    leaver of HR without a case. With ``per_step`` false there is one observation per case and one for each
    step that was not proven in time, for periods of thousands. ``href`` says where a record's file lies.
    """
    gathered = _Gathered(per_step=per_step, href=href)
    for case in sorted(cases, key=lambda case: case.view.case):
        gathered.case(case)
    for item in others:
        gathered.other(item, anchors.at)
    return parts.dumps({"assessment-results": _document(gathered, anchors, scope)})


@dataclass
class _Tally:
    """What the cases say about one control."""

    control: Control
    observations: list[str] = field(default_factory=list)
    risks: list[str] = field(default_factory=list)
    results: int = 0
    proven: int = 0
    doubts: set[str] = field(default_factory=set)

    @property
    def satisfied(self) -> bool:
        return not self.doubts and self.results == self.proven


@dataclass
class _Gathered:
    per_step: bool
    href: Href
    observations: list[Node] = field(default_factory=list)
    risks: list[Node] = field(default_factory=list)
    accounts: dict[tuple[System, str], Node] = field(default_factory=dict)
    tallies: dict[str, _Tally] = field(default_factory=dict)
    cases: int = 0

    def case(self, case: CaseEvidence) -> None:
        self.cases += 1
        summary = "" if self.per_step else self._summary(case)
        shown = {step.step: self._step(case, step, summary) for step in case.view.steps}
        if case.view.outcome not in _FINISHED:
            self._doubt(shown, f"case {case.view.case} is {case.view.outcome.value}")
        for item in case.exceptions:
            self._exception(case, item, shown)

    def other(self, item: ExceptionItem, at: datetime) -> None:
        self.observations.append(parts.exception_observation(item, item.shown_by, at, self.href))
        self.risks.append(parts.risk(item, parts.exception_uid(item)))
        for tally in self.tallies.values():
            self._blame(tally, item, parts.exception_uid(item))

    def _step(self, case: CaseEvidence, step: StepView, summary: str) -> str:
        """Observe a step; returns the UUID of the observation that shows it, empty while nothing does."""
        place = case.place_of(step)
        good = step.outcome.proven and not step.late
        shown = summary if good and summary else ""
        if place and not shown:
            shown = parts.step_uid(case, step)
            self.observations.append(parts.step_observation(case, step, place, self.href))
            if step.account:
                key = (step.system, step.account)
                self.accounts.setdefault(key, parts.account_item(*key))
        for control in _served(step.step):
            tally = self.tallies.setdefault(control.ref, _Tally(control))
            tally.results += 1
            tally.proven += good
            if shown and shown not in tally.observations[-1:]:
                tally.observations.append(shown)
            if step.outcome is Outcome.PENDING:
                tally.doubts.add("a planned step has no result")
        return shown

    def _summary(self, case: CaseEvidence) -> str:
        """One observation for all the steps of a case that were proven in time."""
        view = case.view
        proven = sum(step.outcome.proven and not step.late for step in view.steps)
        name = uid("observation", view.case)
        told = f"Case {view.case} ({view.outcome.value}): {proven} of {len(view.steps)} steps proven in time."
        node: Node = {
            "uuid": name,
            "title": f"Case {view.case}",
            "description": told,
            "props": [prop("case", view.case), prop("outcome", view.outcome.value)],
            "methods": ["TEST", "EXAMINE"],
            "types": ["control-objective"],
            "origins": parts.actor(None),
            "relevant-evidence": parts.evidence_of(case.last, self.href),
            "collected": parts.instant(case.last.at),
        }
        self.observations.append(node)
        return name

    def _exception(self, case: CaseEvidence, item: ExceptionItem, shown: dict[str, str]) -> None:
        observation = shown.get(item.step or "", "")
        if not observation or item.cause == "drift":
            observation = parts.exception_uid(item)
            place = item.shown_by or case.last
            self.observations.append(parts.exception_observation(item, place, place.at, self.href))
        self.risks.append(parts.risk(item, observation))
        steps = [item.step] if item.step else list(shown)
        for ref in dict.fromkeys(control.ref for step in steps for control in _served(step)):
            if ref in self.tallies:
                self._blame(self.tallies[ref], item, observation)

    def _doubt(self, steps: Iterable[str], why: str) -> None:
        for ref in {control.ref for step in steps for control in _served(step)}:
            self.tallies[ref].doubts.add(why)

    @staticmethod
    def _blame(tally: _Tally, item: ExceptionItem, observation: str) -> None:
        tally.risks.append(parts.risk_uid(item))
        if observation not in tally.observations:
            tally.observations.append(observation)
        if not item.cured:
            tally.doubts.add(f"exception: {item.cause}")


def _served(step: str) -> tuple[Control, ...]:
    return _BY_STEP.get(step, ())


def _by_step() -> dict[str, tuple[Control, ...]]:
    """The controls that are concluded upon, by the steps that serve them."""
    concluded = [control for control in controls() if control.coverage is Coverage.DIRECT]
    names = dict.fromkeys(step for control in concluded for step in control.steps)
    return {name: tuple(control for control in concluded if name in control.steps) for name in names}


_BY_STEP = _by_step()


def _document(gathered: _Gathered, anchors: Anchors, scope: Scope) -> Node:
    name = (anchors.origin, str(anchors.size), anchors.root, scope.name)
    plan = uid("plan")
    told = _in_order(gathered.tallies)
    reviewed = [tally.control for tally in told] or list(_concluded())
    return parts.filled(
        {
            "uuid": uid("assessment-results", *name),
            "metadata": parts.metadata(f"Assessment results: {scope.title}", anchors),
            "import-ap": {"href": f"#{plan}", "remarks": _PLAN_TEXT},
            "local-definitions": _objectives(reviewed),
            "results": [_result(gathered, anchors, scope, told, reviewed)],
            "back-matter": {"resources": [_plan(plan)]},
        }
    )


def _in_order(tallies: dict[str, _Tally]) -> list[_Tally]:
    return [tallies[control.ref] for control in controls() if control.ref in tallies]


def _concluded() -> Iterable[Control]:
    return (control for control in controls() if control.coverage is Coverage.DIRECT)


def _result(
    gathered: _Gathered, anchors: Anchors, scope: Scope, told: Sequence[_Tally], reviewed: Sequence[Control]
) -> Node:
    name = (anchors.origin, str(anchors.size), anchors.root, scope.name)
    return parts.filled(
        {
            "uuid": uid("result", *name),
            "title": scope.title,
            "description": f"Management's test over {gathered.cases} cases. {parts.clean(anchors.claim)}",
            "start": parts.instant(scope.start),
            "end": parts.instant(scope.end),
            "props": parts.anchor_props(anchors),
            "local-definitions": parts.filled(
                {
                    "components": parts.system_components(),
                    "inventory-items": list(gathered.accounts.values()),
                    "assessment-assets": parts.assessment_assets(),
                }
            ),
            "reviewed-controls": _reviewed(reviewed),
            "observations": gathered.observations,
            "risks": gathered.risks,
            "findings": [
                _finding(scope, tally, target) for tally in told for target in targets(tally.control)
            ],
        }
    )


def targets(control: Control) -> tuple[str, ...]:
    """The objectives of a control: NIST's own ids, or one of ours for other frameworks."""
    return control.nist.objectives if control.nist else (f"{control.token}_obj",)


def control_id(control: Control) -> str:
    """The control's id in OSCAL: NIST's own, or a token of ours."""
    return control.nist.control if control.nist else control.token


def _finding(scope: Scope, tally: _Tally, target: str) -> Node:
    control = tally.control
    why = "; ".join(sorted(tally.doubts)) or f"{tally.results - tally.proven} results were not proven in time"
    if tally.satisfied:
        status: Node = {"state": "satisfied", "reason": "pass"}
    else:
        reason = "fail" if tally.risks else "other"
        status = {"state": "not-satisfied", "reason": reason, "remarks": parts.clean(why)}
    risks = dict.fromkeys(tally.risks)
    return parts.filled(
        {
            "uuid": uid("finding", scope.name, control.ref, target),
            "title": f"{control.framework}, {control.number}",
            "description": f"{control.subject} {tally.proven} of {tally.results} results proven in time.",
            "props": [
                prop("control", control.ref),
                prop("results", tally.results),
                prop("proven", tally.proven),
            ],
            "target": {
                "type": "objective-id",
                "target-id": target,
                "description": control.test,
                "status": status,
                "remarks": f"Does not show: {control.limits}",
            },
            "related-observations": [{"observation-uuid": one} for one in dict.fromkeys(tally.observations)],
            "related-risks": [{"risk-uuid": one} for one in risks],
        }
    )


def _reviewed(reviewed: Sequence[Control]) -> Node:
    selections: list[Node] = []
    for title in TITLES.values():
        own = [control for control in reviewed if control.framework == title]
        statements: dict[str, list[str]] = {}
        for control in own:
            statements.setdefault(control_id(control), []).extend(
                [control.nist.statement] if control.nist else []
            )
        include = [parts.filled({"control-id": key, "statement-ids": ids}) for key, ids in statements.items()]
        if include:
            selections.append({"description": title, "include-controls": include})
    objectives = [{"objective-id": target} for control in reviewed for target in targets(control)]
    return {
        "control-selections": selections,
        "control-objective-selections": [{"include-objectives": objectives}],
        "remarks": "Ids of NIST SP 800-53 are those of its catalogue; ids of other frameworks are ours.",
    }


def _objectives(reviewed: Sequence[Control]) -> Node:
    """Our own wording of what other frameworks want: their texts are copyrighted."""
    own: list[Node] = [
        {
            "control-id": control_id(control),
            "description": f"{control.framework}, {control.number}",
            "parts": [{"id": target, "name": "assessment-objective", "prose": control.subject}],
        }
        for control in reviewed
        if control.nist is None
        for target in targets(control)
    ]
    return {"objectives-and-methods": own} if own else {}


def _plan(uuid: str) -> Node:
    tests = "\n".join(
        f"- {control.framework} {control.number} ({control.coverage.value}): {control.test} Does not show:"
        f" {control.limits}"
        for control in controls()
    )
    return {"uuid": uuid, "title": "Management's test plan", "description": f"{_PLAN_TEXT}\n\n{tests}"}
