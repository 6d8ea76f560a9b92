"""On-premises Active Directory over LDAPS."""
