"""Active Directory: a stand-in LDAP server, and a real Samba domain where it is installed."""
