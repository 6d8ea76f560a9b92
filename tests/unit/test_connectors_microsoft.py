"""Small facts of the Microsoft connectors: settings, anchors, sizes, error bodies, what the guard reads."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from leaver.connectors.entra.models import object_guid
from leaver.connectors.errors import AccessDenied, ConnectorError, InvalidCredentials, Rejected, Unavailable
from leaver.connectors.exchange.client import plain_text, size_in_bytes
from leaver.connectors.exchange.cmdlets import cmdlet_error, describe_exchange, error_inside
from leaver.connectors.locators import Locators
from leaver.connectors.microsoft import GraphEndpoint, MicrosoftApp
from leaver.connectors.onedrive.client import describe_sharepoint

LEAVER = "aaaaaaaa-0000-4000-8000-000000000001"
SUCCESSOR = "bbbbbbbb-0000-4000-8000-000000000002"
SITE = "https://sp.example/personal/somebody"
CLAIM = "i:0#.f|membership|successor@northwind.example"


def test_settings_refuse_what_cannot_work() -> None:
    with pytest.raises(ValueError, match="client_secret"):
        MicrosoftApp("t", "c")
    with pytest.raises(ValueError, match="authority"):
        MicrosoftApp("t", "c", SecretStr("s"), authority="http://login.example")
    with pytest.raises(ValueError, match="graph_url"):
        GraphEndpoint("http://graph.example/v1.0")
    assert GraphEndpoint("http://127.0.0.1:1/v1.0").url
    assert "s3cret" not in repr(MicrosoftApp("t", "c", SecretStr("s3cret")))
    assert MicrosoftApp(
        "t", "c", certificate_file=Path("x.pem"), authority="https://127.0.0.1"
    ).private_authority


def test_the_sync_anchor_is_a_guid_in_windows_order() -> None:
    guid = uuid.uuid4()
    assert object_guid(base64.b64encode(guid.bytes_le).decode()) == str(guid)
    assert object_guid("not base64!") is None
    assert object_guid(base64.b64encode(b"E1001").decode()) is None
    assert object_guid(None) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12.3 GB (13,204,112,345 bytes)", 13_204_112_345),
        ("0 B (0 bytes)", 0),
        ("12,3 GB (13.204.112.345 bytes)", 13_204_112_345),
        ("Unlimited", None),
        (None, None),
    ],
)
def test_sizes(text: str | None, size: int | None) -> None:
    assert size_in_bytes(text) == size


def test_markup_goes_text_stays() -> None:
    assert plain_text("<html>\r\n<body>\r\nR&amp;D &lt;team&gt;\r\n</body></html>") == "R&D <team>"


def cmdlet(name: str, **parameters: object) -> httpx.Request:
    body = {"CmdletInput": {"CmdletName": name, "Parameters": parameters}}
    return httpx.Request("POST", "https://exo.example/adminapi/beta/t/InvokeCommand", json=body)


@pytest.mark.parametrize(
    ("request_", "mutating", "people"),
    [
        (cmdlet("Get-Mailbox", Identity=LEAVER), False, set()),
        (cmdlet("Set-Mailbox", Identity=LEAVER, Type="Shared"), True, {LEAVER}),
        (cmdlet("Add-MailboxPermission", Identity=LEAVER, User=SUCCESSOR), True, {LEAVER, SUCCESSOR}),
        (cmdlet("Add-MailboxPermission", Identity=LEAVER), True, set()),
        (cmdlet("Remove-DistributionGroupMember", Identity="g", Member=LEAVER), True, {LEAVER}),
        (cmdlet("Remove-Mailbox", Identity=LEAVER), True, set()),
        (cmdlet("GetAway-Mailbox", Identity=LEAVER), True, set()),
        (cmdlet(""), True, set()),
    ],
)
def test_only_get_and_test_are_reads(request_: httpx.Request, mutating: bool, people: set[str]) -> None:
    call = describe_exchange(request_)
    assert (call.mutating, call.objects) == (mutating, people)


def refused(status: int, type_name: str = "", text: str | None = None) -> ConnectorError:
    nested = json.dumps({"Message": "|x|y", "TypeName": type_name, "StackTrace": None, "InnerError": None})
    details = [{"code": "Context", "target": "", "message": "Ex1"}, {"code": "Client", "message": nested}]
    body = {"error": {"code": "BadRequest", "message": "Error executing cmdlet", "details": details}}
    content = json.dumps(body) if text is None else text
    return cmdlet_error(httpx.Response(status, text=content, headers={"Retry-After": "3"}), "Set-Mailbox")


def test_exchange_errors_branch_on_the_nested_type() -> None:
    gone = refused(404, "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException")
    assert isinstance(gone, Rejected)
    assert (gone.code, gone.status) == ("ManagementObjectNotFoundException", 404)
    other = refused(400, "Microsoft.Exchange.Management.RecipientTasks.RecipientTaskException")
    assert isinstance(other, Rejected)
    assert other.status == 400
    busy = refused(400, "Microsoft.Exchange.Data.Storage.ServerBusyException")
    assert isinstance(busy, Unavailable)
    assert busy.retry_after == 3
    assert isinstance(refused(401, text=""), InvalidCredentials)
    assert isinstance(refused(403, text="The role assigned"), AccessDenied)
    assert isinstance(refused(400, text="<html>gateway</html>"), Rejected)


def test_errors_inside_a_success() -> None:
    assert error_inside({"value": []}, "Get-Mailbox") is None
    found = error_inside(
        {"value": [], "@adminapi.errors": [{"TypeName": "A.B.SomeException"}]}, "Get-Mailbox"
    )
    assert isinstance(found, Rejected)
    assert found.code == "SomeException"


def sharepoint(path: str, locators: Locators | None, **more: object) -> httpx.Request:
    extensions = locators.extensions if locators else None
    return httpx.Request("POST", f"{SITE}/_api/web/{path}", extensions=extensions, **more)  # type: ignore[arg-type]


def test_sharepoint_names_stand_for_whom_they_were_read() -> None:
    known = Locators()
    known.learn(SITE, LEAVER)
    known.learn(CLAIM, SUCCESSOR)
    known.learn(f"{SITE}#7", SUCCESSOR)
    merge = {"X-HTTP-Method": "MERGE"}
    both = {LEAVER, SUCCESSOR}

    def people(request: httpx.Request) -> set[str]:
        call = describe_sharepoint(request)
        assert call.mutating
        return set(call.objects)

    assert people(sharepoint("ensureuser", known, json={"logonName": CLAIM})) == both
    assert people(sharepoint("getuserbyid(7)", known, headers=merge, json={"IsSiteAdmin": True})) == both
    # A name nobody asked for, an entry of somebody else, another site, no note at all: nobody, so refused.
    assert people(sharepoint("ensureuser", known, json={"logonName": "i:0#.f|membership|x@y"})) == set()
    assert people(sharepoint("getuserbyid(8)", known, headers=merge)) == set()
    assert people(sharepoint("getuserbyid(7)", known)) == set()
    assert people(sharepoint("ensureuser", None, json={"logonName": CLAIM})) == set()
    assert people(sharepoint("siteusers/removebyid(7)", known)) == set()
