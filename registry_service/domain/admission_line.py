"""The stable names of the admission table's lines.

A name is part of the contract: it is told in answers, in Diagnose, in metrics and in the audit.
Where a line stands in the table is only the order of reading.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class AdmissionLine(StrEnum):
    """Which line of the table answered. The last three are not in the table; code around it uses
    them.
    """

    LIVE_TOKEN = "LIVE_TOKEN"
    TICKET = "TICKET"
    TICKET_AGAIN = "TICKET_AGAIN"
    REPLAY = "REPLAY"
    TICKET_AND_TOKEN = "TICKET_AND_TOKEN"
    SUPERSEDED = "SUPERSEDED"
    FENCED = "FENCED"
    COMPROMISED = "COMPROMISED"
    NEWER_TICKET = "NEWER_TICKET"
    ANOTHER_LIVES = "ANOTHER_LIVES"
    API_TOKEN = "API_TOKEN"
    TICKET_REDEEMED = "TICKET_REDEEMED"
    OWN_TOKEN = "OWN_TOKEN"
    TICKET_EXPIRED = "TICKET_EXPIRED"
    TICKET_NEEDED = "TICKET_NEEDED"
    OPEN_DOOR = "OPEN_DOOR"
    UNKNOWN = "UNKNOWN"
    RETIRED = "RETIRED"
    # Only a heartbeat is answered this: it came without an instance token of this workspace.
    NO_TOKEN = "NO_TOKEN"
