"""How Exchange Online's admin API puts things on the wire, and how it finds what ``Identity`` means.

The envelope is that of ``adminapi/beta/{tenant}/InvokeCommand``, which the vendor's PowerShell module speaks
and does not document: errors are JSON inside a string inside JSON, and the exception's type name is the
only thing to branch on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from leaver.simulators.m365.graph_wire import Json
from leaver.simulators.m365.state import Group, Mailbox, User
from leaver.simulators.m365.store import NEWEST, View
from leaver.simulators.m365.tenant import Tenant

NOT_FOUND: Final = "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException"
NOT_A_MEMBER: Final = "Microsoft.Exchange.Management.Tasks.MemberNotFoundException"
AMBIGUOUS: Final = "Microsoft.Exchange.Configuration.Tasks.ManagementObjectAmbiguousException"
BINDING: Final = "System.Management.Automation.ParameterBindingException"
NO_COMMAND: Final = "System.Management.Automation.CommandNotFoundException"
WRITE_SCOPE: Final = "Microsoft.Exchange.Configuration.Tasks.InvalidOperationInDehydratedContextException"
SYNCED: Final = (
    "Microsoft.Exchange.Data.Directory.SystemConfiguration.OverridingAllowCriticalADOperationException"
)
MANAGERS_ONLY: Final = "Microsoft.Exchange.Management.Tasks.OperationRequiresGroupManagerException"
TASK: Final = "Microsoft.Exchange.Management.RecipientTasks.RecipientTaskException"
_ERROR_CODES: Final = {
    NOT_FOUND: ("Ex6F9304", 404, "NotFound"),
    NOT_A_MEMBER: ("Ex7E6F70", 404, "NotFound"),
}


class CmdletError(Exception):
    """A cmdlet that ends with an error record."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name)
        self.type_name = type_name
        self.message = message


@dataclass(slots=True)
class Result:
    """What a cmdlet gives: objects and warnings."""

    value: list[Json] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Session:
    """One run of a cmdlet."""

    tenant: Tenant
    view: View
    parameters: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A parameter that must be there.

        Raises:
            CmdletError: it is not.
        """
        value = self.parameters.get(name)
        if not isinstance(value, str) or not value:
            text = "Cannot process command because of one or more missing mandatory parameters:"
            raise CmdletError(BINDING, f"{text} {name}.")
        return value

    def on(self, name: str) -> bool:
        """Whether a switch or Boolean parameter is set."""
        return self.parameters.get(name) is True

    # -- finding ------------------------------------------------------------------------------------------

    def user(self, identity: str, view: View = NEWEST) -> User:
        """A mailbox user or mail user.

        Raises:
            CmdletError: none, or more than one by that name.
        """
        wanted = identity.casefold()
        alive = [user for user in self.tenant.users.all(view) if user.deleted is None]
        exact = [u for u in alive if wanted in self._unique_names(u)]
        found = exact or [u for u in alive if wanted in (u.display_name.casefold(), _alias(u.upn))]
        if len(found) > 1:
            raise CmdletError(AMBIGUOUS, f"The operation couldn't be performed because '{identity}' matches "
                              "multiple entries.")  # fmt: skip
        if not found:
            raise missing(identity)
        return found[0]

    def mailbox(self, view: View = NEWEST) -> tuple[User, Mailbox]:
        """The mailbox that ``Identity`` means, with its user.

        Raises:
            CmdletError: there is none that is connected.
        """
        user = self.user(self.text("Identity"), view)
        mailbox = self.tenant.mailboxes.get(user.id, view)
        if mailbox is None or mailbox.soft_deleted is not None:
            raise missing(self.text("Identity"))
        return user, mailbox

    def list_group(self, identity: str, view: View = NEWEST) -> Group:
        """A distribution list or mail-enabled security group.

        Raises:
            CmdletError: none, or more than one by that name.
        """
        wanted = identity.casefold()
        groups = [group for group in self.tenant.groups.all(view) if group.mail_only]
        exact = [
            g
            for g in groups
            if wanted in (g.id, (g.mail or "").casefold(), group_dn(self.tenant, g).casefold())
        ]
        found = exact or [g for g in groups if wanted in (g.display_name.casefold(), g.key.casefold())]
        if len(found) > 1:
            raise CmdletError(AMBIGUOUS, f"The operation couldn't be performed because '{identity}' matches "
                              "multiple entries.")  # fmt: skip
        if not found:
            raise missing(identity)
        return found[0]

    def _unique_names(self, user: User) -> set[str]:
        names = {user.id, user.upn.casefold(), user_dn(self.tenant, user).casefold()}
        names |= {address.partition(":")[2].casefold() for address in user.proxy_addresses}
        mailbox = self.tenant.mailboxes.get(user.id)
        return names | ({mailbox.guid} if mailbox else set())


Cmdlet = Callable[[Session], Result]


def missing(identity: str) -> CmdletError:
    """The error for an object that is not there."""
    text = f"The operation couldn't be performed because object '{identity}' couldn't be found on"
    return CmdletError(NOT_FOUND, f"{text} 'FR2PR05A01DC003.EURPR05A001.PROD.OUTLOOK.COM'.")


def user_dn(tenant: Tenant, user: User) -> str:
    """The distinguished name, with the object id as common name as new mailboxes have it."""
    return f"CN={user.id},{_container(tenant)}"


def group_dn(tenant: Tenant, group: Group) -> str:
    """The distinguished name of a group."""
    return f"CN={group.display_name}{group.id[:8]},{_container(tenant)}"


def _container(tenant: Tenant) -> str:
    forest = "DC=EURPR05A001,DC=PROD,DC=OUTLOOK,DC=COM"
    return f"OU={tenant.domain},OU=Microsoft Exchange Hosted Organizations,{forest}"


def _alias(upn: str) -> str:
    return upn.partition("@")[0].casefold()


def succeeded(result: Result, context: str) -> Response:
    """200. Warnings ride along; an empty value is a success too."""
    body: Json = {"@odata.context": context, "value": result.value}
    if result.warnings:
        body["@adminapi.warnings"] = result.warnings
    return JSONResponse(body)


def failed(error: CmdletError, request_id: str) -> Response:
    """A cmdlet's error: what matters is JSON inside a string."""
    tag, status, code = _ERROR_CODES.get(error.type_name, ("Ex9B6A1C", 400, "BadRequest"))
    return JSONResponse({"error": error_body(error, code, tag, request_id)}, status)


def error_body(error: CmdletError, code: str, tag: str, request_id: str) -> Json:
    """The inside of ``error``."""
    message = f"|{error.type_name}|{error.message}"
    nested = {"Message": message, "TypeName": error.type_name, "StackTrace": None, "InnerError": None}
    context = {"DataClassification": "SystemMetadata", "Data": f"[Server=FR2PR05MB01,RequestId={request_id}]"}
    return {
        "code": code,
        "message": "Error executing cmdlet",
        "details": [
            {"code": "Context", "target": "", "message": tag + message},
            {"code": "Client", "target": "", "message": json.dumps(nested)},
        ],
        "innererror": {
            "message": "Error executing cmdlet",
            "type": "Microsoft.Exchange.Admin.OData.Core.ODataServiceException",
            "stacktrace": "",
            "context": context,
        },
    }
