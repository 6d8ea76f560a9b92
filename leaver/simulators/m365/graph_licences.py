"""Licences in Microsoft Graph: all of a call or nothing, and inherited ones not at all (trap T56)."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from leaver.simulators.m365.graph_users import DEFAULTS, user_json, view_of, visible_user, writable_user
from leaver.simulators.m365.graph_wire import (
    CONTEXT,
    Json,
    bad_request,
    body_of,
    entity,
    is_guid,
    page,
    refuse,
)
from leaver.simulators.m365.state import Sku, User
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.routing import Call, Routes

_INHERITED = (
    "User license is inherited from a group membership and it cannot be removed directly from the user."
)
_NOT_ASSIGNED = "User does not have a corresponding license."


class LicenceRoutes:
    """Handlers of licences, products and the organisation."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        for name in ("assignLicense", "microsoft.graph.assignLicense"):
            routes.add("POST", f"/users/{{user}}/{name}", self.assign)
        routes.add("GET", "/users/{user}/licenseDetails", self.details)
        routes.add("GET", "/subscribedSkus", self.products)
        routes.add("GET", "/organization", self.organization)

    def assign(self, call: Call) -> Response:
        """Give and take direct licences; one bad SKU fails the whole call."""
        user, body = writable_user(self._tenant, call), body_of(call)
        add, remove = body.get("addLicenses"), body.get("removeLicenses")
        if not isinstance(add, list) or not isinstance(remove, list):
            missing = "addLicenses" if not isinstance(add, list) else "removeLicenses"
            text = f"One or more parameters of the operation 'assignLicense' are missing: '{missing}'."
            raise bad_request(call, text)
        added = [self._sku(call, item.get("skuId") if isinstance(item, dict) else item) for item in add]
        removed = [self._sku(call, item) for item in remove]
        for sku in removed:
            self._may_remove(call, user, sku)
        for sku in added:
            self._may_add(call, sku)
        self._tenant.set_direct_licences(user.id, add=[s.id for s in added], remove=[s.id for s in removed])
        changed = user_json(self._tenant.user(user.id))
        shown = {
            key: changed[key] for key in (*DEFAULTS, "accountEnabled", "assignedLicenses", "usageLocation")
        }
        return entity(shown, "users/$entity")

    def details(self, call: Call) -> Response:
        """The products in effect, each once."""
        user = visible_user(self._tenant, call)
        skus = (self._tenant.skus.get(sku) for sku in sorted({row.sku for row in user.licences}))
        items = [self._detail(user, sku) for sku in skus if sku is not None]
        return JSONResponse({"@odata.context": f"{CONTEXT}users('{user.id}')/licenseDetails", "value": items})

    def products(self, call: Call) -> Response:
        """What the organisation has bought; consumption lags like every read."""
        users = self._tenant.users.all(view_of(self._tenant, call))
        items = [self._product(sku, users) for sku in self._tenant.skus.all()]
        return JSONResponse({"@odata.context": CONTEXT + "subscribedSkus", "value": items})

    def organization(self, call: Call) -> Response:
        """The tenant itself."""
        domain = {"name": self._tenant.domain, "isDefault": True, "isInitial": False, "type": "Managed"}
        item = {"id": self._tenant.id, "displayName": "Northwind", "verifiedDomains": [domain]}
        return page(call, [item], "organization", size=self._tenant.page_size)

    def _sku(self, call: Call, sku_id: object) -> Sku:
        if not isinstance(sku_id, str) or not is_guid(sku_id):
            text = f"Cannot convert the literal '{sku_id}' to the expected type 'Edm.Guid'."
            raise refuse(call, 400, "BadRequest", text)
        sku = self._tenant.skus.get(sku_id.casefold())
        if sku is None:
            raise bad_request(call, f"License {sku_id} does not correspond to a valid company License.")
        return sku

    def _may_remove(self, call: Call, user: User, sku: Sku) -> None:
        rows = [row for row in user.licences if row.sku == sku.id]
        if any(row.by_group is None for row in rows):
            return
        raise bad_request(call, _INHERITED if rows else _NOT_ASSIGNED)

    def _may_add(self, call: Call, sku: Sku) -> None:
        used = sum(any(row.sku == sku.id for row in user.licences) for user in self._tenant.users.all())
        if used >= sku.enabled_units:
            text = f"Subscription with SKU {sku.id} does not have any available licenses."
            raise bad_request(call, text)

    def _detail(self, user: User, sku: Sku) -> Json:
        packed = uuid.UUID(user.id).bytes_le + uuid.UUID(sku.id).bytes_le
        return {
            "id": base64.urlsafe_b64encode(packed).decode("ascii").rstrip("="),
            "skuId": sku.id,
            "skuPartNumber": sku.part_number,
            "servicePlans": [_plan(plan.id, plan.name) for plan in sku.plans],
        }

    def _product(self, sku: Sku, users: list[User]) -> Json:
        return {
            "accountId": self._tenant.id,
            "accountName": "northwind",
            "appliesTo": "User",
            "capabilityStatus": "Enabled",
            "consumedUnits": sum(any(row.sku == sku.id for row in user.licences) for user in users),
            "id": f"{self._tenant.id}_{sku.id}",
            "prepaidUnits": {"enabled": sku.enabled_units, "suspended": 0, "warning": 0, "lockedOut": 0},
            "servicePlans": [_plan(plan.id, plan.name) for plan in sku.plans],
            "skuId": sku.id,
            "skuPartNumber": sku.part_number,
            "subscriptionIds": [sku.id],
        }


def _plan(plan_id: str, name: str) -> dict[str, Any]:
    return {
        "servicePlanId": plan_id,
        "servicePlanName": name,
        "provisioningStatus": "Success",
        "appliesTo": "User",
    }
