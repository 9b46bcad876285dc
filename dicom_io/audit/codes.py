"""The codes of DICOM audit messages, from PS3.15 A.5 and the context groups of PS3.16."""

from dataclasses import dataclass

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE, MAJOR_FAILURE = 0, 4, 8, 12
"""EventOutcomeIndicator, PS3.15 Table A.5.2-1. Of a security alert, 4 and 8 mean that security was maintained, 12 that
it may not have been (A.5.3.11)."""

CREATED, READ, UPDATED, EXECUTED = "C", "R", "U", "E"
"""EventActionCode, PS3.15 Table A.5.2-1."""


@dataclass(frozen=True)
class AuditCode:
    """A coded value. `meaning` is written as originalText, which corresponds to Code Meaning (PS3.15 A.5.1.1)."""

    value: str
    meaning: str
    scheme: str = "DCM"


# PS3.16 CID 400, Audit Event ID
APPLICATION_ACTIVITY = AuditCode("110100", "Application Activity")
AUDIT_LOG_USED = AuditCode("110101", "Audit Log Used")
BEGIN_TRANSFERRING = AuditCode("110102", "Begin Transferring DICOM Instances")
INSTANCES_TRANSFERRED = AuditCode("110104", "DICOM Instances Transferred")
SECURITY_ALERT = AuditCode("110113", "Security Alert")
# CID 401, Audit Event Type Code; the last four also belong to CID 403, Security Alert Type Code
APPLICATION_START = AuditCode("110120", "Application Start")
APPLICATION_STOP = AuditCode("110121", "Application Stop")
NODE_AUTHENTICATION = AuditCode("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = AuditCode("110131", "Software Configuration")
USE_OF_RESTRICTED_FUNCTION = AuditCode("110132", "Use of Restricted Function")
OBJECT_SECURITY_ATTRIBUTES_CHANGED = AuditCode("110135", "Object Security Attributes Changed")
# CID 402, Audit Active Participant Role ID Code
APPLICATION = AuditCode("110150", "Application")
APPLICATION_LAUNCHER = AuditCode("110151", "Application Launcher")
DESTINATION_ROLE = AuditCode("110152", "Destination Role ID")
SOURCE_ROLE = AuditCode("110153", "Source Role ID")
# CID 404, Audit Participant Object ID Type Code, and PS3.15 Table A.5.1.2.4
STUDY_INSTANCE_UID = AuditCode("110180", "Study Instance UID")
NODE_ID = AuditCode("110182", "Node ID")
PATIENT_NUMBER = AuditCode("2", "Patient Number", "RFC-3881")
URI = AuditCode("12", "URI", "RFC-3881")

# kinds of security events in which a node was not an expected one, or could not prove that it was
_NOT_AUTHENTICATED = {"called-ae-title-not-recognised", "peer-not-listed", "tls-refused"}
_ALTERED = {"spool-damaged", "audit-trail-altered"}
_CONFIGURED = {"configuration-reloaded", "configuration-refused"}


def alert_code(kind: str) -> AuditCode:
    """Return the EventTypeCode (CID 403) for a kind of security event; by default Use of Restricted Function."""
    if kind in _NOT_AUTHENTICATED:
        return NODE_AUTHENTICATION
    if kind in _CONFIGURED:
        return SOFTWARE_CONFIGURATION
    return OBJECT_SECURITY_ATTRIBUTES_CHANGED if kind in _ALTERED else USE_OF_RESTRICTED_FUNCTION
