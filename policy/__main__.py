"""The policy pack: `pulumi preview --policy-pack policy`. The rules are in `rules.py`, which needs no engine.

The engine runs this folder as a script, and making the pack starts a server that ends with it. A person who starts it,
with `python -m policy`, is told what it is.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi_policy as engine
from pulumi_policy.proxy import UnknownValueError

if __package__ or {"-h", "--help"} & {*sys.argv[1:]}:
    print(__doc__.partition("\n")[0] + "\n`oms policy` checks a stack's plan against the same rules, without engine.")
    sys.exit(0 if {"-h", "--help"} & {*sys.argv[1:]} else 2)

# The engine starts this folder by itself: the project above it holds the rules' package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policy.declared import Declared
from policy.rules import RULES, Rule


def _plain(read: Any) -> Any:
    """Plain data for the rules: the engine's mappings raise where a value is not known yet."""
    if isinstance(read, Mapping):
        return {key: _at(read, key) for key in read}
    if isinstance(read, Sequence) and not isinstance(read, str):
        return [_at(read, index) for index in range(len(read))]
    return read


def _at(read: Any, key: Any) -> Any:
    try:
        return _plain(read[key])
    except UnknownValueError:
        return "known after a real run"


def _level(rule: Rule) -> engine.EnforcementLevel:
    return engine.EnforcementLevel.MANDATORY if rule.mandatory else engine.EnforcementLevel.ADVISORY


def _policy(rule: Rule) -> engine.Policy:
    if rule.stack_check is not None:
        stack_check = rule.stack_check

        def validate_stack(args: engine.StackValidationArgs, report: engine.ReportViolation) -> None:
            declared = {
                resource.urn: Declared(resource.resource_type, resource.name, _plain(resource.props))
                for resource in args.resources
            }
            stack = next(iter(declared), "urn:pulumi:unknown").split("::")[0].rsplit(":", 1)[-1]
            urns = {id(resource): urn for urn, resource in declared.items()}
            for resource, message in stack_check(list(declared.values()), stack):
                report(message, urns[id(resource)])

        return engine.StackValidationPolicy(rule.name, rule.description, validate_stack, _level(rule))

    resource_check = rule.resource_check
    assert resource_check is not None  # noqa: S101 - a rule has one of the two

    def validate(args: engine.ResourceValidationArgs, report: engine.ReportViolation) -> None:
        for message in resource_check(args.resource_type, args.name, _plain(args.props)):
            report(message, None)

    return engine.ResourceValidationPolicy(rule.name, rule.description, validate, _level(rule))


engine.PolicyPack("oci-model-serving", [_policy(rule) for rule in RULES])
