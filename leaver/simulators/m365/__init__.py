"""Microsoft 365 on loopback: login, Graph, Exchange's admin API, SharePoint, one shared tenant.

What no simulator can show, and this one does not claim: real replication times, the latency of continuous
access evaluation, the order in which the vendor processes licences.
"""

from leaver.simulators.m365.sample import CLIENT_ID, sample_tenant
from leaver.simulators.m365.simulator import Endpoints, M365Simulator
from leaver.simulators.m365.tenant import Delays, Tenant

__all__ = ["CLIENT_ID", "Delays", "Endpoints", "M365Simulator", "Tenant", "sample_tenant"]
