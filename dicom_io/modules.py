"""The elements of the modules that say whose image it is and of which study, by keyword."""

# PS3.3 C.7.1.1 Patient, C.7.2.1 General Study: Type 2 is always written, Type 3 if the source has it
PATIENT_TYPE_2 = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
PATIENT_TYPE_3 = (
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "PatientBirthTime",
    "OtherPatientIDs", "OtherPatientNames", "OtherPatientIDsSequence", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
STUDY_TYPE_2 = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
STUDY_TYPE_3 = ("IssuerOfAccessionNumberSequence", "StudyDescription", "ProcedureCodeSequence")
