"""Accounts, users, projects and tokens. Pure: the time is an argument; no I/O, no log."""

import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from otc_simulator.settings import Settings

RIGHTS = frozenset({"share", "get", "list", "quota", "security_administrator"})
IMS_RIGHTS = frozenset({"share", "get", "list", "quota"})

# Real tokens are kilobytes of base64 CMS (reference, 1.2): clients and proxies must cope.
_TOKEN_HEAD = "MII" + "A" * 2045


def new_hex_id() -> str:
    """Return 32 lower-case hex digits: the form of project, user and job ids."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: str
    name: str
    account_id: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: str
    name: str
    account_id: str
    password: str = field(repr=False)
    programmatic: bool = True
    enabled: bool = True
    password_expired: bool = False
    rights: Mapping[str, frozenset[str]] | None = None
    """Rights by project id; None: every IMS right in every project of the account."""
    agent_operator: bool = False
    """May assume agencies of other accounts that trust its own (reference, 1.6)."""

    def has_role(self, project_id: str) -> bool:
        """Whether the user has any right in a project of the account."""
        return self.rights is None or bool(self.rights.get(project_id))

    def may(self, right: str, project_id: str) -> bool:
        if self.rights is None:
            return right in IMS_RIGHTS
        return right in self.rights.get(project_id, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key that signs requests; with a security token it is a temporary one."""

    id: str
    user_id: str
    secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    enabled: bool = True

    def ended(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCredential:
    """Logs a user in to one project, without the password."""

    id: str
    user_id: str
    project_id: str
    secret: str = field(repr=False)
    expires_at: datetime | None = None

    def ended(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """Lets users of another account act for this one.

    Its tokens belong to a user of its own, which can't log in and has the rights of the agency.
    """

    name: str
    account_id: str
    trusted_account_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """Whose ID tokens an account accepts; ``users`` has the ID of the mapped user by subject."""

    id: str
    account_id: str
    issuer: str
    audience: str
    jwks: Mapping[str, Any]
    users: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    value: str = field(repr=False)
    user_id: str
    account_id: str
    project_id: str | None
    """None: scoped to the account (domain)."""
    region: str | None
    issued_at: datetime
    expires_at: datetime
    dead_from: datetime | None = None
    unscoped: bool = False
    assumed_by: str | None = None
    """The user who assumed the agency; None for other tokens."""
    federated_by: str | None = None
    """The identity provider of the user; None for other tokens."""

    def alive(self, now: datetime) -> bool:
        return now < self.expires_at and (self.dead_from is None or now < self.dead_from)


class LoginFailure(Enum):
    WRONG = auto()
    LOCKED = auto()
    CONSOLE_ONLY = auto()
    DISABLED = auto()
    PASSWORD_EXPIRED = auto()


class Directory:
    """Who there is, and which tokens are out. Every look-up is by key."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.access_keys: dict[str, AccessKey] = {}
        self.application_credentials: dict[str, ApplicationCredential] = {}
        self.agencies: dict[tuple[str, str], Agency] = {}
        """By account and name."""
        self.identity_providers: dict[str, IdentityProvider] = {}
        self._account_ids: dict[str, str] = {}
        self._project_ids: dict[tuple[str, str], str] = {}
        self._user_ids: dict[tuple[str, str], str] = {}
        self._failures: dict[str, deque[datetime]] = {}
        self._locked_until: dict[str, datetime] = {}
        self._key_failures: dict[str, int] = {}
        self._key_locked_until: dict[str, datetime] = {}

    def put_account(self, account: Account) -> None:
        self.accounts[account.id] = account
        self._account_ids[account.name] = account.id

    def put_project(self, project: Project) -> None:
        self.projects[project.id] = project
        self._project_ids[project.account_id, project.name] = project.id

    def put_user(self, user: User) -> None:
        self.users[user.id] = user
        self._user_ids[user.account_id, user.name] = user.id

    def account_named(self, name: str) -> Account | None:
        return self.accounts.get(self._account_ids.get(name, ""))

    def project_named(self, account_id: str, name: str) -> Project | None:
        return self.projects.get(self._project_ids.get((account_id, name), ""))

    def user_named(self, account_id: str, name: str) -> User | None:
        return self.users.get(self._user_ids.get((account_id, name), ""))

    def check_password(
        self, user: User | None, password: str, *, now: datetime, settings: Settings
    ) -> User | LoginFailure:
        """Check a login; failures are counted and lock the user (reference, 1.3)."""
        if user is None:
            return LoginFailure.WRONG
        if now < self._locked_until.get(user.id, now):
            return LoginFailure.LOCKED
        if not secrets.compare_digest(user.password.encode(), password.encode()):
            self._count_failure(user.id, now, settings)
            return LoginFailure.WRONG
        self._failures.pop(user.id, None)
        if not user.enabled:
            return LoginFailure.DISABLED
        if not user.programmatic:
            return LoginFailure.CONSOLE_ONLY
        if user.password_expired:
            return LoginFailure.PASSWORD_EXPIRED
        return user

    def _count_failure(self, user_id: str, now: datetime, settings: Settings) -> None:
        recent = self._failures.setdefault(user_id, deque())
        recent.append(now)
        oldest = now - timedelta(seconds=settings.lockout_window_seconds)
        while recent[0] <= oldest:
            recent.popleft()
        if len(recent) >= settings.lockout_attempts:
            self._locked_until[user_id] = now + timedelta(seconds=settings.lockout_seconds)
            recent.clear()

    def key_locked(self, key_id: str, now: datetime) -> bool:
        """Say whether a key is locked; counting starts again at the end of the lock."""
        until = self._key_locked_until.get(key_id)
        if until is not None and now >= until:
            self.unlock_key(key_id)
        return until is not None and now < until

    def count_key(self, key_id: str, now: datetime, settings: Settings, *, good: bool) -> None:
        """Count a use of a key; more than so many failures in a row lock it (reference, 1.7)."""
        if good:
            self._key_failures.pop(key_id, None)
            return
        failures = self._key_failures[key_id] = self._key_failures.get(key_id, 0) + 1
        if failures > settings.key_lock_attempts:
            self._key_locked_until[key_id] = now + timedelta(seconds=settings.key_lock_seconds)

    def unlock_key(self, key_id: str) -> None:
        self._key_failures.pop(key_id, None)
        self._key_locked_until.pop(key_id, None)

    def issue(
        self,
        user: User,
        project: Project | None,
        *,
        now: datetime,
        settings: Settings,
        **more: Any,
    ) -> Token:
        token = Token(
            value=_TOKEN_HEAD + secrets.token_urlsafe(48),
            user_id=user.id,
            account_id=user.account_id,
            project_id=project.id if project else None,
            region=project.region if project else None,
            issued_at=now,
            expires_at=now + timedelta(seconds=settings.token_ttl_seconds),
            **more,
        )
        self.tokens[token.value] = token
        return token

    def kill_tokens(self, tokens: Iterable[Token], at: datetime) -> None:
        """Let ``tokens`` stop working at ``at``; one that dies earlier is left alone."""
        for token in tuple(tokens):
            if token.dead_from is None or at < token.dead_from:
                self.tokens[token.value] = replace(token, dead_from=at)

    def change_user(self, user: User, *, now: datetime, settings: Settings) -> None:
        """Replace a user; older tokens die after the grace time (reference, 1.3)."""
        self.put_user(user)
        mine = (token for token in self.tokens.values() if token.user_id == user.id)
        self.kill_tokens(mine, now + timedelta(seconds=settings.invalidation_seconds))

    def unlock(self, user_id: str) -> None:
        self._failures.pop(user_id, None)
        self._locked_until.pop(user_id, None)
