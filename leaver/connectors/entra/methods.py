"""Sign-in methods: each kind has its own endpoint; a generic delete does not exist (trap T25)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from msgraph.generated.models.authentication_method import AuthenticationMethod
from msgraph.generated.models.authentication_phone_type import AuthenticationPhoneType
from msgraph.generated.models.phone_authentication_method import PhoneAuthenticationMethod
from msgraph.generated.users.item.authentication.authentication_request_builder import (
    AuthenticationRequestBuilder,
)

from leaver.connectors.entra.protocol import AuthMethod

_PREFIX: Final = "#microsoft.graph."
_PASSWORD: Final = "passwordAuthenticationMethod"  # noqa: S105 - the name of a kind

Delete = Callable[[AuthenticationRequestBuilder, str], Awaitable[None]]

DELETE: Final[Mapping[str, Delete]] = {
    "phoneAuthenticationMethod": lambda auth, item: auth.phone_methods.by_phone_authentication_method_id(
        item
    ).delete(),
    "microsoftAuthenticatorAuthenticationMethod": lambda auth, item: (
        auth.microsoft_authenticator_methods.by_microsoft_authenticator_authentication_method_id(
            item
        ).delete()
    ),
    "fido2AuthenticationMethod": lambda auth, item: auth.fido2_methods.by_fido2_authentication_method_id(
        item
    ).delete(),
    "softwareOathAuthenticationMethod": lambda auth, item: (
        auth.software_oath_methods.by_software_oath_authentication_method_id(item).delete()
    ),
    "emailAuthenticationMethod": lambda auth, item: auth.email_methods.by_email_authentication_method_id(
        item
    ).delete(),
    "temporaryAccessPassAuthenticationMethod": lambda auth, item: (
        auth.temporary_access_pass_methods.by_temporary_access_pass_authentication_method_id(item).delete()
    ),
    "windowsHelloForBusinessAuthenticationMethod": lambda auth, item: (
        auth.windows_hello_for_business_methods.by_windows_hello_for_business_authentication_method_id(
            item
        ).delete()
    ),
    "platformCredentialAuthenticationMethod": lambda auth, item: (
        auth.platform_credential_methods.by_platform_credential_authentication_method_id(item).delete()
    ),
    "externalAuthenticationMethod": lambda auth, item: (
        auth.external_authentication_methods.by_external_authentication_method_id(item).delete()
    ),
}


def removable_methods(found: list[AuthenticationMethod]) -> tuple[AuthMethod, ...]:
    """Every method but the password, which is no method one could remove."""
    methods = (_method(item) for item in found)
    return tuple(method for method in methods if method.kind != _PASSWORD)


def _method(item: AuthenticationMethod) -> AuthMethod:
    kind = (item.odata_type or "unnamed").removeprefix(_PREFIX)
    # The vendor refuses to remove the mobile number while an alternate one exists.
    last = isinstance(item, PhoneAuthenticationMethod) and item.phone_type is AuthenticationPhoneType.Mobile
    return AuthMethod(id=item.id or "", kind=kind, removable=kind in DELETE, last=last)
