"""The sample company as a tenant."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from leaver.simulators.company import (
    DOMAIN,
    GROUPS,
    PEOPLE,
    SKUS,
    TENANT_ID,
    SampleGroup,
    SamplePerson,
    stable_id,
)
from leaver.simulators.m365.state import (
    AppRegistration,
    AuthMethod,
    Drive,
    Group,
    Licence,
    Mailbox,
    MailboxRight,
    MethodKind,
    ServicePlan,
    SiteUser,
    Sku,
    User,
)
from leaver.simulators.m365.tenant import Delays, Tenant

CLIENT_ID: Final = stable_id("app", "leaver")
_FOUNDED: Final = 1_577_836_800.0  # 2020-01-01, so that every date of the sample lies in the past
_PLANS: Final[dict[str, tuple[str, ...]]] = {
    "SPE_E3": ("EXCHANGE_S_ENTERPRISE", "SHAREPOINTENTERPRISE", "TEAMS1", "OFFICESUBSCRIPTION"),
    "POWER_BI_PRO": ("BI_AZURE_P2",),
    "EMSPREMIUM": ("AAD_PREMIUM_P2", "INTUNE_A"),
    "VISIOCLIENT": ("VISIOONLINE", "VISIO_CLIENT_SUBSCRIPTION"),
}


def sample_tenant(
    *,
    people: Iterable[SamplePerson] = PEOPLE,
    delays: Delays | None = None,
    immutable_ids: Mapping[str, str] | None = None,
) -> Tenant:
    """The sample company, fresh.

    Args:
        people: who works there; tests may add their own.
        delays: how long things take; the defaults keep a test under a second or two.
        immutable_ids: ``onPremisesImmutableId`` by employee number, where a real domain controller chose the
            objectGUIDs.
    """
    people = tuple(people)
    tenant = Tenant(TENANT_ID, domain=DOMAIN, delays=delays)
    tenant.apps.seed(
        AppRegistration(id=CLIENT_ID, secret=secrets.token_urlsafe(30), token_key=secrets.token_hex(32))
    )
    for name, sku_id in SKUS.items():
        tenant.skus.seed(_sku(name, sku_id))
    for group in GROUPS:
        tenant.groups.seed(_group(group, people))
    for person in people:
        user = _user(person, immutable_ids or {})
        tenant.users.seed(user)
        if tenant.has_mailbox_licence(user):
            tenant.mailboxes.seed(_mailbox(user))
            tenant.drives.seed(_drive(user))
    return tenant


def _sku(name: str, sku_id: str) -> Sku:
    plans = [ServicePlan(id=stable_id("plan", plan), name=plan) for plan in _PLANS[name]]
    return Sku(id=sku_id, part_number=name, plans=plans)


def _group(group: SampleGroup, people: tuple[SamplePerson, ...]) -> Group:
    mail_enabled = group.kind in ("unified", "mail_security", "distribution")
    return Group(
        id=group.object_id,
        key=group.key,
        display_name=group.key.replace("-", " ").title(),
        mail=f"{group.key}@{DOMAIN}" if mail_enabled else None,
        mail_enabled=mail_enabled,
        security_enabled=group.kind not in ("unified", "distribution"),
        unified=group.kind == "unified",
        dynamic=group.kind == "dynamic",
        synced=group.kind == "synced",
        role_assignable=group.kind == "role_assignable",
        licences=[SKUS[name] for name in group.licences],
        members=[p.object_id for p in people if group.key in p.groups],
        created=_FOUNDED,
    )


def _user(person: SamplePerson, immutable_ids: Mapping[str, str]) -> User:
    manager = None if person.manager is None else stable_id("user", person.manager)
    return User(
        id=person.object_id,
        upn=person.user_name,
        display_name=person.display_name,
        given_name=person.given_name,
        surname=person.surname,
        mail=person.user_name,
        proxy_addresses=[f"SMTP:{person.user_name}"],
        employee_id=person.number,
        department=person.department,
        manager=manager,
        created=_FOUNDED,
        password_changed=_FOUNDED,
        sessions_valid_from=_FOUNDED,
        synced=person.hybrid,
        immutable_id=immutable_ids.get(person.number, person.immutable_id) if person.hybrid else None,
        last_sync=_FOUNDED if person.hybrid else None,
        methods=_methods(person),
        licences=_licences(person),
    )


def _methods(person: SamplePerson) -> list[AuthMethod]:
    password = AuthMethod(
        id="28c10230-6103-485e-b985-444c60001490",  # Microsoft's fixed id of every user's password method
        kind=MethodKind.PASSWORD,
        created=_FOUNDED,
    )
    others = [
        AuthMethod(
            id=stable_id("method", person.number, kind, str(index)),
            kind=MethodKind(kind),
            default=index == 0,
            created=_FOUNDED,
        )
        for index, kind in enumerate(person.auth_methods)
    ]
    return [password, *others]


def _licences(person: SamplePerson) -> list[Licence]:
    direct = [Licence(sku=SKUS[name], updated=_FOUNDED) for name in person.direct_licences]
    by_group = [
        Licence(sku=SKUS[name], by_group=group.object_id, updated=_FOUNDED)
        for group in GROUPS
        if group.key in person.groups
        for name in group.licences
    ]
    return [*direct, *by_group]


def _mailbox(user: User) -> Mailbox:
    return Mailbox(
        id=user.id,
        guid=stable_id("mailbox", user.id),
        rights=[MailboxRight(trustee="NT AUTHORITY\\SELF", rights=["FullAccess", "ReadPermission"])],
    )


def _drive(user: User) -> Drive:
    site_id = stable_id("site", user.id)
    packed = base64.urlsafe_b64encode(uuid.UUID(site_id).bytes + uuid.UUID(user.id).bytes).decode("ascii")
    folder = user.upn.replace("@", "_").replace(".", "_")
    return Drive(
        id="b!" + packed.rstrip("="),
        owner=user.id,
        site_path=f"/personal/{folder}",
        site_id=site_id,
        web_id=stable_id("web", user.id),
        list_id=stable_id("list", user.id),
        created=_FOUNDED,
        site_users=[SiteUser(id=3, user=user.id, is_admin=True)],
    )
