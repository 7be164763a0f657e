"""Wiring of the rules: where their files are, and what follows or keeps them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.core.decisions import Asked
from app.core.policy import Explanation
from app.ports import ProjectRules, RuleBook
from app.services.rule_keeping import RuleKeeper
from config.settings import Settings, admin_policies

if TYPE_CHECKING:
    from app.adapters.policy_files import Place, PolicyWatcher
    from app.adapters.project_rules import RootFiles
    from app.adapters.stored_scripts import StoredScripts

PROJECT_RULES: Final = "project-rules"
"""Folder in the home where the project's own rule file lies as it was last found to hold."""


def rule_places(policies: Path, home: Path | None) -> "list[Place]":
    """Where the rules of a project are: the default pack, the project's own as it was last found to hold, the user's
    in the home, the administrator's.
    """
    from app.adapters.policy_files import Place
    from app.core.policy.source import Tier

    project = [Place(home / PROJECT_RULES, Tier.PROJECT), Place(home / "policies", Tier.USER)] if home else []
    return [Place(policies), *project, *[Place(path, Tier.ADMIN) for path in admin_policies()]]


def project_rules(settings: Settings, store: "RootFiles | None" = None) -> ProjectRules:
    """The project's own rule file: as `store` has it, and as it is in force."""
    from app.adapters.project_rules import FolderProjectRules

    return FolderProjectRules(settings.home / PROJECT_RULES, store)


def rule_keeper(settings: Settings, store: "RootFiles") -> RuleKeeper:
    """What brings the project's own rules into force and keeps the last versions."""
    from app.adapters.project_rules import PROJECT_FILE

    book = rule_book(settings.policies, settings.home)
    return RuleKeeper(book, project_rules(settings, store), PROJECT_FILE)


def rule_book(policies: Path, home: Path | None) -> RuleBook:
    """The rules as files, and their last versions; `home` is None where there is no project."""
    from app.adapters.rule_book import FolderRuleBook

    return FolderRuleBook(rule_places(policies, home), home)


def policy(settings: Settings, *, sees: bool = False, scripts: "StoredScripts | None" = None) -> "PolicyWatcher":
    """The rules in force, which follow their files; every judgement blocks while none could be loaded. Who `sees` looks
    at branch and time where rules ask for them, and at scripts: not the gateway, whose event loop must not wait.
    """
    return policy_at(settings.policies, settings.home, sees=sees, scripts=scripts)


def stored_scripts(settings: Settings) -> "StoredScripts":
    """The project's scripts as the store has them, reading role."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.scripts import STATEMENT_MS, PostgresScripts
    from app.adapters.stored_scripts import StoredScripts
    from app.services.status import mount_places

    pool = open_pool(settings.reader_url, 1, name="weir scripts", statement_ms=STATEMENT_MS)
    store = PostgresScripts(pool, settings.project)
    return StoredScripts(store, lambda: [place.path for place in mount_places(settings)])


def policy_at(
    policies: Path, home: Path | None, *, sees: bool, scripts: "StoredScripts | None" = None
) -> "PolicyWatcher":
    """As `policy`, where there may be no project; creates nothing."""
    from app.adapters.policy_files import PolicyWatcher
    from app.adapters.rule_book import VERSIONS
    from app.adapters.rule_versions import RuleVersions
    from app.adapters.surroundings import Surroundings
    from app.core.policy import NOWHERE

    world = Surroundings(scripts) if sees else NOWHERE
    if home is None:
        return PolicyWatcher(rule_places(policies, home), world)
    return PolicyWatcher(rule_places(policies, home), world, RuleVersions(home / VERSIONS).last)


def explaining(rules: "PolicyWatcher", scripts: "StoredScripts") -> Callable[[Asked], Explanation]:
    """What explains calls by rules that are in force, looking at what a worker looks at; it may wait."""
    from app.adapters.surroundings import Surroundings

    world = Surroundings(scripts)
    return lambda call: rules.explain(call, world)


def why_rules_do_not_load(settings: Settings) -> str:
    """Say why the rule files as they are cannot come into force; '' where they can."""
    from app.adapters.policy_files import why_not_loaded

    return why_not_loaded(rule_places(settings.policies, settings.home))
